package invoke

import "errors"

// The refusals that the services of the data plane tell each other. None has
// let any of the function's code run, so the caller may try elsewhere.
var (
	// ErrNoRoom is placement's or a worker's: nothing has the resources for one more slot.
	ErrNoRoom = errors.New("no worker has room for the slot")
	// ErrStaleReservation is a worker's: the slot is not idle at that sequence and epoch.
	ErrStaleReservation = errors.New("the reservation is stale")
	// ErrUnknownSlot is a worker's: it has no such slot (any more).
	ErrUnknownSlot = errors.New("unknown slot")
	// ErrDraining is a worker's: it takes no new slots.
	ErrDraining = errors.New("the worker is draining")
)

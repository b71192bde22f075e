package workermanager

import (
	"kiln/invoke"
	"kiln/lambda"
)

// Action is something that a Core wants done. The shell carries it out and
// tells the core what came of it by the method that the action names.
type Action interface{ action() }

// Answer ends a request's wait: with a reservation, or with Err.
type Answer struct {
	Ticket      *Ticket
	Reservation invoke.Reservation
	Err         error
}

// Place asks placement for a slot; the outcome goes to Core.Placed.
type Place struct {
	Start uint64
	invoke.Placement
}

// Begin has a worker start a slot; a failure goes to Core.BeginFailed, success
// shows in the worker's report.
type Begin struct {
	Worker  invoke.WorkerID
	Slot    invoke.SlotID
	Version *lambda.Version
	Epoch   invoke.Epoch
}

// End has a worker end a slot that is idle at Sequence; whether it agrees goes to
// Core.Ended, the end itself shows in the worker's report.
type End struct {
	Worker   invoke.WorkerID
	Slot     invoke.SlotID
	Epoch    invoke.Epoch
	Sequence uint64
	Reason   invoke.EndReason
}

// Release gives a slot's lease back to placement; Core.Released follows.
type Release struct{ Slot invoke.SlotID }

// Renew asks placement for a longer lease; the outcome goes to Core.Renewed.
type Renew struct{ Slot invoke.SlotID }

// Ask asks a worker for its slots; the outcome goes to Core.Observe with the Mark.
type Ask struct {
	Worker invoke.WorkerID
	Mark   uint64
}

func (Answer) action()  {}
func (Place) action()   {}
func (Begin) action()   {}
func (End) action()     {}
func (Release) action() {}
func (Renew) action()   {}
func (Ask) action()     {}

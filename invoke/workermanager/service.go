package workermanager

import (
	"context"
	"sync"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// Placer is the placement service as the manager uses it.
type Placer interface {
	// Place chooses a worker for a slot and leases the slot; invoke.ErrNoRoom if none has room.
	Place(context.Context, invoke.Placement) (invoke.Lease, error)
	// Renew extends a slot's lease, or refuses with invoke.ErrUnknownSlot or invoke.ErrDraining.
	Renew(context.Context, invoke.SlotID) (invoke.Lease, error)
	// Release ends a slot's lease. Releasing one that is unknown is no error.
	Release(context.Context, invoke.SlotID) error
}

// Workers are the workers as the manager uses them.
type Workers interface {
	// StartSlot begins the start of a slot that placement has leased and returns at
	// once; the outcome comes as a report.
	StartSlot(context.Context, invoke.WorkerID, invoke.SlotID, *lambda.Version, invoke.Epoch) error
	// EndSlot has a slot ended that is idle at the sequence, or has not started, and
	// refuses with invoke.ErrStaleReservation or invoke.ErrUnknownSlot otherwise. The
	// report of its end tells when its room is free.
	EndSlot(ctx context.Context, w invoke.WorkerID, s invoke.SlotID, e invoke.Epoch, sequence uint64, reason invoke.EndReason) error
	// Slots returns all slots that the worker has.
	Slots(context.Context, invoke.WorkerID) ([]invoke.Slot, error)
}

// tickInterval is how often a Service looks for what is due.
const tickInterval = 100 * time.Millisecond

// Service is the worker manager in this process: a Core behind a lock, the
// process's clock, and the calls that the core asks for. All methods are safe
// for concurrent use.
type Service struct {
	placer  Placer
	workers Workers
	ctx     context.Context // of the calls, which outlive the requests they serve
	cancel  context.CancelFunc
	calls   sync.WaitGroup

	mu      sync.Mutex
	closed  bool                    // guarded by mu
	core    *Core                   // guarded by mu
	waiting map[*Ticket]chan Answer // guarded by mu
}

// NewService returns the manager of the given epoch. Run must run for idle
// slots, leases and waits to be watched; Close ends the service.
func NewService(cfg Config, epoch invoke.Epoch, placer Placer, workers Workers) *Service {
	ctx, cancel := context.WithCancel(context.Background())
	return &Service{placer: placer, workers: workers, ctx: ctx, cancel: cancel,
		core: New(cfg, epoch), waiting: map[*Ticket]chan Answer{}}
}

// Run does the timed work until ctx is done.
func (s *Service) Run(ctx context.Context) {
	t := time.NewTicker(tickInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.event(func(now time.Time) { s.core.Tick(now) })
		}
	}
}

// Close fails the requests that wait, breaks off the calls under way and waits
// for them to return. The slots stay with their workers.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	for t, ch := range s.waiting {
		s.core.Leave(t)
		ch <- Answer{Ticket: t, Err: lambda.Errorf(lambda.CodeUnavailable, "The service is shutting down.")}
		delete(s.waiting, t)
	}
	s.mu.Unlock()
	s.cancel()
	s.calls.Wait()
}

// Reserve returns the reservation of an idle slot of v, waiting for one if need
// be: for a start, for another request to end or for room. The error is ctx's,
// CodeUnavailable when there is no capacity, or what kept the slot from starting.
func (s *Service) Reserve(ctx context.Context, v *lambda.Version) (invoke.Reservation, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return invoke.Reservation{}, lambda.Errorf(lambda.CodeUnavailable, "The service is shutting down.")
	}
	r, ticket := s.core.Reserve(time.Now(), v)
	if ticket == nil {
		s.mu.Unlock()
		return r, nil
	}
	answer := make(chan Answer, 1)
	s.waiting[ticket] = answer
	s.dispatch()
	s.mu.Unlock()

	select {
	case a := <-answer:
		return a.Reservation, a.Err
	case <-ctx.Done():
	}
	s.event(func(now time.Time) {
		if s.core.Leave(ticket) {
			delete(s.waiting, ticket)
			return
		}
		if a := <-answer; a.Err == nil {
			s.core.TakeBack(now, a.Reservation)
		}
	})
	return invoke.Reservation{}, context.Cause(ctx)
}

// Return says that the caller will not use a reservation, or that its worker
// refused it. The slot is used again once the worker says that it is idle.
func (s *Service) Return(_ context.Context, r invoke.Reservation) {
	s.event(func(now time.Time) { s.core.Return(now, r) })
}

// Report takes a worker's word that a slot has changed. It does not wait.
func (s *Service) Report(_ context.Context, r invoke.SlotReport) {
	s.event(func(now time.Time) { s.core.Report(now, r) })
}

// WorkerLost tells that a worker is dead, with all its slots.
func (s *Service) WorkerLost(w invoke.WorkerID) {
	s.event(func(now time.Time) { s.core.WorkerLost(now, w) })
}

// WorkerDraining tells that a worker is to become empty.
func (s *Service) WorkerDraining(w invoke.WorkerID) {
	s.event(func(time.Time) { s.core.DrainWorker(w) })
}

// Outdate ends the slots of those versions of fn that keep does not want, as
// soon as they are idle. Call it after each change of the function, with what
// serves then; keep must not call the service.
func (s *Service) Outdate(fn lambda.FunctionKey, keep func(lambda.VersionKey) bool) {
	s.event(func(time.Time) { s.core.Outdate(fn, keep) })
}

// Restore takes over slots as their workers report them, before the first Reserve.
func (s *Service) Restore(slots []invoke.Slot) {
	s.event(func(now time.Time) { s.core.Restore(now, slots) })
}

// Stats returns the service's figures.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Stats()
}

// VersionStats returns the figures of one version.
func (s *Service) VersionStats(key lambda.VersionKey) VersionStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.VersionStats(key)
}

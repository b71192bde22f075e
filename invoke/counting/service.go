package counting

import (
	"context"
	"sync"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// tickInterval is how often a Service looks for what is due.
const tickInterval = 500 * time.Millisecond

// Service is the counting service in this process: a Core behind a lock, with
// the process's clock. All methods are safe for concurrent use.
type Service struct {
	mu   sync.Mutex
	core *Core // guarded by mu
}

// NewService returns a service that grants at once, as the owner of the given
// epoch. Run must run for front ends' leases to be watched.
func NewService(cfg Config, epoch invoke.Epoch) *Service {
	return &Service{core: New(cfg, epoch)}
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
			s.mu.Lock()
			s.core.Tick(time.Now())
			s.mu.Unlock()
		}
	}
}

// Acquire takes one unit of concurrency for a request of fn; see Core.Acquire
// for its errors. The unit must be given to Release when the request has ended.
func (s *Service) Acquire(_ context.Context, front invoke.FrontEndID, fn lambda.FunctionKey) (invoke.Unit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Acquire(time.Now(), front, fn)
}

// Release gives a unit back. Doing so twice is harmless.
func (s *Service) Release(u invoke.Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.Release(time.Now(), u)
}

// Renew puts a front end under a lease or extends it; false asks for Rebuild.
func (s *Service) Renew(front invoke.FrontEndID) (invoke.Epoch, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.epoch, s.core.Renew(time.Now(), front)
}

// Rebuild takes a front end's list of what it has in flight; see Core.Rebuild.
func (s *Service) Rebuild(epoch invoke.Epoch, front invoke.FrontEndID, units []invoke.Unit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Rebuild(time.Now(), epoch, front, units)
}

// SetAccountLimit sets an account's limit from now on.
func (s *Service) SetAccountLimit(account string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.SetAccountLimit(account, n)
}

// SetReserved sets a function's reserved concurrency from now on, nil for none.
func (s *Service) SetReserved(fn lambda.FunctionKey, n *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.SetReserved(time.Now(), fn, n)
}

// Stats returns the service's figures.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Stats()
}

// AccountUsage returns an account's concurrency.
func (s *Service) AccountUsage(account string) Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.AccountUsage(account)
}

// FunctionUsage returns a function's concurrency.
func (s *Service) FunctionUsage(fn lambda.FunctionKey) Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.FunctionUsage(fn)
}

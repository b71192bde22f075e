package placement

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// Workers are the workers as placement uses them.
type Workers interface {
	// CreateSlot has a worker admit a slot, or refuse with invoke.ErrNoRoom or
	// invoke.ErrDraining.
	CreateSlot(ctx context.Context, w invoke.WorkerID, s invoke.SlotID, v *lambda.Version, expires time.Time) error
}

// Watcher hears of what happens to workers. Its methods are called one at a
// time and must not call the service.
type Watcher interface {
	// WorkerLost tells that a worker is dead, with all its slots.
	WorkerLost(invoke.WorkerID)
	// WorkerDraining tells that a worker is to become empty.
	WorkerDraining(invoke.WorkerID)
}

// Service is the placement service in this process: a Core behind a lock, with
// the process's clock, and the workers' admission. All methods are safe for
// concurrent use.
type Service struct {
	workers Workers
	watcher Watcher
	mu      sync.Mutex
	core    *Core // guarded by mu
}

// NewService returns a service that knows no workers yet. An empty
// Config.Instance is replaced by a random one, a zero Seed too. Run must run for
// workers to be watched.
func NewService(cfg Config, workers Workers, watcher Watcher) *Service {
	var b [13]byte
	rand.Read(b[:])
	if cfg.Instance == "" {
		cfg.Instance = hex.EncodeToString(b[8:]) + "-"
	}
	if cfg.Seed == 0 {
		cfg.Seed = binary.LittleEndian.Uint64(b[:])
	}
	return &Service{workers: workers, watcher: watcher, core: New(cfg)}
}

// Run does the timed work until ctx is done.
func (s *Service) Run(ctx context.Context) {
	t := time.NewTicker(s.core.cfg.DeadAfter / 10)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.mu.Lock()
			changes := s.core.Tick(time.Now())
			s.mu.Unlock()
			for _, w := range changes.Lost {
				s.watcher.WorkerLost(w)
			}
			for _, w := range changes.Draining {
				s.watcher.WorkerDraining(w)
			}
		}
	}
}

// Place chooses a worker, has it admit a new slot and returns the slot's lease.
// A worker that refuses makes way for the next best; when none is left the error
// is invoke.ErrNoRoom. Any other error is that of the worker that failed last.
func (s *Service) Place(ctx context.Context, p invoke.Placement) (invoke.Lease, error) {
	var excluded []invoke.WorkerID
	var failed error
	for {
		s.mu.Lock()
		lease, err := s.core.Place(time.Now(), p, excluded)
		s.mu.Unlock()
		if err != nil {
			if failed != nil {
				err = failed
			}
			return invoke.Lease{}, err
		}
		err = s.workers.CreateSlot(ctx, lease.Worker, lease.Slot, p.Version, lease.Expires)
		if err == nil {
			return lease, nil
		}
		s.mu.Lock()
		if errors.Is(err, invoke.ErrNoRoom) {
			s.core.Refused(lease.Slot)
		} else {
			s.core.Release(lease.Slot)
		}
		s.mu.Unlock()
		if !errors.Is(err, invoke.ErrNoRoom) && !errors.Is(err, invoke.ErrDraining) {
			failed = err
		}
		if ctx.Err() != nil {
			return invoke.Lease{}, context.Cause(ctx)
		}
		excluded = append(excluded, lease.Worker)
	}
}

// Release ends a slot's lease. Releasing one that is unknown is no error.
func (s *Service) Release(_ context.Context, id invoke.SlotID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.Release(id)
	return nil
}

// Renew extends a slot's lease; see Core.Renew for its refusals.
func (s *Service) Renew(_ context.Context, id invoke.SlotID) (invoke.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Renew(time.Now(), id)
}

// Heartbeat takes a worker's report; workers send one several times in
// Config.DeadAfter.
func (s *Service) Heartbeat(st invoke.WorkerStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.Heartbeat(time.Now(), st)
}

// Drain lets a worker become empty.
func (s *Service) Drain(id invoke.WorkerID) {
	s.mu.Lock()
	s.core.Drain(id)
	s.mu.Unlock()
	s.watcher.WorkerDraining(id)
}

// Adopt books slots that exist, after a change of owner.
func (s *Service) Adopt(slots []invoke.Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.Adopt(time.Now(), slots)
}

// Stats returns the service's figures.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Stats()
}

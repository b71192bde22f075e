package placement

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// admission is the workers' side: what each answers to CreateSlot.
type admission map[invoke.WorkerID]error

func (a admission) CreateSlot(_ context.Context, w invoke.WorkerID, _ invoke.SlotID, _ *lambda.Version, _ time.Time) error {
	return a[w]
}

// loss notes what a Watcher hears.
type loss struct {
	mu   sync.Mutex
	lost []invoke.WorkerID
}

func (l *loss) WorkerLost(w invoke.WorkerID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, w)
}

func (l *loss) WorkerDraining(invoke.WorkerID) {}

// TestPlaceGoesOnAfterRefusals checks that placement ends at the one worker
// that takes the slot, and books nothing elsewhere.
func TestPlaceGoesOnAfterRefusals(t *testing.T) {
	broken := errors.New("broken")
	a := admission{"worker-00000": invoke.ErrNoRoom, "worker-00001": invoke.ErrDraining, "worker-00002": broken}
	s := NewService(Config{}, a, &loss{})
	for i := range 4 {
		s.Heartbeat(status(i, time.Now()))
	}
	v := version("a", "f", 128)
	for range 10 {
		lease, err := s.Place(t.Context(), invoke.Placement{Version: v})
		if err != nil || lease.Worker != "worker-00003" {
			t.Fatalf("%+v, %v", lease, err)
		}
	}
	if st := s.Stats(); st.Slots != 10 || st.Zones["a"].Slots != 10 {
		t.Fatalf("%+v", st)
	}
	a["worker-00003"] = invoke.ErrNoRoom
	if _, err := s.Place(t.Context(), invoke.Placement{Version: v}); !errors.Is(err, broken) {
		t.Fatalf("with a broken worker: %v", err)
	}
	a["worker-00002"] = invoke.ErrNoRoom
	if _, err := s.Place(t.Context(), invoke.Placement{Version: v}); !errors.Is(err, invoke.ErrNoRoom) {
		t.Fatalf("with no room: %v", err)
	}
	if st := s.Stats(); st.Slots != 10 {
		t.Fatalf("%+v", st)
	}
}

// TestServiceUnderStress places and releases from many goroutines while one of
// two workers falls silent.
func TestServiceUnderStress(t *testing.T) {
	l := &loss{}
	s := NewService(Config{DeadAfter: time.Second}, admission{}, l)
	ctx, cancel := context.WithCancel(t.Context())
	var run, wg sync.WaitGroup
	run.Go(func() { s.Run(ctx) })
	s.Heartbeat(status(0, time.Now()))
	s.Heartbeat(status(1, time.Now()))
	run.Go(func() {
		for ctx.Err() == nil {
			s.Heartbeat(status(0, time.Now()))
			time.Sleep(5 * time.Millisecond)
		}
	})
	for range 8 {
		wg.Go(func() {
			for range 500 {
				lease, err := s.Place(ctx, invoke.Placement{Version: version("a", "f", 128)})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Renew(ctx, lease.Slot); err != nil && !errors.Is(err, invoke.ErrUnknownSlot) {
					t.Error(err)
				}
				s.Release(ctx, lease.Slot)
			}
		})
	}
	wg.Wait()
	for s.Stats().Workers > 1 {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	run.Wait()
	if len(l.lost) != 1 || l.lost[0] != "worker-00001" || s.Stats().Slots != 0 {
		t.Fatalf("lost %v, %+v", l.lost, s.Stats())
	}
}

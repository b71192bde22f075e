package workermanager

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// fleet is a placement service and its workers in memory. Workers keep the lock
// protocol and report through the service.
type fleet struct {
	s    *Service
	room int
	// startDelay is how long a slot takes to start.
	startDelay time.Duration

	mu     sync.Mutex
	slots  map[invoke.SlotID]*invoke.Slot
	lastID int
	starts int
}

var _ interface {
	Placer
	Workers
} = (*fleet)(nil)

func newFleet(t testing.TB, cfg Config, room int, startDelay time.Duration) *fleet {
	f := &fleet{room: room, startDelay: startDelay, slots: map[invoke.SlotID]*invoke.Slot{}}
	f.s = NewService(cfg, 1, f, f)
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { f.s.Run(ctx) })
	t.Cleanup(func() { cancel(); run.Wait(); f.s.Close() })
	return f
}

func (f *fleet) Place(_ context.Context, p invoke.Placement) (invoke.Lease, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.slots) >= f.room {
		return invoke.Lease{}, invoke.ErrNoRoom
	}
	f.lastID++
	s := &invoke.Slot{ID: invoke.SlotID(fmt.Sprint("s", f.lastID)), Worker: "w", Version: p.Version.Key, Sequence: 1}
	f.slots[s.ID] = s
	return invoke.Lease{Slot: s.ID, Worker: "w", Expires: time.Now().Add(time.Hour)}, nil
}

func (f *fleet) Renew(_ context.Context, id invoke.SlotID) (invoke.Lease, error) {
	return invoke.Lease{Slot: id, Worker: "w", Expires: time.Now().Add(time.Hour)}, nil
}

func (f *fleet) Release(context.Context, invoke.SlotID) error { return nil }

func (f *fleet) StartSlot(_ context.Context, _ invoke.WorkerID, id invoke.SlotID, _ *lambda.Version, _ invoke.Epoch) error {
	f.mu.Lock()
	f.starts++
	f.mu.Unlock()
	time.AfterFunc(f.startDelay, func() { f.idle(id) })
	return nil
}

// idle has a slot fall idle and reports it.
func (f *fleet) idle(id invoke.SlotID) {
	f.mu.Lock()
	s := f.slots[id]
	s.State = invoke.SlotIdle
	r := invoke.SlotReport{Slot: *s}
	f.mu.Unlock()
	f.s.Report(context.Background(), r)
}

func (f *fleet) EndSlot(ctx context.Context, _ invoke.WorkerID, id invoke.SlotID, _ invoke.Epoch, sequence uint64, reason invoke.EndReason) error {
	f.mu.Lock()
	s := f.slots[id]
	if s == nil {
		f.mu.Unlock()
		return invoke.ErrUnknownSlot
	}
	if s.State != invoke.SlotIdle || s.Sequence != sequence {
		f.mu.Unlock()
		return invoke.ErrStaleReservation
	}
	s.State = invoke.SlotEnded
	delete(f.slots, id)
	r := invoke.SlotReport{Slot: *s, Reason: reason}
	f.mu.Unlock()
	f.s.Report(ctx, r)
	return nil
}

func (f *fleet) Slots(context.Context, invoke.WorkerID) ([]invoke.Slot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []invoke.Slot
	for _, s := range f.slots {
		out = append(out, *s)
	}
	return out, nil
}

// run does a reservation's work.
func (f *fleet) run(r invoke.Reservation, key lambda.VersionKey, d time.Duration) error {
	f.mu.Lock()
	s := f.slots[r.Slot]
	if s == nil || s.State != invoke.SlotIdle || s.Sequence != r.Sequence || s.Version != key {
		f.mu.Unlock()
		return fmt.Errorf("%+v was refused by %+v", r, s)
	}
	s.State = invoke.SlotBusy
	s.Sequence++
	f.mu.Unlock()
	time.Sleep(d)
	f.idle(r.Slot)
	return nil
}

// TestServiceUnderStress has many requests of more functions than there is room
// for. All must be served, in slots that are theirs alone, and no start may be
// asked for that nobody waits for.
func TestServiceUnderStress(t *testing.T) {
	f := newFleet(t, Config{MaxWait: time.Minute}, 6, time.Millisecond)
	var served, left atomic.Int64
	var wg sync.WaitGroup
	for g := range 24 {
		wg.Go(func() {
			for i := range 60 {
				v := version(fmt.Sprint("f", (g+i/20)%8))
				ctx, cancel := context.WithCancel(t.Context())
				if i%7 == 0 { // an impatient client
					time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, cancel)
				}
				r, err := f.s.Reserve(ctx, v)
				switch {
				case errors.Is(err, context.Canceled):
					left.Add(1)
				case err != nil:
					t.Error(err)
				case i%11 == 0:
					f.s.Return(ctx, r)
				default:
					if err := f.run(r, v.Key, time.Millisecond); err != nil {
						t.Error(err)
					}
					served.Add(1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	st := f.s.Stats()
	if st.Waiting != 0 || st.Failed != 0 || served.Load() == 0 {
		t.Fatalf("served %d, left %d, %+v", served.Load(), left.Load(), st)
	}
	t.Logf("served %d, left %d, %+v", served.Load(), left.Load(), st)
}

// TestWaiterTakesWhatComesFirst checks that a request is served by a slot that
// falls idle before the one that is being started for it, and that giving up
// starts nothing more.
func TestWaiterTakesWhatComesFirst(t *testing.T) {
	f := newFleet(t, Config{}, 10, 0)
	v := version("f")
	first, err := f.s.Reserve(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	f.startDelay = time.Hour // nothing more starts by itself
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := f.s.Reserve(ctx, v); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		cancel()
	}
	done := make(chan invoke.Reservation)
	go func() {
		r, err := f.s.Reserve(t.Context(), v)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	for f.s.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := f.run(first, v.Key, 0); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.Slot != first.Slot || r.Sequence != 2 {
		t.Fatalf("got %+v", r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.starts != 2 {
		t.Fatalf("%d starts for never more than two requests at once", f.starts)
	}
}

// TestNoRoom checks that a request without any prospect gets CodeUnavailable,
// and that another function's idle slot makes way.
func TestNoRoom(t *testing.T) {
	f := newFleet(t, Config{MaxWait: 10 * time.Millisecond}, 1, 0)
	r, err := f.s.Reserve(t.Context(), version("f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.s.Reserve(t.Context(), version("g")); lambda.CodeOf(err) != lambda.CodeUnavailable {
		t.Fatalf("beside a busy slot: %v", err)
	}
	if err := f.run(r, version("f").Key, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.s.Reserve(t.Context(), version("g")); err != nil {
		t.Fatalf("beside an idle slot: %v", err)
	}
	if st := f.s.Stats(); st.Evicted != 1 {
		t.Fatalf("%+v", st)
	}
}

// TestClose checks that requests do not wait beyond the end of the service.
func TestClose(t *testing.T) {
	f := newFleet(t, Config{}, 0, 0)
	done := make(chan error)
	go func() {
		_, err := f.s.Reserve(t.Context(), version("f"))
		done <- err
	}()
	for f.s.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	f.s.Close()
	if err := <-done; lambda.CodeOf(err) != lambda.CodeUnavailable {
		t.Fatal(err)
	}
	if _, err := f.s.Reserve(t.Context(), version("f")); lambda.CodeOf(err) != lambda.CodeUnavailable {
		t.Fatal(err)
	}
}

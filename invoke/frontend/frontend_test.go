package frontend

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"kiln/invoke"
	"kiln/lambda"
)

// world answers for all that a front end asks, from scripts.
type world struct {
	version  *lambda.Version
	resolve  error
	acquire  error
	reserve  []error // one for each call, then nil
	answers  []error // of the workers, one for each call, then nil
	held     map[uint64]bool
	next     uint64
	reserved int
	returned int
	known    bool
	rebuilt  []invoke.Unit
	onInvoke func()
	granted  func() // called when a unit is on its way
}

func (w *world) Resolve(context.Context, string, string, string) (*lambda.Version, *lambda.Function, error) {
	return w.version, nil, w.resolve
}

func (w *world) Acquire(_ context.Context, _ invoke.FrontEndID, fn lambda.FunctionKey) (invoke.Unit, error) {
	if w.acquire != nil {
		return invoke.Unit{}, w.acquire
	}
	w.next++
	w.held[w.next] = true
	if w.granted != nil {
		w.granted()
	}
	return invoke.Unit{ID: w.next, Function: fn}, nil
}

func (w *world) Release(u invoke.Unit) { delete(w.held, u.ID) }

func (w *world) Renew(invoke.FrontEndID) (invoke.Epoch, bool) { return 7, w.known }

func (w *world) Rebuild(_ invoke.Epoch, _ invoke.FrontEndID, units []invoke.Unit) error {
	w.rebuilt = units
	return nil
}

func (w *world) Reserve(context.Context, *lambda.Version) (invoke.Reservation, error) {
	w.reserved++
	return invoke.Reservation{Slot: "s"}, pop(&w.reserve)
}

func (w *world) Return(context.Context, invoke.Reservation) { w.returned++ }

func (w *world) Invoke(context.Context, invoke.Reservation, *invoke.Invocation) (invoke.Result, error) {
	if w.onInvoke != nil {
		w.onInvoke()
	}
	return invoke.Result{Payload: []byte("ok")}, pop(&w.answers)
}

func pop(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func newWorld() (*world, *Service) {
	w := &world{held: map[uint64]bool{}, version: &lambda.Version{Region: "us-east-1",
		Key: lambda.VersionKey{FunctionKey: lambda.FunctionKey{Account: "000000000000", Name: "f"}, Number: "3"}}}
	return w, New(Config{ID: "fe", Resolver: w, Counter: w, Manager: w, Workers: w, Logger: slog.New(slog.DiscardHandler)})
}

func TestInvokeRetriesOnlyWhatHasNotBegun(t *testing.T) {
	stale := invoke.ErrStaleReservation
	for _, test := range []struct {
		name     string
		set      func(*world)
		code     lambda.Code // "" for success
		reserved int
		returned int
	}{
		{"at once", func(*world) {}, "", 1, 0},
		{"stale twice", func(w *world) { w.answers = []error{stale, invoke.ErrUnknownSlot} }, "", 3, 2},
		{"always stale", func(w *world) { w.answers = []error{stale, stale, stale, stale, stale, stale, stale} }, lambda.CodeUnavailable, maxRefusals + 1, maxRefusals + 1},
		{"lost after it began", func(w *world) { w.answers = []error{errors.New("sandbox gone")} }, lambda.CodeInternal, 1, 0},
		{"throttled", func(w *world) { w.acquire = lambda.Throttled(lambda.ReasonConcurrentInvocations) }, lambda.CodeTooManyRequests, 0, 0},
		{"unknown", func(w *world) { w.resolve = lambda.Errorf(lambda.CodeNotFound, "no") }, lambda.CodeNotFound, 0, 0},
		{"no room", func(w *world) { w.reserve = []error{invoke.ErrNoRoom} }, lambda.CodeUnavailable, 1, 0},
		{"coded refusal", func(w *world) { w.reserve = []error{lambda.Errorf(lambda.CodeConflict, "x")} }, lambda.CodeConflict, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, s := newWorld()
			test.set(w)
			resp, err := s.Invoke(context.Background(), Request{Account: "000000000000", Name: "f", Qualifier: "3", Invocation: &invoke.Invocation{}})
			if lambda.CodeOf(err) != test.code {
				t.Errorf("error %v, want code %q", err, test.code)
			}
			if err == nil && string(resp.Result.Payload) != "ok" {
				t.Errorf("payload %q", resp.Result.Payload)
			}
			if w.reserved != test.reserved {
				t.Errorf("%d reservations, want %d", w.reserved, test.reserved)
			}
			if w.returned != test.returned {
				t.Errorf("%d reservations returned, want %d", w.returned, test.returned)
			}
			if len(w.held) != 0 || s.Stats().InFlight != 0 {
				t.Errorf("units left: %v", w.held)
			}
		})
	}
}

// A unit that was granted, but not here yet, when the units in flight were
// listed is listed as soon as it is here.
func TestUnitOnItsWayDuringAListing(t *testing.T) {
	w, s := newWorld()
	w.granted = func() {
		s.renew()
		if len(w.rebuilt) != 0 {
			t.Errorf("listed with %v", w.rebuilt)
		}
	}
	w.onInvoke = func() {
		if len(w.rebuilt) != 1 || w.rebuilt[0].ID != 1 {
			t.Errorf("in flight, but rebuilt with %v", w.rebuilt)
		}
	}
	if _, err := s.Invoke(context.Background(), Request{Name: "f", Invocation: &invoke.Invocation{}}); err != nil {
		t.Fatal(err)
	}
}

func TestDryRunTakesNothing(t *testing.T) {
	w, s := newWorld()
	resp, err := s.Invoke(context.Background(), Request{Name: "f", DryRun: true, Invocation: &invoke.Invocation{}})
	if err != nil || resp.Version != w.version || w.next != 0 || w.reserved != 0 {
		t.Errorf("%+v %v, %d units, %d reservations", resp, err, w.next, w.reserved)
	}
}

func TestCallerThatLeavesGivesTheSlotBack(t *testing.T) {
	w, s := newWorld()
	ctx, cancel := context.WithCancel(context.Background())
	w.answers = []error{invoke.ErrStaleReservation}
	w.onInvoke = cancel // leaves while the first slot refuses
	if _, err := s.Invoke(ctx, Request{Name: "f", Invocation: &invoke.Invocation{}}); err == nil {
		t.Error("no error")
	}
	if w.returned != 2 || len(w.held) != 0 {
		t.Errorf("%d reservations returned, units %v", w.returned, w.held)
	}
}

func TestUnitsInFlightAreListedForANewCounter(t *testing.T) {
	w, s := newWorld()
	w.onInvoke = s.renew
	if _, err := s.Invoke(context.Background(), Request{Name: "f", Invocation: &invoke.Invocation{}}); err != nil {
		t.Fatal(err)
	}
	if len(w.rebuilt) != 1 || w.rebuilt[0].ID != 1 {
		t.Errorf("rebuilt with %v", w.rebuilt)
	}
	w.known, w.rebuilt = true, nil
	s.renew()
	if w.rebuilt != nil {
		t.Error("listed for a counter that knows the front end")
	}
}

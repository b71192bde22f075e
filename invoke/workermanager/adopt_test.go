package workermanager

import (
	"testing"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// TestAdoptedBeforePlaced has a worker report a slot before placement's word of
// it is here: it is one slot, with the lease that placement gave.
func TestAdoptedBeforePlaced(t *testing.T) {
	w := newWorld(Config{})
	v := version("f")
	if _, ticket := w.core.Reserve(w.now, v); ticket == nil {
		t.Fatal("reserved out of nothing")
	}
	place, ok := only(t, w.core.Take()).(Place)
	if !ok {
		t.Fatal("no slot is placed")
	}
	w.core.Report(w.now, invoke.SlotReport{Slot: invoke.Slot{ID: "s", Worker: "w1", Version: v.Key, State: invoke.SlotIdle, Sequence: 1}})
	if answer, ok := only(t, w.core.Take()).(Answer); !ok || answer.Err != nil || answer.Reservation.Slot != "s" {
		t.Fatalf("the request got %+v", answer)
	}
	expires := w.now.Add(5 * time.Hour)
	w.core.Placed(w.now, place.Start, invoke.Lease{Slot: "s", Worker: "w1", Expires: expires}, nil)
	if more := w.core.Take(); len(more) > 0 {
		t.Errorf("it wants %+v", more)
	}
	if s := w.core.slots["s"]; len(w.core.slots) != 1 || !s.expires.Equal(expires) {
		t.Errorf("%d slots, the lease ends at %v, want %v", len(w.core.slots), s.expires, expires)
	}
	if err := balance(w); err != nil {
		t.Error(err)
	}
}

// TestNotAdopted ends the idle slots of a version that has been replaced, and
// leaves alone those that are busy: they end when they have fallen idle.
func TestNotAdopted(t *testing.T) {
	w := newWorld(Config{})
	v := version("f")
	slot := invoke.Slot{ID: "s", Worker: "w1", Version: v.Key, State: invoke.SlotIdle, Sequence: 1}
	w.core.Report(w.now, invoke.SlotReport{Slot: slot})
	slot.State, slot.Sequence = invoke.SlotBusy, 2
	w.core.Report(w.now, invoke.SlotReport{Slot: slot})
	w.core.Take()
	w.core.Outdate(v.Key.FunctionKey, func(lambda.VersionKey) bool { return false })
	w.core.Take()
	slot.ID = "other"
	w.core.Report(w.now, invoke.SlotReport{Slot: slot})
	if actions := w.core.Take(); len(actions) > 0 {
		t.Errorf("busy, and it wants %+v", actions)
	}
	slot.State = invoke.SlotIdle
	w.core.Report(w.now, invoke.SlotReport{Slot: slot})
	if end, ok := only(t, w.core.Take()).(End); !ok || end.Slot != "other" || end.Sequence != 2 || end.Reason != invoke.EndOutdated {
		t.Errorf("idle, and it wants %+v", end)
	}
}

// only returns the one action there is.
func only(t *testing.T, actions []Action) Action {
	t.Helper()
	if len(actions) != 1 {
		t.Fatalf("%d actions: %+v", len(actions), actions)
	}
	return actions[0]
}

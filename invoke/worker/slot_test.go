package worker

import (
	"testing"

	"pgregory.net/rapid"

	"kiln/invoke"
)

// TestLockRunsEachSequenceOnce lets several managers of different epochs race
// for one slot with reservations old and new: every sequence is accepted at
// most once, in order, and never from an owner that has been replaced.
func TestLockRunsEachSequenceOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLock(1)
		ran := map[uint64]bool{}
		highest := invoke.Epoch(1)
		var last uint64
		ended := false
		t.Repeat(map[string]func(*rapid.T){
			"start":  func(*rapid.T) { l.started() },
			"finish": func(*rapid.T) { l.finish() },
			"accept": func(t *rapid.T) {
				r := invoke.Reservation{
					Sequence: uint64(rapid.IntRange(max(0, int(last)-1), int(last)+2).Draw(t, "sequence")),
					Epoch:    invoke.Epoch(rapid.IntRange(0, int(highest)+1).Draw(t, "epoch")),
				}
				was := l.state
				if err := l.accept(r); err != nil {
					if was == invoke.SlotIdle && r.Sequence == last+1 && r.Epoch >= highest {
						t.Fatal("refused the next invocation of an idle slot")
					}
					return
				}
				switch {
				case was != invoke.SlotIdle || ended:
					t.Fatalf("ran in a slot that is %v", was)
				case ran[r.Sequence] || r.Sequence != last+1:
					t.Fatalf("ran sequence %d after %d", r.Sequence, last)
				case r.Epoch < highest:
					t.Fatalf("ran for epoch %d after %d", r.Epoch, highest)
				}
				ran[r.Sequence], last, highest = true, r.Sequence, r.Epoch
			},
			// The worker takes the slot back from under a reservation on its way.
			"retake": func(t *rapid.T) {
				sequence := uint64(rapid.IntRange(max(0, int(last)), int(last)+2).Draw(t, "sequence"))
				was := l.state
				if l.retake(sequence) {
					if was != invoke.SlotIdle || sequence != last+1 {
						t.Fatalf("retook sequence %d, after %d, of a slot that is %v", sequence, last, was)
					}
					last = sequence
				}
			},
			"end": func(t *rapid.T) {
				epoch := invoke.Epoch(rapid.IntRange(0, int(highest)).Draw(t, "epoch"))
				was := l.state
				if l.end(epoch, last+1) == nil {
					if was == invoke.SlotBusy || epoch < highest {
						t.Fatalf("ended a slot that is %v by epoch %d of %d", was, epoch, highest)
					}
					ended = true
				}
			},
		})
	})
}

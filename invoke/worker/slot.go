package worker

import (
	"kiln/invoke"
)

// lock is the state machine of one slot, the arbiter between all who want it.
// It does no I/O and is not safe for concurrent use; slot guards it.
//
//	starting → idle ⇄ busy, and every state → ended
//
// A reservation is accepted only at the slot's next sequence, so of two that
// name the same sequence one is refused, and one of an earlier owner is refused
// once a later owner has spoken.
type lock struct {
	state    invoke.SlotState
	sequence uint64 // of the next invocation to be accepted
	epoch    invoke.Epoch
}

func newLock(epoch invoke.Epoch) lock {
	return lock{state: invoke.SlotStarting, sequence: 1, epoch: epoch}
}

// started moves a starting slot to idle and reports whether it did: a slot that
// was ended meanwhile stays so.
func (l *lock) started() bool {
	if l.state != invoke.SlotStarting {
		return false
	}
	l.state = invoke.SlotIdle
	return true
}

// accept takes the slot for one invocation.
func (l *lock) accept(r invoke.Reservation) error {
	if l.state != invoke.SlotIdle || r.Sequence != l.sequence || r.Epoch < l.epoch {
		return invoke.ErrStaleReservation
	}
	l.epoch = r.Epoch
	l.sequence++
	l.state = invoke.SlotBusy
	return nil
}

// finish gives the slot back after its invocation and reports whether it is
// idle now.
func (l *lock) finish() bool {
	if l.state != invoke.SlotBusy {
		return false
	}
	l.state = invoke.SlotIdle
	return true
}

// retake makes the slot busy again if it is still idle at the sequence, and
// reports whether it did. The sequence is used up, so that a reservation of it
// that is on its way is refused.
func (l *lock) retake(sequence uint64) bool {
	if l.state != invoke.SlotIdle || l.sequence != sequence {
		return false
	}
	l.sequence++
	l.state = invoke.SlotBusy
	return true
}

// end ends a slot that is idle at the sequence, or that has not started yet.
func (l *lock) end(epoch invoke.Epoch, sequence uint64) error {
	switch {
	case epoch < l.epoch, sequence != l.sequence:
		return invoke.ErrStaleReservation
	case l.state == invoke.SlotIdle, l.state == invoke.SlotStarting:
		l.state = invoke.SlotEnded
		return nil
	}
	return invoke.ErrStaleReservation
}

// lose ends the slot whatever it does and reports whether it had not ended
// before.
func (l *lock) lose() bool {
	if l.state == invoke.SlotEnded {
		return false
	}
	l.state = invoke.SlotEnded
	return true
}

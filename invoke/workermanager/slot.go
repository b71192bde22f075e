package workermanager

import (
	"time"

	"kiln/invoke"
)

// state is what the manager takes a slot to be doing.
type state uint8

const (
	starting state = iota
	idle
	busy
	ending // idle, and its worker has been asked to end it
)

// slot is one slot in the manager's care.
type slot struct {
	id     invoke.SlotID
	worker *worker
	pool   *pool
	host   *host
	state  state
	// granted: busy by a reservation of sequence that this manager gave, so that
	// a report of "idle at sequence" is older than the reservation.
	granted bool
	// returned: the holder of the reservation says that it did not use it.
	returned bool
	// drain: no more work; the slot ends as soon as it is idle.
	drain bool
	// reason is why the slot is ending.
	reason invoke.EndReason
	// sequence is the next that the worker will accept, as far as it has said.
	sequence uint64
	since    time.Time // of the present state
	expires  time.Time // of the lease
	renew    time.Time // when to see to the lease
	// changed is the core's mark at the last event of the slot; an answer to an
	// older question says nothing about it.
	changed uint64
	// start is what brought the slot about; nil once it has started.
	start *start
	links [lists]link
}

type link struct{ prev, next *slot }

// The lists that a slot can be in, one of each kind at a time.
const (
	byState  = iota // Core.idle or Core.starting, oldest first
	byHost          // host.idle, last used first
	byWorker        // worker.slots
	byLease         // Core.leases, first to renew first
	lists
)

// slotList is a doubly linked list through the slots themselves: every change
// takes constant time and no memory.
type slotList struct {
	kind       int
	head, tail *slot
	n          int
}

// pushAfter puts s behind at, or at the head when at is nil.
func (l *slotList) pushAfter(at, s *slot) {
	next := l.head
	if at != nil {
		next = at.links[l.kind].next
		at.links[l.kind].next = s
	} else {
		l.head = s
	}
	if next != nil {
		next.links[l.kind].prev = s
	} else {
		l.tail = s
	}
	s.links[l.kind] = link{at, next}
	l.n++
}

// remove takes s, which must be in the list, out of it.
func (l *slotList) remove(s *slot) {
	k := &s.links[l.kind]
	if k.prev != nil {
		k.prev.links[l.kind].next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.links[l.kind].prev = k.prev
	} else {
		l.tail = k.prev
	}
	*k = link{}
	l.n--
}

// pushByRenewal keeps the list in the order of renewal. Leases run equally long,
// so the place is nearly always the end.
func (l *slotList) pushByRenewal(s *slot) {
	at := l.tail
	for at != nil && s.renew.Before(at.renew) {
		at = at.links[l.kind].prev
	}
	l.pushAfter(at, s)
}

// worker is what the manager knows of one worker.
type worker struct {
	id       invoke.WorkerID
	slots    slotList
	used     time.Time // when a slot came or went last; it is asked for a while after the last one
	asked    time.Time
	asking   bool // a question is under way
	askAgain bool // something has happened since that the answer cannot cover
}

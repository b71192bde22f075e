package workermanager

import "time"

// Ticket is a request's place in its version's queue. The core answers each
// ticket once, unless it Leaves before.
type Ticket struct {
	pool       *pool // nil once answered or left
	since      time.Time
	prev, next *Ticket
}

// ticketList is a queue of tickets that one can leave from the middle.
type ticketList struct {
	head, tail *Ticket
	n          int
}

func (l *ticketList) push(t *Ticket) {
	t.prev = l.tail
	if l.tail != nil {
		l.tail.next = t
	} else {
		l.head = t
	}
	l.tail = t
	l.n++
}

func (l *ticketList) remove(t *Ticket) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.tail = t.prev
	}
	t.prev, t.next = nil, nil
	l.n--
}

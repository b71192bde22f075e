package counting

import (
	"math"

	"kiln/invoke"
)

// ledger keeps the units in flight. Units that this owner granted are found by
// their number alone: a place in records and that place's generation, which
// changes whenever the unit there is given back. Units of earlier owners are
// found in adopted.
type ledger struct {
	records []record
	vacant  []uint32
	adopted map[invoke.Unit]uint32
	live    int
}

// record is one unit in flight.
type record struct {
	fn         *function // nil when vacant
	front      *front
	prev, next uint32 // in the front end's list
	generation uint32
	// id and epoch are the unit's own when an earlier owner granted it, epoch 0 otherwise.
	id    uint64
	epoch invoke.Epoch
}

// end marks the end of a list.
const end = math.MaxUint32

// add enters a unit and returns its number.
func (l *ledger) add(f *function, fe *front) uint64 {
	var i uint32
	if n := len(l.vacant); n > 0 {
		i = l.vacant[n-1]
		l.vacant = l.vacant[:n-1]
	} else {
		i = uint32(len(l.records))
		l.records = append(l.records, record{generation: 1})
	}
	r := &l.records[i]
	r.fn, r.front, r.prev, r.next = f, fe, end, fe.first
	if fe.first != end {
		l.records[fe.first].prev = i
	}
	fe.first = i
	fe.held++
	l.live++
	return uint64(r.generation)<<32 | uint64(i)
}

// adopt enters a unit under the number that an earlier grant gave it.
func (l *ledger) adopt(u invoke.Unit, f *function, fe *front) {
	i := uint32(l.add(f, fe))
	l.records[i].id, l.records[i].epoch = u.ID, u.Epoch
	if l.adopted == nil {
		l.adopted = map[invoke.Unit]uint32{}
	}
	l.adopted[u] = i
}

// find returns the place of a unit in flight.
func (l *ledger) find(u invoke.Unit, epoch invoke.Epoch) (uint32, bool) {
	if i := uint32(u.ID); u.Epoch == epoch && int(i) < len(l.records) {
		r := &l.records[i]
		if r.fn != nil && r.epoch == 0 && r.generation == uint32(u.ID>>32) {
			return i, true
		}
	}
	i, ok := l.adopted[u]
	return i, ok
}

// remove takes out the unit at i.
func (l *ledger) remove(i uint32) {
	r := &l.records[i]
	if r.epoch != 0 {
		delete(l.adopted, invoke.Unit{ID: r.id, Epoch: r.epoch, Function: r.fn.key})
	}
	if r.prev == end {
		r.front.first = r.next
	} else {
		l.records[r.prev].next = r.next
	}
	if r.next != end {
		l.records[r.next].prev = r.prev
	}
	r.front.held--
	*r = record{generation: r.generation + 1}
	l.vacant = append(l.vacant, i)
	l.live--
}

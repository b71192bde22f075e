package workermanager

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"kiln/invoke"
	"kiln/lambda"
)

// world is the surroundings of a Core under test: workers that hold the truth
// about their slots, calls and reports that arrive in any order, twice or not
// at all, and requests that use, return or forget their reservations.
type world struct {
	core    *Core
	cfg     Config
	now     time.Time
	room    map[invoke.WorkerID]int // slots that a living worker can have
	slots   map[invoke.SlotID]*truth
	order   []*truth // slots that exist, for reproducible choices
	calls   []Action
	reports []*message
	leases  map[invoke.SlotID]invoke.Lease // what placement has granted
	waiting map[*Ticket]lambda.VersionKey
	queue   []*Ticket
	holders []*holder
	lastID  int
	// sequences are the highest that the core has been seen to know.
	sequences map[invoke.SlotID]uint64
	// calm stops all failures, to see whether everything comes to an end.
	calm bool
}

// truth is a slot as its worker has it.
type truth struct {
	invoke.Slot
	created bool         // leased, but not begun
	epoch   invoke.Epoch // the highest seen
}

// message is a report on its way. The network delivers within Config.Remember
// or not at all.
type message struct {
	invoke.SlotReport
	sent time.Time
}

// holder is a request with a reservation.
type holder struct {
	invoke.Reservation
	key   lambda.VersionKey
	since time.Time
	sent  bool
	gone  bool // returned, crashed or done
	given bool // given up in the manager's knowledge
}

func newWorld(cfg Config) *world {
	w := &world{cfg: cfg.withDefaults(), now: time.Unix(1000, 0), core: New(cfg, 1),
		room: map[invoke.WorkerID]int{}, slots: map[invoke.SlotID]*truth{}, waiting: map[*Ticket]lambda.VersionKey{}, sequences: map[invoke.SlotID]uint64{},
		leases: map[invoke.SlotID]invoke.Lease{}}
	for range 3 {
		w.newWorker()
	}
	return w
}

func (w *world) newWorker() {
	w.lastID++
	w.room[invoke.WorkerID(fmt.Sprintf("w%d", w.lastID))] = 3
}

func version(name string) *lambda.Version {
	return &lambda.Version{Key: lambda.VersionKey{FunctionKey: lambda.FunctionKey{Account: "a", Name: name}, Number: "1"}}
}

// slotsOn counts a worker's slots; w.order is in order of creation.
func (w *world) slotsOn(id invoke.WorkerID) (n int) {
	for _, s := range w.order {
		if s.Worker == id {
			n++
		}
	}
	return n
}

// drop takes a slot out of existence.
func (w *world) drop(s *truth) {
	delete(w.slots, s.ID)
	for i := range w.order {
		if w.order[i] == s {
			w.order = append(w.order[:i:i], w.order[i+1:]...)
			return
		}
	}
}

// pump takes the core's actions: answers are received, calls are under way.
func (w *world) pump(t *rapid.T) {
	for _, a := range w.core.Take() {
		ans, ok := a.(Answer)
		if !ok {
			w.calls = append(w.calls, a)
			continue
		}
		key, known := w.waiting[ans.Ticket]
		if !known {
			t.Fatalf("a ticket was answered that does not wait: %+v", ans)
		}
		delete(w.waiting, ans.Ticket)
		for i := range w.queue {
			if w.queue[i] != ans.Ticket {
				continue
			}
			for _, earlier := range w.queue[:i] {
				if w.waiting[earlier] == key && ans.Err == nil {
					t.Fatal("a later request was served before an earlier one of the same version")
				}
			}
			w.queue = append(w.queue[:i:i], w.queue[i+1:]...)
			break
		}
		if ans.Err == nil {
			w.hold(t, ans.Reservation, key)
		}
	}
}

// hold notes a reservation, which nobody else may have at the time.
func (w *world) hold(t *rapid.T, r invoke.Reservation, key lambda.VersionKey) {
	for _, h := range w.holders {
		unused := !h.sent && w.now.Sub(h.since) >= w.cfg.ReservationGrace
		if h.Slot == r.Slot && h.Sequence == r.Sequence && h.Epoch == r.Epoch && !h.given && !unused {
			t.Fatalf("%+v was handed out twice", r)
		}
	}
	if s := w.slots[r.Slot]; s != nil && s.Version != key {
		t.Fatalf("a request for %v got a slot of %v", key, s.Version)
	}
	w.holders = append(w.holders, &holder{Reservation: r, key: key, since: w.now})
}

func (w *world) reserve(t *rapid.T, v *lambda.Version) {
	want := bestByScan(w.core, v.Key)
	r, ticket := w.core.Reserve(w.now, v)
	if ticket != nil {
		if want != "" {
			t.Fatalf("a request waits while %s is idle", want)
		}
		w.waiting[ticket] = v.Key
		w.queue = append(w.queue, ticket)
		return
	}
	if r.Slot != want {
		t.Fatalf("got slot %s, want %s", r.Slot, want)
	}
	w.hold(t, r, v.Key)
}

// warmer orders the idle slots of one worker: the one used last first, then
// those that were never used, the oldest first.
func warmer(a, b *slot) bool {
	switch usedA, usedB := a.sequence > 1, b.sequence > 1; {
	case usedA && usedB:
		return a.changed > b.changed
	case usedA || usedB:
		return usedA
	}
	return a.changed < b.changed
}

// bestByScan finds the slot to hand out by looking at all of them.
func bestByScan(c *Core, key lambda.VersionKey) invoke.SlotID {
	perWorker := map[invoke.WorkerID]int{}
	arrival := map[invoke.WorkerID]int{}
	for _, s := range c.slots {
		if s.pool.key == key {
			perWorker[s.worker.id]++
			arrival[s.worker.id] = s.host.order
		}
	}
	var best *slot
	for _, s := range c.slots {
		if s.pool.key != key || s.state != idle {
			continue
		}
		if best == nil {
			best = s
			continue
		}
		w, b := s.worker.id, best.worker.id
		if w == b && warmer(s, best) || perWorker[w] > perWorker[b] ||
			perWorker[w] == perWorker[b] && arrival[w] < arrival[b] {
			best = s
		}
	}
	if best == nil {
		return ""
	}
	return best.id
}

var errBroken = errors.New("the call broke off")

// call performs one call, or loses it.
func (w *world) call(t *rapid.T, a Action) {
	outcome := "done"
	if !w.calm {
		outcome = rapid.SampledFrom([]string{"done", "done", "done", "done", "lost", "unanswered"}).Draw(t, "outcome")
	}
	answer := func(err error) error {
		if outcome == "unanswered" {
			return errBroken
		}
		return err
	}
	switch a := a.(type) {
	case Place:
		var lease invoke.Lease
		err := errBroken
		if outcome == "done" {
			lease, err = w.place(t, a)
		}
		w.core.Placed(w.now, a.Start, lease, err)
	case Begin:
		err := errBroken
		if outcome != "lost" {
			err = invoke.ErrUnknownSlot
			if s := w.slots[a.Slot]; s != nil && s.created {
				s.created, s.epoch, err = false, a.Epoch, nil
			}
		}
		if err = answer(err); err != nil {
			w.core.BeginFailed(w.now, a.Slot, err)
		}
	case End:
		err := errBroken
		if outcome != "lost" {
			err = w.end(a)
			if w.room[a.Worker] == 0 {
				err = errBroken
			}
		}
		w.core.Ended(w.now, a.Slot, a.Sequence, answer(err))
	case Release:
		if s := w.slots[a.Slot]; s != nil && s.created {
			w.drop(s)
		}
		delete(w.leases, a.Slot)
		w.core.Released()
	case Renew:
		expires := w.now.Add(4 * time.Hour)
		err := answer(nil)
		lease, ok := w.leases[a.Slot]
		if lease.Expires = expires; !ok {
			err = invoke.ErrUnknownSlot
		} else if err == nil {
			w.leases[a.Slot] = lease
		}
		w.core.Renewed(a.Slot, lease, err)
	case Ask:
		l := list{Ask: a, sent: w.now}
		for _, s := range w.order {
			if s.Worker == a.Worker {
				l.slots = append(l.slots, s.Slot)
			}
		}
		if outcome != "done" || w.room[a.Worker] == 0 {
			l.err = errBroken
		}
		w.calls = append(w.calls, l)
	case list:
		if w.now.Sub(a.sent) >= w.cfg.Remember {
			a.err = errBroken
		}
		w.core.Observe(w.now, a.Worker, a.Mark, a.slots, a.err)
	}
}

// list is a worker's answer to an Ask, on its way.
type list struct {
	Ask
	slots []invoke.Slot
	err   error
	sent  time.Time
}

func (w *world) place(t *rapid.T, a Place) (invoke.Lease, error) {
	for i := 1; i <= w.lastID; i++ {
		id := invoke.WorkerID(fmt.Sprintf("w%d", i))
		if w.slotsOn(id) >= w.room[id] {
			continue
		}
		w.lastID++
		s := &truth{created: true, Slot: invoke.Slot{ID: invoke.SlotID(fmt.Sprintf("s%d", w.lastID)), Worker: id, Version: a.Version.Key, Sequence: 1}}
		w.slots[s.ID] = s
		w.order = append(w.order, s)
		w.leases[s.ID] = invoke.Lease{Slot: s.ID, Worker: id, Expires: w.now.Add(4 * time.Hour)}
		return w.leases[s.ID], nil
	}
	return invoke.Lease{}, invoke.ErrNoRoom
}

func (w *world) end(a End) error {
	s := w.slots[a.Slot]
	switch {
	case s == nil:
		return invoke.ErrUnknownSlot
	case s.State == invoke.SlotBusy, s.Sequence != a.Sequence, a.Epoch < s.epoch:
		return invoke.ErrStaleReservation
	}
	w.drop(s)
	s.State = invoke.SlotEnded
	w.tell(invoke.SlotReport{Slot: s.Slot, Reason: a.Reason})
	return nil
}

// expire ends the idle slots whose leases have run out, as their workers do.
// It loses the messages that are too old, too.
func (w *world) expire() {
	w.reports = slices.DeleteFunc(w.reports, func(m *message) bool { return w.now.Sub(m.sent) >= w.cfg.Remember })
	for _, s := range slices.Clone(w.order) {
		if s.State != invoke.SlotBusy && w.now.After(w.leases[s.ID].Expires) {
			w.drop(s)
		}
	}
	maps.DeleteFunc(w.leases, func(_ invoke.SlotID, l invoke.Lease) bool { return w.now.After(l.Expires) })
}

// report has a slot's worker send word of it.
func (w *world) report(s *truth) { w.tell(invoke.SlotReport{Slot: s.Slot}) }

func (w *world) tell(r invoke.SlotReport) { w.reports = append(w.reports, &message{r, w.now}) }

// lose takes a message off the network.
func (w *world) lose(m *message) {
	w.reports = slices.DeleteFunc(w.reports, func(x *message) bool { return x == m })
}

// succeed puts a new core into office. It asks the workers; the calls and the
// queue of the old one are lost, its reservations are still about.
func (w *world) succeed() {
	w.core = New(w.cfg, w.core.epoch+1)
	var slots []invoke.Slot
	for _, s := range w.order {
		slots = append(slots, s.Slot)
	}
	w.calls, w.queue = nil, nil
	clear(w.waiting)
	clear(w.sequences)
	w.core.Restore(w.now, slots)
}

// send delivers a holder's request to its worker, which takes it or refuses.
func (w *world) send(t *rapid.T, h *holder) {
	s := w.slots[h.Slot]
	if s == nil || s.State != invoke.SlotIdle || s.Sequence != h.Sequence || h.Epoch < s.epoch {
		h.gone = true
		w.giveUp(h.Reservation)
		return
	}
	if s.Version != h.key {
		t.Fatalf("%v ran in a slot of %v", h.key, s.Version)
	}
	h.sent, s.epoch = true, h.Epoch
	// After so long the manager may have taken it back already.
	h.given = h.given || w.now.Sub(h.since) >= w.cfg.ReservationGrace
	s.State = invoke.SlotBusy
	s.Sequence++
}

// giveUp returns a reservation, on behalf of everyone who may have been given
// it in the course of time.
func (w *world) giveUp(r invoke.Reservation) {
	for _, h := range w.holders {
		if h.Reservation == r {
			h.given = true
		}
	}
	w.core.Return(w.now, r)
}

// finish ends what a holder runs; its worker says so.
func (w *world) finish(h *holder) {
	h.gone, h.given = true, true
	if s := w.slots[h.Slot]; s != nil && s.State == invoke.SlotBusy {
		s.State = invoke.SlotIdle
		w.report(s)
	}
}

package workermanager

import (
	"time"

	"kiln/invoke"
)

// Report takes a worker's word that a slot has changed.
func (c *Core) Report(now time.Time, r invoke.SlotReport) {
	s := c.slots[r.Slot.ID]
	switch {
	case r.Slot.State == invoke.SlotEnded:
		if s != nil {
			c.remove(now, s, r.Err)
		}
	case s == nil:
		c.adopt(now, r.Slot)
	case r.Slot.State == invoke.SlotIdle:
		c.reportIdle(now, s, r.Slot.Sequence)
	case r.Slot.State == invoke.SlotBusy:
		c.reportBusy(now, s, r.Slot.Sequence)
	}
}

// reportIdle takes the word that s is idle at a sequence. Such a word is old if
// the sequence has passed or is the one that is reserved.
func (c *Core) reportIdle(now time.Time, s *slot, sequence uint64) {
	switch {
	case sequence < s.sequence:
	case sequence > s.sequence, s.state == starting, s.state == busy && !s.granted:
		c.becomeIdle(now, s, sequence)
	}
}

// reportBusy takes the word that s is running something that this manager did
// not have it do, or the word of a reservation that has arrived.
func (c *Core) reportBusy(now time.Time, s *slot, sequence uint64) {
	if sequence < s.sequence || s.state == busy && sequence == s.sequence {
		return
	}
	c.detach(s)
	if s.state != busy {
		s.since = now
	}
	s.state, s.sequence, s.granted, s.returned = busy, sequence, false, false
	c.touch(s)
	c.cover(s.pool) // if it was starting, someone may have counted on it
}

// adopt takes care of a slot that was not known: workers are the arbiters. One
// that has ended, or that nobody wants, is sent to its end when it is idle.
func (c *Core) adopt(now time.Time, in invoke.Slot) {
	if in.State == invoke.SlotStarting {
		return // its lease is on its way, or it will report again
	}
	p := c.pool(in.Version)
	if c.ended[in.ID] || p.outdated && p.waiting.n == 0 {
		if in.State == invoke.SlotIdle {
			c.do(End{Worker: in.Worker, Slot: in.ID, Epoch: c.epoch, Sequence: in.Sequence, Reason: invoke.EndOutdated})
		}
		return
	}
	c.stats.Adopted++
	// Its lease is not known: have it renewed at once.
	s := c.enter(now, in.ID, in.Worker, p, now.Add(c.cfg.RenewBefore))
	s.sequence = in.Sequence
	if in.State == invoke.SlotIdle {
		c.becomeIdle(now, s, in.Sequence)
	}
}

// ask has a worker asked for its slots; while one question is under way the
// next waits for its answer.
func (c *Core) ask(now time.Time, w *worker) {
	if w.asking {
		w.askAgain = true
		return
	}
	w.asking, w.asked = true, now
	c.mark++
	c.do(Ask{Worker: w.id, Mark: c.mark})
}

// Observe takes a worker's answer to an Ask: all the slots it has. Slots with
// an event since the question are left alone. An error says nothing.
func (c *Core) Observe(now time.Time, id invoke.WorkerID, mark uint64, slots []invoke.Slot, err error) {
	w := c.workers[id]
	if w == nil {
		return
	}
	w.asking = false
	if err == nil {
		c.compare(now, w, mark, slots)
	}
	if w.askAgain {
		w.askAgain = false
		c.ask(now, w)
	}
}

func (c *Core) compare(now time.Time, w *worker, mark uint64, slots []invoke.Slot) {
	there := make(map[invoke.SlotID]bool, len(slots))
	for _, in := range slots {
		there[in.ID] = true
		s := c.slots[in.ID]
		switch {
		case s == nil:
			if in.State != invoke.SlotEnded {
				c.adopt(now, in)
			}
		case s.changed > mark:
		case in.State == invoke.SlotEnded:
			c.remove(now, s, nil)
		case in.State == invoke.SlotBusy:
			c.reportBusy(now, s, in.Sequence)
		case in.State == invoke.SlotIdle:
			c.compareIdle(now, s, in.Sequence)
		}
	}
	var missing []*slot
	for s := w.slots.head; s != nil; s = s.links[byWorker].next {
		// A start may be on its way to the worker still.
		late := s.state != starting || w.asked.Sub(s.since) >= c.cfg.ReservationGrace
		if s.changed <= mark && late && !there[s.id] {
			missing = append(missing, s)
		}
	}
	for _, s := range missing {
		c.stats.Lost++
		c.remove(now, s, nil)
	}
}

// compareIdle is reportIdle with an answer that is known to be news: a
// reservation that has been returned, or was not used in time, is taken back,
// and an end that did not happen is asked for again.
func (c *Core) compareIdle(now time.Time, s *slot, sequence uint64) {
	switch {
	case sequence != s.sequence:
		c.reportIdle(now, s, sequence)
	case s.state == ending:
		c.touch(s)
		c.doEnd(s)
	case s.state == busy && s.granted:
		// The answer may be as old as its question.
		if s.returned || s.worker.asked.Sub(s.since) >= c.cfg.ReservationGrace {
			c.becomeIdle(now, s, sequence)
		}
	default:
		c.reportIdle(now, s, sequence)
	}
}

// Restore takes over what an earlier owner had: the slots as their workers say
// they are. It is for a core that knows no slots yet.
func (c *Core) Restore(now time.Time, slots []invoke.Slot) {
	for _, in := range slots {
		if in.State != invoke.SlotStarting {
			c.Report(now, invoke.SlotReport{Slot: in})
			continue
		}
		if c.slots[in.ID] != nil {
			continue
		}
		p := c.pool(in.Version)
		s := c.enter(now, in.ID, in.Worker, p, now.Add(c.cfg.RenewBefore))
		s.state, s.start = starting, &start{pool: p}
		p.starting++
		c.starting.pushAfter(c.starting.tail, s)
	}
}

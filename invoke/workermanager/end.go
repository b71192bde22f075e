package workermanager

import (
	"errors"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// tomb is a slot that has ended, until it may be forgotten.
type tomb struct {
	id invoke.SlotID
	at time.Time
}

// end has an idle slot ended. It gets no more work from here on.
func (c *Core) end(s *slot, reason invoke.EndReason) {
	c.withdraw(s)
	s.state, s.reason = ending, reason
	if reason == invoke.EndEvicted {
		c.nEvicting++
	}
	c.touch(s)
	c.doEnd(s)
}

func (c *Core) doEnd(s *slot) {
	c.do(End{Worker: s.worker.id, Slot: s.id, Epoch: c.epoch, Sequence: s.sequence, Reason: s.reason})
}

// Ended tells what came of an End. A worker that agrees reports the end when
// the slot's room is free; that report, or its absence from the worker's list,
// is what removes the slot.
func (c *Core) Ended(now time.Time, id invoke.SlotID, sequence uint64, err error) {
	unknown := errors.Is(err, invoke.ErrUnknownSlot)
	s := c.slots[id]
	switch {
	case s == nil && (err == nil || unknown):
		c.do(Release{id}) // it had never been in care, or is no longer
	case s == nil, s.state != ending, s.sequence != sequence, err == nil:
	case unknown:
		c.remove(now, s, nil)
	default:
		// The worker knows better, or could not be reached: let it say what it has.
		c.touch(s)
		c.ask(now, s.worker)
	}
}

// abandon forgets a slot whose start has gone wrong, and has whatever there may
// be of it ended. A slot that has not started is at sequence 1.
func (c *Core) abandon(now time.Time, s *slot, err error) {
	c.do(End{Worker: s.worker.id, Slot: s.id, Epoch: c.epoch, Sequence: 1, Reason: invoke.EndStartFailed})
	c.remove(now, s, err)
}

// Released tells that placement has taken back a lease, so that there may be room.
func (c *Core) Released() { c.retryBlocked() }

// remove forgets a slot that is no more, and gives its lease back.
func (c *Core) remove(now time.Time, s *slot, err error) {
	c.do(Release{s.id})
	c.forget(now, s, err)
}

// forget takes a slot out of care. If it was starting, err says why it failed.
func (c *Core) forget(now time.Time, s *slot, err error) {
	c.ended[s.id] = true
	c.tombs = append(c.tombs, tomb{s.id, now})
	st := s.start
	c.detach(s)
	s.pool.leave(s)
	s.worker.slots.remove(s)
	c.leases.remove(s)
	delete(c.slots, s.id)
	s.pool.used, s.worker.used = now, now
	if st != nil {
		if err == nil {
			err = lambda.Errorf(lambda.CodeUnavailable, "The execution environment ended while it was starting.")
		}
		c.startFailed(st, s.worker.id, err)
	}
	c.cover(s.pool)
}

// WorkerLost tells that a worker is dead: its slots are gone and their
// reservations void, and what was starting there starts elsewhere.
func (c *Core) WorkerLost(now time.Time, id invoke.WorkerID) {
	w := c.workers[id]
	if w == nil {
		return
	}
	err := lambda.Errorf(lambda.CodeUnavailable, "The worker of the execution environment was lost.")
	for w.slots.head != nil {
		c.stats.Lost++
		c.forget(now, w.slots.head, err)
	}
	c.retryBlocked()
}

// DrainWorker lets a worker's slots take no more work: the idle ones end at
// once, the others after what they are doing.
func (c *Core) DrainWorker(id invoke.WorkerID) {
	w := c.workers[id]
	if w == nil {
		return
	}
	for s := w.slots.head; s != nil; s = s.links[byWorker].next {
		c.drain(s)
	}
}

// Outdate ends the slots of those versions of a function that no longer serve:
// the idle ones at once, the busy ones after their invocation. keep is asked for
// each version that there are slots of, and not kept.
func (c *Core) Outdate(fn lambda.FunctionKey, keep func(lambda.VersionKey) bool) {
	for _, p := range c.functions[fn] {
		p.outdated = !keep(p.key)
		for p.outdated && len(p.ready) > 0 {
			c.end(p.best(), invoke.EndOutdated)
		}
	}
}

package workermanager

import (
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// Core is the state machine of one partition. Every method takes the time of
// its event; after each, Take returns what is to be done. A Core is not safe for
// concurrent use.
//
// Invariants: a pool with waiting requests has no idle slot; the starts under
// way of a pool are at least as many as its waiting requests.
type Core struct {
	cfg       Config
	epoch     invoke.Epoch
	slots     map[invoke.SlotID]*slot
	pools     map[lambda.VersionKey]*pool
	functions map[lambda.FunctionKey][]*pool
	workers   map[invoke.WorkerID]*worker
	roster    []*worker // the same, in order of arrival

	idle     slotList // least recently used first
	starting slotList // longest under way first
	leases   slotList // first to renew first

	starts    map[uint64]*start // being placed
	blocked   []*start          // waiting for room; cancelled ones are skipped
	nBlocked  int               // those not cancelled
	nEvicting int               // slots being ended to make room
	lastStart uint64

	ended   map[invoke.SlotID]bool // of late; see Config.Remember
	tombs   []tomb
	mark    uint64 // counts events
	ticks   uint64
	sweepAt time.Time
	actions []Action
	stats   Stats
}

// New returns a core that owns its partition under the given epoch and knows no slots.
func New(cfg Config, epoch invoke.Epoch) *Core {
	return &Core{
		cfg:       cfg.withDefaults(),
		epoch:     epoch,
		slots:     map[invoke.SlotID]*slot{},
		pools:     map[lambda.VersionKey]*pool{},
		functions: map[lambda.FunctionKey][]*pool{},
		workers:   map[invoke.WorkerID]*worker{},
		idle:      slotList{kind: byState},
		starting:  slotList{kind: byState},
		leases:    slotList{kind: byLease},
		starts:    map[uint64]*start{},
		ended:     map[invoke.SlotID]bool{},
	}
}

// Take returns the actions since the last call and forgets them. The slice is
// the caller's.
func (c *Core) Take() []Action {
	a := c.actions
	c.actions = nil
	return a
}

func (c *Core) do(a Action) { c.actions = append(c.actions, a) }

// Reserve asks for an idle slot of v. Either the reservation is returned at
// once, or a ticket whose Answer comes later.
func (c *Core) Reserve(now time.Time, v *lambda.Version) (invoke.Reservation, *Ticket) {
	p := c.pool(v.Key)
	p.version = v
	p.used = now
	if s := p.best(); s != nil {
		c.withdraw(s)
		c.stats.Warm++
		return c.grant(now, s), nil
	}
	t := &Ticket{pool: p, since: now}
	p.waiting.push(t)
	c.cover(p)
	return invoke.Reservation{}, t
}

// Leave gives up a place in the queue. It reports false when the ticket has been
// answered already. What was started for the request goes on.
func (c *Core) Leave(t *Ticket) bool {
	p := t.pool
	if p == nil {
		return false
	}
	c.dequeue(t)
	c.trim(p)
	return true
}

// Return says that a reservation will not be used, or was refused. Its slot is
// offered again once the worker has confirmed that it is idle.
func (c *Core) Return(now time.Time, r invoke.Reservation) {
	s := c.held(r)
	if s == nil {
		return
	}
	s.returned = true
	c.touch(s)
	c.ask(now, s.worker)
}

// TakeBack undoes a reservation that has not left this process.
func (c *Core) TakeBack(now time.Time, r invoke.Reservation) {
	if s := c.held(r); s != nil {
		c.becomeIdle(now, s, s.sequence)
	}
}

// held returns the slot that r still reserves, or nil.
func (c *Core) held(r invoke.Reservation) *slot {
	s := c.slots[r.Slot]
	if s == nil || s.state != busy || !s.granted || s.sequence != r.Sequence || r.Epoch != c.epoch {
		return nil
	}
	return s
}

// grant reserves a slot that is in no list of idle ones.
func (c *Core) grant(now time.Time, s *slot) invoke.Reservation {
	s.state, s.granted, s.returned, s.since = busy, true, false, now
	c.touch(s)
	return invoke.Reservation{Slot: s.id, Worker: s.worker.id, Sequence: s.sequence, Epoch: c.epoch}
}

// becomeIdle gives a slot that has fallen idle at a sequence its next use: the
// request that has waited longest, its end, or a place among the idle.
func (c *Core) becomeIdle(now time.Time, s *slot, sequence uint64) {
	p := s.pool
	c.detach(s)
	s.sequence, s.granted, s.returned = sequence, false, false
	c.touch(s)
	if t := p.waiting.head; t != nil && !s.drain {
		c.dequeue(t)
		c.stats.Waited++
		c.do(Answer{Ticket: t, Reservation: c.grant(now, s)})
		c.trim(p)
		return
	}
	s.state, s.since = idle, now
	c.idle.pushAfter(c.idle.tail, s)
	if sequence == 1 { // not used yet: those that were are warmer
		p.putUnused(s)
	} else {
		p.putIdle(s)
	}
	switch {
	case s.drain:
		c.end(s, invoke.EndLease)
		c.cover(p) // it was on its way to someone
	case p.outdated:
		c.end(s, invoke.EndOutdated)
	case c.nBlocked > 0:
		c.evict()
	}
}

// withdraw takes an idle slot out of the lists that offer it.
func (c *Core) withdraw(s *slot) {
	c.idle.remove(s)
	s.pool.takeIdle(s)
}

// detach takes a slot out of what its present state has put it in.
func (c *Core) detach(s *slot) {
	switch s.state {
	case starting:
		c.starting.remove(s)
		s.pool.starting--
		s.start = nil
	case idle:
		c.withdraw(s)
	case ending:
		if s.reason == invoke.EndEvicted {
			c.nEvicting--
		}
		s.reason = ""
	}
}

// dequeue takes a ticket out of its queue for good.
func (c *Core) dequeue(t *Ticket) {
	t.pool.waiting.remove(t)
	t.pool = nil
}

// touch notes an event of the slot.
func (c *Core) touch(s *slot) {
	c.mark++
	s.changed = c.mark
}

func (c *Core) pool(key lambda.VersionKey) *pool {
	p := c.pools[key]
	if p == nil {
		p = &pool{key: key, hosts: map[*worker]*host{}}
		c.pools[key] = p
		c.functions[key.FunctionKey] = append(c.functions[key.FunctionKey], p)
	}
	return p
}

func (c *Core) worker(id invoke.WorkerID) *worker {
	w := c.workers[id]
	if w == nil {
		w = &worker{id: id, slots: slotList{kind: byWorker}}
		c.workers[id] = w
		c.roster = append(c.roster, w)
	}
	return w
}

// enter takes a slot into care.
func (c *Core) enter(now time.Time, id invoke.SlotID, w invoke.WorkerID, p *pool, expires time.Time) *slot {
	s := &slot{id: id, worker: c.worker(w), pool: p, state: busy, since: now, expires: expires}
	s.renew = expires.Add(-c.cfg.RenewBefore)
	if s.worker.slots.n == 0 {
		s.worker.asked = now
	}
	c.slots[id] = s
	s.worker.used = now
	s.worker.slots.pushAfter(s.worker.slots.tail, s)
	c.leases.pushByRenewal(s)
	p.enter(s)
	p.used = now
	c.touch(s)
	return s
}

package workermanager

import (
	"errors"
	"slices"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// start is one wish for a new slot, through all its attempts.
type start struct {
	id        uint64
	pool      *pool
	attempts  int
	avoid     []invoke.WorkerID // where it has failed
	cancelled bool              // of blocked ones
}

var errNoCapacity = lambda.Errorf(lambda.CodeUnavailable, "No capacity is available for the function now.")

// cover asks for as many starts as there are requests that none is under way for.
func (c *Core) cover(p *pool) {
	for p.coming() < p.waiting.n {
		c.place(&start{pool: p})
	}
}

// place asks placement for the slot of a start.
func (c *Core) place(st *start) {
	c.lastStart++
	st.id = c.lastStart
	st.pool.placing++
	c.starts[st.id] = st
	c.do(Place{Start: st.id, Placement: invoke.Placement{Version: st.pool.version, Avoid: slices.Clone(st.avoid)}})
}

// Placed tells what came of a Place: a lease, or why there is none.
func (c *Core) Placed(now time.Time, id uint64, lease invoke.Lease, err error) {
	st := c.starts[id]
	if st == nil {
		return
	}
	delete(c.starts, id)
	p := st.pool
	p.placing--
	switch {
	case err == nil && c.slots[lease.Slot] != nil:
		// Its worker was quicker than placement, and the slot has been adopted.
		c.setLease(c.slots[lease.Slot], lease.Expires)
	case err == nil:
		s := c.enter(now, lease.Slot, lease.Worker, p, lease.Expires)
		s.state, s.start = starting, st
		p.starting++
		c.starting.pushAfter(c.starting.tail, s)
		c.stats.Started++
		c.do(Begin{Worker: lease.Worker, Slot: lease.Slot, Version: p.version, Epoch: c.epoch})
		c.retryBlocked() // where one had room, another may
	case errors.Is(err, invoke.ErrNoRoom):
		if p.waiting.n > p.coming() {
			c.block(st)
		}
	default:
		c.startFailed(st, "", err)
	}
	c.cover(p)
}

// BeginFailed tells that a worker refused a Begin.
func (c *Core) BeginFailed(now time.Time, id invoke.SlotID, err error) {
	if s := c.slots[id]; s != nil && s.state == starting {
		c.abandon(now, s, err)
	}
}

// startFailed tries a start again elsewhere if a request depends on it. After
// the last attempt the request that has waited longest gets the error.
func (c *Core) startFailed(st *start, w invoke.WorkerID, err error) {
	c.stats.StartsFailed++
	p := st.pool
	if p.waiting.n <= p.coming() {
		return
	}
	st.attempts++
	if w != "" {
		st.avoid = append(st.avoid, w)
	}
	if st.attempts < c.cfg.MaxAttempts {
		c.place(st)
		return
	}
	t := p.waiting.head
	c.dequeue(t)
	c.stats.Failed++
	c.do(Answer{Ticket: t, Err: err})
}

// block has a start wait for room, and makes some if anything is idle.
func (c *Core) block(st *start) {
	st.pool.blocked = append(st.pool.blocked, st)
	c.blocked = append(c.blocked, st)
	c.nBlocked++
	c.evict()
}

// retryBlocked tries the start that has been blocked longest again. If there is
// still no room it goes to the end of the queue, so that one large function
// does not keep small ones waiting.
func (c *Core) retryBlocked() {
	for len(c.blocked) > 0 {
		st := c.blocked[0]
		c.blocked[0] = nil
		c.blocked = c.blocked[1:]
		if st.cancelled {
			continue
		}
		i := slices.Index(st.pool.blocked, st)
		st.pool.blocked = slices.Delete(st.pool.blocked, i, i+1)
		c.nBlocked--
		c.place(st)
		return
	}
}

// trim cancels blocked starts that no request waits for any more.
func (c *Core) trim(p *pool) {
	for len(p.blocked) > 0 && p.coming() > p.waiting.n {
		last := len(p.blocked) - 1
		p.blocked[last].cancelled = true
		p.blocked[last] = nil
		p.blocked = p.blocked[:last]
		c.nBlocked--
	}
}

// evict ends the least recently used idle slots to make room, one for each
// blocked start.
func (c *Core) evict() {
	for c.nEvicting < c.nBlocked && c.idle.head != nil {
		c.stats.Evicted++
		c.end(c.idle.head, invoke.EndEvicted)
	}
}

// giveUp fails the requests of a pool that have waited too long and that no
// start is under way for. The longest waiting ones are served by what comes.
func (c *Core) giveUp(now time.Time, p *pool) {
	t := p.waiting.head
	for range p.placing + p.starting {
		if t == nil {
			return
		}
		t = t.next
	}
	for t != nil && now.Sub(t.since) >= c.cfg.MaxWait {
		next := t.next
		c.dequeue(t)
		c.stats.Failed++
		c.do(Answer{Ticket: t, Err: errNoCapacity})
		t = next
	}
	c.trim(p)
}

package workermanager

import (
	"errors"
	"slices"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// Tick does what is due. Call it several times a second.
func (c *Core) Tick(now time.Time) {
	c.ticks++
	for s := c.idle.head; s != nil && now.Sub(s.since) >= c.cfg.IdleTimeout; s = c.idle.head {
		c.end(s, invoke.EndIdle)
	}
	for s := c.starting.head; s != nil && now.Sub(s.since) >= c.cfg.StartTimeout; s = c.starting.head {
		c.abandon(now, s, lambda.Errorf(lambda.CodeUnavailable, "The execution environment did not start in time."))
	}
	c.tickLeases(now)
	for _, w := range c.roster {
		if !w.asking && now.Sub(w.asked) >= c.cfg.AskInterval {
			c.ask(now, w)
		}
	}
	c.tickBlocked(now)
	for len(c.tombs) > 0 && now.Sub(c.tombs[0].at) >= c.cfg.Remember {
		delete(c.ended, c.tombs[0].id)
		c.tombs = c.tombs[1:]
	}
	if !now.Before(c.sweepAt) {
		c.sweepAt = now.Add(c.cfg.IdleTimeout / 2)
		c.sweep(now)
	}
}

// tickBlocked gives up on requests that have waited too long for room, and
// tries again whether there is some.
func (c *Core) tickBlocked(now time.Time) {
	for _, st := range c.blocked {
		if st.cancelled || st.pool.seen == c.ticks {
			continue
		}
		st.pool.seen = c.ticks
		c.giveUp(now, st.pool)
	}
	c.retryBlocked()
}

// tickLeases renews leases in time. A slot whose lease has expired ends when it
// is idle; one whose worker cannot be made to say so is forgotten, since the
// worker itself keeps no slot beyond its lease and a last invocation.
func (c *Core) tickLeases(now time.Time) {
	for s := c.leases.head; s != nil && !now.Before(s.renew); s = c.leases.head {
		if !now.Before(s.expires) {
			if s.state == ending || now.Sub(s.expires) >= c.cfg.RenewBefore {
				c.stats.Lost++
				c.remove(now, s, nil)
				continue
			}
			c.drain(s)
		}
		c.leases.remove(s)
		s.renew = now.Add(c.cfg.RenewRetry)
		c.leases.pushByRenewal(s)
		if !s.drain {
			c.do(Renew{s.id})
		}
	}
}

// Renewed tells what came of a Renew. A refusal drains the slot; with any other
// error the lease just runs on.
func (c *Core) Renewed(id invoke.SlotID, lease invoke.Lease, err error) {
	s := c.slots[id]
	if s == nil {
		return
	}
	switch {
	case err == nil:
		c.setLease(s, lease.Expires)
	case errors.Is(err, invoke.ErrUnknownSlot), errors.Is(err, invoke.ErrDraining), errors.Is(err, invoke.ErrNoRoom):
		c.drain(s)
	}
}

func (c *Core) setLease(s *slot, expires time.Time) {
	c.leases.remove(s)
	s.expires, s.renew = expires, expires.Add(-c.cfg.RenewBefore)
	c.leases.pushByRenewal(s)
}

// drain lets a slot take no more work.
func (c *Core) drain(s *slot) {
	s.drain = true
	if s.state == idle {
		c.end(s, invoke.EndLease)
	}
}

// sweep forgets the versions and workers that nothing is left of.
func (c *Core) sweep(now time.Time) {
	for key, p := range c.pools {
		if !p.empty() || now.Sub(p.used) < c.cfg.IdleTimeout {
			continue
		}
		delete(c.pools, key)
		fn := key.FunctionKey
		c.functions[fn] = slices.DeleteFunc(c.functions[fn], func(q *pool) bool { return q == p })
		if len(c.functions[fn]) == 0 {
			delete(c.functions, fn)
		}
	}
	c.roster = slices.DeleteFunc(c.roster, func(w *worker) bool {
		gone := w.slots.n == 0 && now.Sub(w.used) >= c.cfg.IdleTimeout
		if gone {
			delete(c.workers, w.id)
		}
		return gone
	})
}

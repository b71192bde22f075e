package placement

import (
	"math"
	"slices"
	"time"

	"kiln/invoke"
)

// Heartbeat takes a worker's report. The first one makes the worker known; one
// that had been declared dead begins anew, without slots.
func (c *Core) Heartbeat(now time.Time, st invoke.WorkerStatus) {
	n := c.workers[st.ID]
	if n == nil {
		n = &node{}
		if k := len(c.vacant); k > 0 {
			n.index = c.vacant[k-1]
			c.vacant = c.vacant[:k-1]
			c.nodes[n.index] = n
		} else {
			n.index = int32(len(c.nodes))
			c.nodes = append(c.nodes, n)
		}
		c.workers[st.ID] = n
		c.alive = append(c.alive, n)
	}
	n.status, n.heard, n.refused = st, now, 0
}

// Drain lets a worker get no more slots and no more leases.
func (c *Core) Drain(id invoke.WorkerID) {
	if n := c.workers[id]; n != nil {
		n.draining = true
	}
}

// Changes are what a Tick has found that others must know.
type Changes struct {
	Lost     []invoke.WorkerID // dead, with all their slots
	Draining []invoke.WorkerID // too old to go on
}

// Tick declares silent workers dead, ends leases, drains old workers and lets
// those rest that are not needed. Call it several times a second.
func (c *Core) Tick(now time.Time) Changes {
	var out Changes
	// A time in which this core was not running says nothing about the workers.
	pause := now.Sub(c.ticked)
	if c.ticked.IsZero() || pause <= c.cfg.DeadAfter/2 {
		pause = 0
	}
	c.ticked = now
	for _, n := range c.alive {
		n.heard = n.heard.Add(pause)
		if now.Sub(n.heard) >= c.cfg.DeadAfter {
			out.Lost = append(out.Lost, n.status.ID)
		}
	}
	for _, id := range out.Lost {
		c.lose(id)
	}
	c.expire(now)
	out.Draining = c.age(now)
	c.pack(now)
	return out
}

// lose forgets a worker and what was placed there.
func (c *Core) lose(id invoke.WorkerID) {
	n := c.workers[id]
	for n.first != nil {
		c.free(n.first)
	}
	delete(c.workers, id)
	c.alive = slices.DeleteFunc(c.alive, func(m *node) bool { return m == n })
	c.nodes[n.index] = nil
	c.vacant = append(c.vacant, n.index)
	c.stats.Lost++
}

// age begins to drain the workers that are too old, the oldest first and only so
// many at a time.
func (c *Core) age(now time.Time) (draining []invoke.WorkerID) {
	if c.cfg.MaxAge <= 0 {
		return nil
	}
	most := int(math.Ceil(c.cfg.AgingShare * float64(len(c.alive))))
	var old []*node
	for _, n := range c.alive {
		switch {
		case n.aging:
			most--
		case now.Sub(n.status.Started) >= c.cfg.MaxAge:
			old = append(old, n)
		}
	}
	slices.SortFunc(old, func(a, b *node) int { return a.status.Started.Compare(b.status.Started) })
	for _, n := range old[:min(len(old), max(most, 0))] {
		n.aging = true
		draining = append(draining, n.status.ID)
	}
	return draining
}

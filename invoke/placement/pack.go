package placement

import (
	"math"
	"slices"
	"time"
)

// packInterval is how often the number of active workers is reconsidered.
const packInterval = 10 * time.Second

// pack sets how many workers are active: as many as have the present load at
// Config.PackTo, and room to spare for the loss of one zone. The emptiest of the others
// rest, so that they become empty as a whole and can be given back; they wake in
// the reverse order. At most a twentieth of the workers goes to rest at a time.
func (c *Core) pack(now time.Time) {
	if c.cfg.PackTo < 0 || now.Sub(c.packed) < packInterval {
		return
	}
	c.packed = now
	nodes := slices.Clone(c.alive)
	slices.SortStableFunc(nodes, func(a, b *node) int { return int(b.slots) - int(a.slots) })
	total, resting := 0.0, 0
	for _, n := range nodes {
		total += c.load(n, claim{}, 0).peak()
		if n.resting {
			resting++
		}
	}
	need := c.needed(total)
	// Some leeway, so that workers do not go back and forth.
	surplus := len(nodes) - resting - need
	switch {
	case surplus > max(need/10, 1):
		most := max(len(nodes)/20, 1)
		for i := len(nodes) - 1; i >= 0 && most > 0 && surplus > 0; i-- {
			if !nodes[i].resting {
				nodes[i].resting = true
				most--
				surplus--
			}
		}
	case surplus < 0:
		for _, n := range nodes {
			if n.resting && surplus < 0 {
				n.resting = false
				surplus++
			}
		}
	}
}

// needed returns how many workers carry a load with a zone's worth to spare.
func (c *Core) needed(load float64) int {
	zones := map[string]bool{}
	for _, n := range c.alive {
		zones[n.status.Zone] = true
	}
	need := load / max(c.cfg.PackTo, 0.01)
	if z := float64(len(zones)); z > 1 {
		need *= z / (z - 1)
	}
	return max(int(math.Ceil(need)), len(zones))
}

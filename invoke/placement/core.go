package placement

import (
	"math/rand/v2"
	"strconv"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// Core is the state machine of the placement service. Every method takes the
// time of its event. A Core is not safe for concurrent use.
type Core struct {
	cfg       Config
	workers   map[invoke.WorkerID]*node
	nodes     []*node // by index; nil where there is none
	vacant    []int32 // indices
	alive     []*node // the same, to draw from
	slots     map[invoke.SlotID]*slot
	functions map[lambda.FunctionKey]*workload
	accounts  map[string]*workload
	leases    leases
	random    *rand.Rand
	lastID    uint64
	ticked    time.Time
	packed    time.Time
	stats     Stats
}

// New returns a core that knows no workers yet.
func New(cfg Config) *Core {
	cfg = cfg.withDefaults()
	return &Core{
		cfg:       cfg,
		workers:   map[invoke.WorkerID]*node{},
		slots:     map[invoke.SlotID]*slot{},
		functions: map[lambda.FunctionKey]*workload{},
		accounts:  map[string]*workload{},
		random:    rand.New(rand.NewPCG(cfg.Seed, 0)),
	}
}

// Place chooses a worker other than the excluded ones, books a new slot there
// and leases it. Workers to avoid are taken only if there is no other. The
// booking stands until Release, Refused or the lease's end.
func (c *Core) Place(now time.Time, p invoke.Placement, excluded []invoke.WorkerID) (invoke.Lease, error) {
	n := c.choose(p.Version, p.Avoid, excluded)
	if n == nil {
		c.stats.NoRoom++
		return invoke.Lease{}, invoke.ErrNoRoom
	}
	c.lastID++
	id := invoke.SlotID(c.cfg.Instance + strconv.FormatUint(c.lastID, 36))
	s := c.book(now, id, n, p.Version.Key.FunctionKey, need(p.Version))
	c.stats.Placed++
	return s.lease(), nil
}

func (s *slot) lease() invoke.Lease {
	return invoke.Lease{Slot: s.id, Worker: s.node.status.ID, Expires: s.expires}
}

// Refused undoes a booking that the worker did not take. It is not asked for as
// much again until it has been heard of or has freed something.
func (c *Core) Refused(id invoke.SlotID) {
	s := c.slots[id]
	if s == nil {
		return
	}
	n, mb := s.node, max(s.claim.memoryMB, 1)
	before := n.refused
	c.free(s)
	if n.refused = mb; before > 0 {
		n.refused = min(before, mb)
	}
	c.stats.Refused++
}

// Release ends a slot's lease; one that is unknown is none.
func (c *Core) Release(id invoke.SlotID) {
	if s := c.slots[id]; s != nil {
		c.free(s)
	}
}

// Renew extends a slot's lease. It refuses with invoke.ErrUnknownSlot, or with
// invoke.ErrDraining when the slot's worker is to become empty.
func (c *Core) Renew(now time.Time, id invoke.SlotID) (invoke.Lease, error) {
	s := c.slots[id]
	switch {
	case s == nil:
		return invoke.Lease{}, invoke.ErrUnknownSlot
	case !s.node.open():
		return invoke.Lease{}, invoke.ErrDraining
	}
	s.expires = now.Add(c.cfg.LeaseTime)
	c.leases.remove(s)
	c.leases.push(s)
	return s.lease(), nil
}

// Adopt books slots that exist on a worker, as after a change of owner. Known
// ones and those on unknown workers are left alone.
func (c *Core) Adopt(now time.Time, slots []invoke.Slot) {
	for _, in := range slots {
		if n := c.workers[in.Worker]; n != nil && c.slots[in.ID] == nil {
			d := claim{memoryMB: int32(in.MemoryMB), cpuMillis: int32(lambda.CPUMillis(in.MemoryMB))}
			c.book(now, in.ID, n, in.Version.FunctionKey, d)
		}
	}
}

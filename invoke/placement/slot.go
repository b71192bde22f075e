package placement

import (
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// slot is one leased slot.
type slot struct {
	id       invoke.SlotID
	node     *node
	function lambda.FunctionKey
	claim    claim
	expires  time.Time
	prev     *slot
	next     *slot // among the node's
	before   *slot
	after    *slot // among the leases
}

// leases is the list of all slots in the order in which their leases end, which
// is that of their last extension.
type leases struct{ first, last *slot }

func (l *leases) push(s *slot) {
	s.before, s.after = l.last, nil
	if l.last != nil {
		l.last.after = s
	} else {
		l.first = s
	}
	l.last = s
}

func (l *leases) remove(s *slot) {
	if s.before != nil {
		s.before.after = s.after
	} else {
		l.first = s.after
	}
	if s.after != nil {
		s.after.before = s.before
	} else {
		l.last = s.before
	}
}

// book enters a slot on a node.
func (c *Core) book(now time.Time, id invoke.SlotID, n *node, fn lambda.FunctionKey, d claim) *slot {
	s := &slot{id: id, node: n, function: fn, claim: d, expires: now.Add(c.cfg.LeaseTime), next: n.first}
	if n.first != nil {
		n.first.prev = s
	}
	n.first = s
	n.slots++
	n.claimed.add(d, 1)
	c.slots[id] = s
	c.leases.push(s)
	c.count(s, 1)
	return s
}

// free takes a slot off its node.
func (c *Core) free(s *slot) {
	n := s.node
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		n.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	n.slots--
	n.claimed.add(s.claim, -1)
	n.refused = 0
	c.leases.remove(s)
	delete(c.slots, s.id)
	c.count(s, -1)
	s.node = nil
}

// count enters or removes a slot in the workloads it belongs to. At least one
// megabyte counts, so that a slot of no declared size is present too.
func (c *Core) count(s *slot, sign int32) {
	mb := sign * max(s.claim.memoryMB, 1)
	f := c.functions[s.function]
	if f == nil {
		f = &workload{on: map[int32]*presence{}}
		c.functions[s.function] = f
	}
	if f.add(s.node.index, mb); len(f.nodes) == 0 {
		delete(c.functions, s.function)
	}
	a := c.accounts[s.function.Account]
	if a == nil {
		a = &workload{on: map[int32]*presence{}}
		c.accounts[s.function.Account] = a
	}
	if a.add(s.node.index, mb); len(a.nodes) == 0 {
		delete(c.accounts, s.function.Account)
	}
}

// need is what a slot of a version claims.
func need(v *lambda.Version) claim {
	return claim{
		memoryMB:  int32(v.Config.MemoryMB),
		cpuMillis: int32(lambda.CPUMillis(v.Config.MemoryMB)),
		storageMB: int32(v.Config.EphemeralStorageMB),
	}
}

// expire frees the slots whose leases have run out.
func (c *Core) expire(now time.Time) {
	for c.leases.first != nil && !now.Before(c.leases.first.expires) {
		c.stats.Expired++
		c.free(c.leases.first)
	}
}

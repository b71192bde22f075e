package workermanager

import (
	"time"

	"kiln/lambda"
)

// pool is all there is of one version: its slots by worker, the requests that
// wait and the starts under way.
type pool struct {
	key lambda.VersionKey
	// version is nil until a request has brought it, when the slots were adopted.
	version *lambda.Version
	hosts   map[*worker]*host
	ready   []*host // heap of the hosts with an idle slot, best first
	// arrivals counts the hosts that there have been.
	arrivals int
	waiting  ticketList
	// placing and blocked starts have no slot yet; starting ones have.
	placing  int
	starting int
	blocked  []*start
	slots    int
	// outdated: the version no longer serves; its slots end when idle.
	outdated bool
	used     time.Time
	seen     uint64 // tick that has looked at it
}

// host is one worker's share of a pool.
type host struct {
	worker *worker
	order  int // of arrival, to break ties
	slots  int // in any state
	idle   slotList
	index  int // in pool.ready, -1 when nothing is idle
}

// coming is how many slots are on their way.
func (p *pool) coming() int { return p.placing + p.starting + len(p.blocked) }

// empty reports whether the pool holds nothing.
func (p *pool) empty() bool { return p.slots == 0 && p.waiting.n == 0 && p.coming() == 0 }

// enter counts a new slot on its worker.
func (p *pool) enter(s *slot) {
	h := p.hosts[s.worker]
	if h == nil {
		h = &host{worker: s.worker, order: p.arrivals, idle: slotList{kind: byHost}, index: -1}
		p.arrivals++
		p.hosts[s.worker] = h
	}
	s.host = h
	h.slots++
	p.slots++
	p.fix(h)
}

// leave forgets a slot that is not idle.
func (p *pool) leave(s *slot) {
	h := s.host
	h.slots--
	p.slots--
	if h.slots == 0 {
		delete(p.hosts, h.worker)
		return
	}
	p.fix(h)
}

// putIdle makes s the first that its worker's share offers.
func (p *pool) putIdle(s *slot) {
	s.host.idle.pushAfter(nil, s)
	p.fix(s.host)
}

// putUnused makes s the last that its worker's share offers.
func (p *pool) putUnused(s *slot) {
	s.host.idle.pushAfter(s.host.idle.tail, s)
	p.fix(s.host)
}

// takeIdle withdraws s from the offer.
func (p *pool) takeIdle(s *slot) {
	s.host.idle.remove(s)
	p.fix(s.host)
}

// best returns the idle slot to use next: on the worker with the most slots the
// one used last; nil if none is idle.
func (p *pool) best() *slot {
	if len(p.ready) == 0 {
		return nil
	}
	return p.ready[0].idle.head
}

// before orders hosts: more slots first, then the older one.
func before(a, b *host) bool {
	if a.slots != b.slots {
		return a.slots > b.slots
	}
	return a.order < b.order
}

// fix restores the heap after h has changed, and enters or removes h as it has
// something idle or not.
func (p *pool) fix(h *host) {
	switch {
	case h.index < 0 && h.idle.n == 0:
		return
	case h.index < 0:
		h.index = len(p.ready)
		p.ready = append(p.ready, h)
	case h.idle.n == 0:
		i, last := h.index, len(p.ready)-1
		p.swap(i, last)
		p.ready[last] = nil
		p.ready = p.ready[:last]
		h.index = -1
		if i == last {
			return
		}
		h = p.ready[i]
	}
	i := h.index
	for i > 0 && before(p.ready[i], p.ready[(i-1)/2]) {
		p.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(p.ready); child++ {
			if before(p.ready[child], p.ready[first]) {
				first = child
			}
		}
		if first == i {
			return
		}
		p.swap(i, first)
		i = first
	}
}

func (p *pool) swap(i, j int) {
	p.ready[i], p.ready[j] = p.ready[j], p.ready[i]
	p.ready[i].index, p.ready[j].index = i, j
}

package workermanager

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiln/invoke"
)

// TestModel lets requests, workers and a bad network loose on a core. After
// every step its books must balance; in the end, when the trouble is over, every
// request must have its answer and no slot may be left anywhere.
func TestModel(t *testing.T) {
	var deck []int // of indices into moves, each as often as it weighs
	for i, m := range moves {
		deck = append(deck, slices.Repeat([]int{i}, m.weight)...)
	}
	history := rapid.SliceOfN(rapid.SampledFrom(deck), 150, 400)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(Config{MaxAttempts: 2})
		for _, i := range history.Draw(t, "history") {
			moves[i].do(t, w)
			w.pump(t)
			if err := balance(w); err != nil {
				t.Fatalf("after %q: %v", moves[i].name, err)
			}
		}
		settle(t, w)
	})
}

// settle lets the trouble end and everything come to rest.
func settle(t *rapid.T, w *world) {
	w.calm = true
	for round := 0; ; round++ {
		w.pump(t)
		for _, a := range w.calls {
			w.calls = w.calls[1:]
			w.call(t, a)
		}
		for _, r := range w.reports {
			w.core.Report(w.now, r.SlotReport)
		}
		w.reports = nil
		for _, h := range w.holders {
			if !h.gone && !h.sent {
				w.send(t, h)
			}
			if !h.gone {
				w.finish(h)
			}
		}
		for _, s := range w.order {
			if !s.created && s.State == invoke.SlotStarting {
				s.State = invoke.SlotIdle
				w.report(s)
			}
		}
		w.pump(t)
		if err := balance(w); err != nil {
			t.Fatal(err)
		}
		if round == 40 && len(w.waiting) > 0 {
			t.Fatalf("%d requests were not answered: %+v", len(w.waiting), w.core.Stats())
		}
		if round > 40 && len(w.slots) == 0 && len(w.core.slots) == 0 && len(w.calls) == 0 {
			break
		}
		if round == 2000 {
			t.Fatalf("slots are left: the workers have %d, the manager %+v", len(w.slots), w.core.Stats())
		}
		w.now = w.now.Add(time.Minute / 4)
		w.expire()
		w.core.Tick(w.now)
	}
	w.now = w.now.Add(time.Hour)
	w.core.Tick(w.now)
	w.now = w.now.Add(time.Hour)
	w.core.Tick(w.now)
	// A lease that was granted while the owner changed is left to expire.
	if len(w.leases) > 0 && w.core.epoch == 1 {
		t.Fatalf("leases are left: %v", w.leases)
	}
	if c := w.core; len(c.pools)+len(c.functions)+len(c.ended)+len(c.starts)+c.nBlocked+c.nEvicting+c.leases.n > 0 {
		t.Fatalf("something is left: %+v, %d ended, %d starts, %d evicting", c.Stats(), len(c.ended), len(c.starts), c.nEvicting)
	}
}

// balance recomputes a core's books from its slots and checks its invariants.
func balance(w *world) error {
	c := w.core
	type sums struct{ slots, starting, idle int }
	pools := map[*pool]sums{}
	hosts := map[*host]sums{}
	var total [4]int
	evicting := 0
	for id, s := range c.slots {
		if s.id != id || c.pools[s.pool.key] != s.pool || c.workers[s.worker.id] != s.worker || s.pool.hosts[s.worker] != s.host {
			return fmt.Errorf("slot %s is entered wrongly", id)
		}
		if s.sequence < w.sequences[id] {
			return fmt.Errorf("slot %s went back from sequence %d to %d", id, w.sequences[id], s.sequence)
		}
		w.sequences[id] = s.sequence
		p, h := pools[s.pool], hosts[s.host]
		p.slots++
		h.slots++
		total[s.state]++
		switch s.state {
		case starting:
			p.starting++
		case idle:
			p.idle++
			h.idle++
			if s.drain || s.pool.outdated {
				return fmt.Errorf("slot %s is offered though it should end", id)
			}
		case ending:
			if s.reason == invoke.EndEvicted {
				evicting++
			}
		}
		if (s.start != nil) != (s.state == starting) {
			return fmt.Errorf("slot %s is %d with start %v", id, s.state, s.start)
		}
		pools[s.pool], hosts[s.host] = p, h
	}
	placing := map[*pool]int{}
	for _, st := range c.starts {
		placing[st.pool]++
	}
	blocked := 0
	for key, p := range c.pools {
		s := pools[p]
		if p.slots != s.slots || p.starting != s.starting || p.placing != placing[p] {
			return fmt.Errorf("%v: %d slots, %d starting, %d placing; counted %+v, %d", key, p.slots, p.starting, p.placing, s, placing[p])
		}
		if p.waiting.n > 0 && s.idle > 0 {
			return fmt.Errorf("%v: %d requests wait beside %d idle slots", key, p.waiting.n, s.idle)
		}
		if p.coming() < p.waiting.n {
			return fmt.Errorf("%v: %d requests wait for %d starts", key, p.waiting.n, p.coming())
		}
		if len(p.blocked) > 0 && p.coming() > p.waiting.n {
			return fmt.Errorf("%v: a start is blocked that nobody waits for", key)
		}
		blocked += len(p.blocked)
		ready := 0
		for i, h := range p.ready {
			if h.index != i || h.idle.n == 0 || i > 0 && before(h, p.ready[(i-1)/2]) {
				return fmt.Errorf("%v: the order of hosts is broken", key)
			}
		}
		for _, h := range p.hosts {
			if h.slots != hosts[h].slots || h.idle.n != hosts[h].idle || h.slots == 0 {
				return fmt.Errorf("%v: a host has %d slots, %d idle; counted %+v", key, h.slots, h.idle.n, hosts[h])
			}
			if h.idle.n > 0 {
				ready++
			}
		}
		if ready != len(p.ready) {
			return fmt.Errorf("%v: %d hosts ready, listed %d", key, ready, len(p.ready))
		}
	}
	if blocked != c.nBlocked || evicting != c.nEvicting {
		return fmt.Errorf("%d blocked, %d evicting; counted %d, %d", c.nBlocked, c.nEvicting, blocked, evicting)
	}
	if c.idle.n != total[idle] || c.starting.n != total[starting] || c.leases.n != len(c.slots) {
		return fmt.Errorf("lists hold %d idle, %d starting, %d leases; counted %v", c.idle.n, c.starting.n, c.leases.n, total)
	}
	onWorkers := 0
	for _, wk := range c.roster {
		onWorkers += wk.slots.n
	}
	if onWorkers != len(c.slots) {
		return fmt.Errorf("workers have %d of %d slots", onWorkers, len(c.slots))
	}
	for s := c.idle.head; s != nil && s.links[byState].next != nil; s = s.links[byState].next {
		if s.links[byState].next.since.Before(s.since) {
			return errors.New("the idle are out of order")
		}
	}
	for s := c.leases.head; s != nil && s.links[byLease].next != nil; s = s.links[byLease].next {
		if s.links[byLease].next.renew.Before(s.renew) {
			return errors.New("the leases are out of order")
		}
	}
	return nil
}

package placement

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiln/invoke"
	"kiln/lambda"
)

func version(account, name string, mb int) *lambda.Version {
	return &lambda.Version{Key: lambda.VersionKey{FunctionKey: lambda.FunctionKey{Account: account, Name: name}, Number: "1"},
		Config: lambda.Config{MemoryMB: mb, EphemeralStorageMB: 512}}
}

func workerID(i int) invoke.WorkerID { return invoke.WorkerID(fmt.Sprintf("w%d", i)) }

// placed is a slot as the oracle knows it.
type placed struct {
	lease invoke.Lease
	v     *lambda.Version
}

// oracle keeps what was placed in a plain list and counts anew for each question.
type oracle struct {
	cfg     Config
	workers map[invoke.WorkerID]*invoke.WorkerStatus
	heard   map[invoke.WorkerID]time.Time
	refused map[invoke.WorkerID]int
	slots   []placed
}

// fits reports whether a worker can take one more slot of v.
func (o *oracle) fits(id invoke.WorkerID, v *lambda.Version) bool {
	w := o.workers[id]
	if w == nil || w.Draining || o.refused[id] > 0 && v.Config.MemoryMB >= o.refused[id] {
		return false
	}
	mb, cpu, disk, n := v.Config.MemoryMB, lambda.CPUMillis(v.Config.MemoryMB), v.Config.EphemeralStorageMB, 1
	for _, s := range o.slots {
		if s.lease.Worker == id {
			mb += s.v.Config.MemoryMB
			cpu += lambda.CPUMillis(s.v.Config.MemoryMB)
			disk += s.v.Config.EphemeralStorageMB
			n++
		}
	}
	c, over := w.Capacity, o.cfg.Overcommit
	return float64(mb) <= float64(c.MemoryMB)*over.Memory && float64(cpu) <= float64(c.CPUMillis)*over.CPU &&
		float64(disk) <= float64(c.StorageMB)*over.Storage && n <= c.Slots
}

func (o *oracle) drop(match func(placed) bool) {
	for _, s := range o.slots {
		if match(s) {
			delete(o.refused, s.lease.Worker) // something was freed there
		}
	}
	o.slots = slices.DeleteFunc(o.slots, match)
}

// TestModel places on a small fleet while workers come, refuse, drain, die and
// return, and compares every answer and every count with the oracle's.
func TestModel(t *testing.T) {
	deck := rapid.SampledFrom([]string{"place", "place", "place", "place", "refuse", "release", "release", "renew", "adopt",
		"beat", "beat", "drain", "time", "long time"})
	history := rapid.SliceOfN(deck, 100, 300)
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Choices: 1, LeaseTime: time.Minute, Overcommit: Overcommit{Memory: 2, CPU: 4, Storage: 1}, Instance: "i",
			Seed: rapid.Uint64().Draw(t, "seed")}.withDefaults()
		c := New(cfg)
		o := &oracle{cfg: cfg, workers: map[invoke.WorkerID]*invoke.WorkerStatus{}, heard: map[invoke.WorkerID]time.Time{}, refused: map[invoke.WorkerID]int{}}
		now := time.Unix(1000, 0)
		c.Tick(now)
		seen := map[invoke.SlotID]bool{}
		one := func() (int, bool) {
			if len(o.slots) == 0 {
				return 0, false
			}
			return rapid.IntRange(0, len(o.slots)-1).Draw(t, "slot"), true
		}
		tick := func(d time.Duration) {
			now = now.Add(d)
			lost := c.Tick(now).Lost
			slices.Sort(lost)
			var want []invoke.WorkerID
			for id, at := range o.heard {
				if d > cfg.DeadAfter/2 {
					o.heard[id] = at.Add(d)
				} else if now.Sub(at) >= cfg.DeadAfter {
					want = append(want, id)
				}
			}
			slices.Sort(want)
			if !slices.Equal(lost, want) {
				t.Fatalf("lost %v, want %v", lost, want)
			}
			for _, id := range want {
				o.drop(func(s placed) bool { return s.lease.Worker == id })
				delete(o.workers, id)
				delete(o.heard, id)
				delete(o.refused, id)
			}
			o.drop(func(s placed) bool { return !now.Before(s.lease.Expires) })
		}
		for _, move := range history.Draw(t, "history") {
			switch move {
			case "place":
				v := version(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "account"), rapid.SampledFrom([]string{"f", "g"}).Draw(t, "name"),
					rapid.SampledFrom([]int{128, 1024, 3000}).Draw(t, "mb"))
				excluded := []invoke.WorkerID{workerID(rapid.IntRange(0, 5).Draw(t, "excluded"))}
				avoid := []invoke.WorkerID{workerID(rapid.IntRange(0, 5).Draw(t, "avoid"))}
				fitting, others := 0, 0
				for id := range o.workers {
					if o.fits(id, v) && !slices.Contains(excluded, id) {
						fitting++
						if !slices.Contains(avoid, id) {
							others++
						}
					}
				}
				lease, err := c.Place(now, invoke.Placement{Version: v, Avoid: avoid}, excluded)
				if err != nil {
					if !errors.Is(err, invoke.ErrNoRoom) || fitting > 0 {
						t.Fatalf("%v, though %d workers have room", err, fitting)
					}
					continue
				}
				switch {
				case !o.fits(lease.Worker, v):
					t.Fatalf("placed on %s, which has no room or is not there", lease.Worker)
				case slices.Contains(excluded, lease.Worker):
					t.Fatalf("placed on %s, which was excluded", lease.Worker)
				case slices.Contains(avoid, lease.Worker) && others > 0:
					t.Fatalf("placed on %s in spite of %d others", lease.Worker, others)
				case seen[lease.Slot]:
					t.Fatalf("slot %s was there before", lease.Slot)
				}
				seen[lease.Slot] = true
				o.slots = append(o.slots, placed{lease, v})
			case "refuse":
				if i, ok := one(); ok {
					s := o.slots[i]
					r := o.refused[s.lease.Worker]
					if r == 0 || s.v.Config.MemoryMB < r {
						r = s.v.Config.MemoryMB
					}
					c.Refused(s.lease.Slot)
					o.slots = slices.Delete(o.slots, i, i+1)
					o.refused[s.lease.Worker] = r
				}
			case "release":
				if i, ok := one(); ok {
					id := o.slots[i].lease.Slot
					c.Release(id)
					c.Release(id)
					o.drop(func(s placed) bool { return s.lease.Slot == id })
				}
			case "renew":
				if i, ok := one(); ok {
					s := &o.slots[i]
					lease, err := c.Renew(now, s.lease.Slot)
					if draining := o.workers[s.lease.Worker].Draining; (err != nil) != draining || err != nil && !errors.Is(err, invoke.ErrDraining) {
						t.Fatalf("renewal on a worker with draining %v: %v", draining, err)
					} else if err == nil {
						s.lease = lease
					}
				}
			case "adopt":
				v := version("a", rapid.SampledFrom([]string{"f", "g"}).Draw(t, "name"), 1024)
				v.Config.EphemeralStorageMB = 0 // nobody knows
				in := invoke.Slot{ID: invoke.SlotID(fmt.Sprint("adopted-", len(seen))), Version: v.Key, MemoryMB: v.Config.MemoryMB,
					Worker: workerID(rapid.IntRange(0, 5).Draw(t, "worker"))}
				i, known := one()
				if known = known && rapid.Bool().Draw(t, "known"); known {
					in.ID = o.slots[i].lease.Slot
				}
				c.Adopt(now, []invoke.Slot{in})
				if !known && o.workers[in.Worker] != nil {
					seen[in.ID] = true
					o.slots = append(o.slots, placed{invoke.Lease{Slot: in.ID, Worker: in.Worker, Expires: now.Add(cfg.LeaseTime)}, v})
				}
			case "beat":
				i := rapid.IntRange(0, 5).Draw(t, "worker")
				st := invoke.WorkerStatus{ID: workerID(i), Capacity: invoke.Resources{MemoryMB: 2000 * (i + 1), CPUMillis: 2000, StorageMB: 4000, Slots: 5}}
				if old := o.workers[st.ID]; old != nil {
					st.Draining = old.Draining
				}
				c.Heartbeat(now, st)
				o.workers[st.ID], o.heard[st.ID] = &st, now
				delete(o.refused, st.ID)
			case "drain":
				id := workerID(rapid.IntRange(0, 5).Draw(t, "worker"))
				c.Drain(id)
				if w := o.workers[id]; w != nil {
					w.Draining = true
				}
			case "time":
				tick(time.Duration(rapid.SampledFrom([]int{1, 100, 500, 900}).Draw(t, "ms")) * time.Millisecond)
			case "long time":
				tick(time.Duration(rapid.IntRange(10, 40).Draw(t, "s")) * time.Second)
			}
			if err := consistent(c, o); err != nil {
				t.Fatalf("after %q: %v", move, err)
			}
		}
	})
}

// consistent compares a core's books with the oracle's list.
func consistent(c *Core, o *oracle) error {
	if len(c.slots) != len(o.slots) || len(c.alive) != len(o.workers) || len(c.workers) != len(o.workers) {
		return fmt.Errorf("%d slots on %d workers, want %d on %d", len(c.slots), len(c.alive), len(o.slots), len(o.workers))
	}
	claims := map[*node]claim{}
	functions := map[lambda.FunctionKey]map[int32]int32{}
	accounts := map[string]map[int32]int32{}
	for _, p := range o.slots {
		s := c.slots[p.lease.Slot]
		if s == nil || s.node.status.ID != p.lease.Worker {
			return fmt.Errorf("slot %s is not where it was placed", p.lease.Slot)
		}
		sum := claims[s.node]
		sum.add(need(p.v), 1)
		claims[s.node] = sum
		fn := p.v.Key.FunctionKey
		if functions[fn] == nil {
			functions[fn] = map[int32]int32{}
		}
		functions[fn][s.node.index] += int32(p.v.Config.MemoryMB)
		if accounts[fn.Account] == nil {
			accounts[fn.Account] = map[int32]int32{}
		}
		accounts[fn.Account][s.node.index] += int32(p.v.Config.MemoryMB)
	}
	for _, n := range c.alive {
		if n.claimed != claims[n] || c.nodes[n.index] != n {
			return fmt.Errorf("worker %s has claims of %+v, its slots %+v", n.status.ID, n.claimed, claims[n])
		}
	}
	same := func(w *workload, want map[int32]int32) error {
		if len(w.on) != len(want) || len(w.nodes) != len(want) {
			return fmt.Errorf("a workload is on %v, want %v", w.nodes, want)
		}
		for node, mb := range want {
			if w.at(node) != mb || w.nodes[w.on[node].place] != node {
				return fmt.Errorf("a workload has %d MB on %d, want %d", w.at(node), node, mb)
			}
		}
		return nil
	}
	if len(c.functions) != len(functions) || len(c.accounts) != len(accounts) {
		return fmt.Errorf("%d functions of %d accounts, want %d of %d", len(c.functions), len(c.accounts), len(functions), len(accounts))
	}
	for fn, want := range functions {
		if err := same(c.functions[fn], want); err != nil {
			return fmt.Errorf("%v: %w", fn, err)
		}
	}
	for a, want := range accounts {
		if err := same(c.accounts[a], want); err != nil {
			return fmt.Errorf("account %s: %w", a, err)
		}
	}
	return nil
}

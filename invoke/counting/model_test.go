package counting

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

// held is one unit as the oracle sees it.
type held struct {
	unit  invoke.Unit
	front invoke.FrontEndID
}

// oracle restates the rules in the plainest way: a list of units, counted anew
// for every question.
type oracle struct {
	limits   map[string]int
	reserved map[lambda.FunctionKey]int
	units    []held
	renewed  map[invoke.FrontEndID]time.Time
	lapsed   map[invoke.FrontEndID]bool
}

func (o *oracle) count(match func(lambda.FunctionKey) bool) (n int) {
	for _, h := range o.units {
		if match(h.unit.Function) {
			n++
		}
	}
	return n
}

func (o *oracle) limit(account string) int {
	if n, ok := o.limits[account]; ok {
		return n
	}
	return 5
}

// verdict is the Reason with which a request must be refused, "" to grant it.
func (o *oracle) verdict(fn lambda.FunctionKey) lambda.Reason {
	limit := o.limit(fn.Account)
	total := o.count(func(k lambda.FunctionKey) bool { return k.Account == fn.Account })
	if n, ok := o.reserved[fn]; ok {
		if o.count(func(k lambda.FunctionKey) bool { return k == fn }) >= n {
			return lambda.ReasonReservedConcurrentInvocations
		}
	} else {
		pool := limit
		for k, n := range o.reserved {
			if k.Account == fn.Account {
				pool -= n
			}
		}
		unreserved := o.count(func(k lambda.FunctionKey) bool {
			_, ok := o.reserved[k]
			return k.Account == fn.Account && !ok
		})
		if unreserved >= pool {
			return lambda.ReasonConcurrentInvocations
		}
	}
	if total >= limit {
		return lambda.ReasonConcurrentInvocations
	}
	return ""
}

func (o *oracle) drop(match func(held) bool) { o.units = slices.DeleteFunc(o.units, match) }

// TestModel drives a core and the oracle with the same random history, through
// changes of owner, lost front ends, late and repeated releases, and compares
// every answer and every count.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{AccountLimit: 5, RequestRate: -1, FrontEndTimeout: 3 * time.Second}
		now := time.Unix(1000, 0)
		epoch := invoke.Epoch(1)
		core := New(cfg, epoch)
		core.Tick(now)
		o := &oracle{limits: map[string]int{}, reserved: map[lambda.FunctionKey]int{},
			renewed: map[invoke.FrontEndID]time.Time{}, lapsed: map[invoke.FrontEndID]bool{}}
		var gone []invoke.Unit // released or given back

		fnGen := rapid.Custom(func(t *rapid.T) lambda.FunctionKey {
			return lambda.FunctionKey{Account: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "account"),
				Name: rapid.SampledFrom([]string{"f", "g", "h"}).Draw(t, "name")}
		})
		frontGen := rapid.SampledFrom([]invoke.FrontEndID{"x", "y", "z"})
		unitsOf := func(f invoke.FrontEndID) (us []invoke.Unit) {
			for _, h := range o.units {
				if h.front == f {
					us = append(us, h.unit)
				}
			}
			return us
		}
		actions := map[string]func(*rapid.T){
			"acquire": func(t *rapid.T) {
				front, fn := frontGen.Draw(t, "front"), fnGen.Draw(t, "fn")
				u, err := core.Acquire(now, front, fn)
				if o.lapsed[front] {
					if lambda.CodeOf(err) != lambda.CodeUnavailable {
						t.Fatalf("a lapsed front end got %v, %v", u, err)
					}
					return
				}
				var e *lambda.Error
				var got lambda.Reason
				if errors.As(err, &e) {
					got = e.Reason
				}
				if want := o.verdict(fn); got != want {
					t.Fatalf("acquire %v: reason %q, want %q", fn, got, want)
				}
				if err == nil {
					for _, h := range o.units {
						if h.unit == u {
							t.Fatalf("unit %v granted twice", u)
						}
					}
					o.units = append(o.units, held{u, front})
				}
			},
			"release": func(t *rapid.T) {
				if len(o.units) == 0 {
					t.Skip("nothing held")
				}
				i := rapid.IntRange(0, len(o.units)-1).Draw(t, "i")
				u := o.units[i].unit
				if !core.Release(now, u) {
					t.Fatalf("unit %v was not known", u)
				}
				o.units = slices.Delete(o.units, i, i+1)
				gone = append(gone, u)
			},
			"release again": func(t *rapid.T) {
				if len(gone) == 0 {
					t.Skip("nothing released")
				}
				u := rapid.SampledFrom(gone).Draw(t, "unit")
				if core.Release(now, u) {
					t.Fatalf("unit %v released twice", u)
				}
			},
			"limit": func(t *rapid.T) {
				a, n := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "account"), rapid.IntRange(0, 8).Draw(t, "n")
				core.SetAccountLimit(a, n)
				o.limits[a] = n
			},
			"reserve": func(t *rapid.T) {
				fn, n := fnGen.Draw(t, "fn"), rapid.IntRange(-1, 4).Draw(t, "n")
				if n < 0 {
					core.SetReserved(now, fn, nil)
					delete(o.reserved, fn)
					return
				}
				core.SetReserved(now, fn, &n)
				o.reserved[fn] = n
			},
			"renew": func(t *rapid.T) {
				f := frontGen.Draw(t, "front")
				if core.Renew(now, f) {
					o.renewed[f] = now
				} else if err := core.Rebuild(now, epoch, f, unitsOf(f)); err != nil {
					t.Fatal(err)
				} else {
					o.renewed[f] = now
					delete(o.lapsed, f)
				}
			},
			"time": func(t *rapid.T) {
				// Drawn from a range, most would be short, and no lease would run out.
				pause := time.Duration(rapid.SampledFrom([]int{1, 300, 1000, 1500, 1501, 2500}).Draw(t, "ms")) * time.Millisecond
				now = now.Add(pause)
				core.Tick(now)
				if pause > 1500*time.Millisecond { // the owner slept, too
					for f, at := range o.renewed {
						o.renewed[f] = at.Add(pause)
					}
				}
				for f, at := range o.renewed {
					if !o.lapsed[f] && now.Sub(at) >= 3*time.Second {
						gone = append(gone, unitsOf(f)...)
						o.drop(func(h held) bool { return h.front == f })
						o.lapsed[f] = true
					}
				}
			},
			"new owner": func(t *rapid.T) {
				epoch++
				core = New(cfg, epoch)
				core.Tick(now)
				for a, n := range o.limits {
					core.SetAccountLimit(a, n)
				}
				for fn, n := range o.reserved {
					core.SetReserved(now, fn, &n)
				}
				fronts := []invoke.FrontEndID{"x", "y", "z"}
				core.Recover(now, fronts)
				if _, err := core.Acquire(now, "x", lambda.FunctionKey{Account: "a", Name: "f"}); lambda.CodeOf(err) != lambda.CodeUnavailable {
					t.Fatalf("granted before the recount: %v", err)
				}
				dead := invoke.FrontEndID(rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "dead"))
				for _, f := range fronts {
					if f == dead {
						continue
					}
					units := unitsOf(f)
					// A release may overtake the list it is missing from.
					if len(units) > 0 && rapid.Bool().Draw(t, "overtake") {
						if core.Release(now, units[0]) {
							t.Fatal("a new owner knew a unit it had not been told")
						}
						gone = append(gone, units[0])
						o.drop(func(h held) bool { return h.unit == units[0] })
					}
					for range rapid.IntRange(1, 2).Draw(t, "tellings") {
						if err := core.Rebuild(now, epoch, f, units); err != nil {
							t.Fatal(err)
						}
					}
					o.renewed[f] = now
					delete(o.lapsed, f)
				}
				if err := core.Rebuild(now, epoch-1, "x", nil); err == nil {
					t.Fatal("a list for another owner was taken")
				}
				if dead != "" {
					for i := range 3 {
						if _, err := core.Acquire(now, "z", lambda.FunctionKey{Account: "a", Name: "f"}); lambda.CodeOf(err) != lambda.CodeUnavailable {
							t.Fatalf("granted %d s before the dead front end's lease has run out: %v", 3-i, err)
						}
						now = now.Add(time.Second)
						for _, f := range fronts {
							if f != dead {
								core.Renew(now, f)
								o.renewed[f] = now
							}
						}
						core.Tick(now)
					}
					gone = append(gone, unitsOf(dead)...)
					o.drop(func(h held) bool { return h.front == dead })
					o.lapsed[dead], o.renewed[dead] = true, now
				}
			},
			"": func(t *rapid.T) {
				if err := consistent(core); err != nil {
					t.Fatal(err)
				}
				if s := core.Stats(); s.InFlight != len(o.units) {
					t.Fatalf("%d in flight, want %d", s.InFlight, len(o.units))
				}
				for _, a := range []string{"a", "b"} {
					want := o.count(func(k lambda.FunctionKey) bool { return k.Account == a })
					if got := core.AccountUsage(a).InFlight; got != want {
						t.Fatalf("account %s has %d in flight, want %d", a, got, want)
					}
				}
			},
		}
		t.Repeat(actions)
	})
}

// consistent recomputes every total of a core from its parts.
func consistent(c *Core) error {
	inFlight := map[*function]int{}
	live := 0
	for _, r := range c.units.records {
		if r.fn != nil {
			inFlight[r.fn]++
			live++
		}
	}
	if live != c.units.live || live+len(c.units.vacant) != len(c.units.records) {
		return fmt.Errorf("%d units, %d said to be live, %d vacant of %d", live, c.units.live, len(c.units.vacant), len(c.units.records))
	}
	heldByFronts := 0
	for _, fe := range c.fronts {
		n := 0
		for i := fe.first; i != end; i = c.units.records[i].next {
			n++
		}
		if n != fe.held {
			return fmt.Errorf("a front end holds %d, counted %d", n, fe.held)
		}
		heldByFronts += n
	}
	if heldByFronts != live {
		return fmt.Errorf("front ends hold %d of %d units", heldByFronts, live)
	}
	type sums struct{ inFlight, unreserved, reserved int }
	perAccount := map[*account]sums{}
	for _, f := range c.functions {
		if f.inFlight != inFlight[f] {
			return fmt.Errorf("%v: %d in flight, %d units", f.key, f.inFlight, inFlight[f])
		}
		s := perAccount[f.account]
		s.inFlight += f.inFlight
		if f.reserved == none {
			s.unreserved += f.inFlight
		} else {
			s.reserved += f.reserved
		}
		perAccount[f.account] = s
	}
	for id, a := range c.accounts {
		if s := perAccount[a]; s != (sums{a.inFlight, a.unreserved, a.reserved}) {
			return fmt.Errorf("account %s keeps %+v, its functions add up to %+v", id, *a, s)
		}
	}
	return nil
}

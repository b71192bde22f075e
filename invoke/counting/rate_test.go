package counting

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiln/invoke"
	"kiln/lambda"
)

var fn = lambda.FunctionKey{Account: "000000000000", Name: "f"}

// acquire takes up to n units and returns them and the reason of the first refusal.
func acquire(c *Core, now time.Time, n int) (units []invoke.Unit, reason lambda.Reason) {
	for range n {
		u, err := c.Acquire(now, "front", fn)
		if err != nil {
			var e *lambda.Error
			errors.As(err, &e)
			return units, e.Reason
		}
		units = append(units, u)
	}
	return units, ""
}

func releaseAll(c *Core, now time.Time, units []invoke.Unit) {
	for _, u := range units {
		c.Release(now, u)
	}
}

// TestRamp walks through the documented growth: 1,000 at once, then 100 a
// second, nothing saved, and nothing to pay for environments that exist.
func TestRamp(t *testing.T) {
	c := New(Config{AccountLimit: 10_000}, 1)
	now := time.Unix(1000, 0)

	units, reason := acquire(c, now, 1500)
	if len(units) != 1000 || reason != lambda.ReasonFunctionInvocationRate {
		t.Fatalf("at once: %d, then %q", len(units), reason)
	}
	now = now.Add(time.Second)
	more, reason := acquire(c, now, 500)
	if len(more) != 100 || reason != lambda.ReasonFunctionInvocationRate {
		t.Fatalf("after a second: %d, then %q", len(more), reason)
	}
	releaseAll(c, now, units)
	releaseAll(c, now, more)

	// The 1,100 environments still exist: using them again costs nothing.
	now = now.Add(2 * time.Second)
	units, _ = acquire(c, now, 2000)
	if len(units) != 1100+200 {
		t.Fatalf("of 1,100 warm environments and 200 new ones: %d", len(units))
	}
	releaseAll(c, now, units)

	// An hour later they are gone, and no more than one burst has been saved.
	now = now.Add(time.Hour)
	units, _ = acquire(c, now, 2000)
	if len(units) != 1000 {
		t.Fatalf("after an hour: %d", len(units))
	}
}

// TestWarmLevelOutlivesIdleTimeout checks that the level is kept for the idle
// time-out, and forgotten by one and a half of it.
func TestWarmLevelOutlivesIdleTimeout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const idle = 10 * time.Minute
		start := time.Unix(0, 0)
		w := warmLevel{start: start}
		at := start.Add(time.Duration(rapid.IntRange(0, 3600).Draw(t, "at")) * time.Second)
		w.roll(at, 0, idle)
		w.reach(7)
		w.roll(at, 2, idle) // the peak lasted an instant
		after := time.Duration(rapid.IntRange(0, 3600).Draw(t, "after")) * time.Second
		w.roll(at.Add(after), 2, idle)
		switch got := w.level(); {
		case after < idle && got != 7:
			t.Fatalf("level %d after %v", got, after)
		case after >= idle*3/2 && got != 2:
			t.Fatalf("level %d after %v", got, after)
		}
	})
}

// TestRampNeverExceeded checks on random traffic that in no span of time does
// the number of new environments exceed the burst and the refill together.
func TestRampNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := New(Config{AccountLimit: 1 << 20, RequestRate: -1, RampEnvironments: 10, RampPeriod: 10 * time.Second}, 1)
		now := time.Unix(0, 0)
		var grown []time.Time // when the level rose
		var units []invoke.Unit
		t.Repeat(map[string]func(*rapid.T){
			"acquire": func(t *rapid.T) {
				before := 0
				if f := c.functions[fn]; f != nil {
					f.warm.roll(now, f.inFlight, c.cfg.IdleTimeout)
					before = f.warm.level()
				}
				got, _ := acquire(c, now, rapid.IntRange(1, 15).Draw(t, "n"))
				units = append(units, got...)
				for range c.functions[fn].warm.level() - before {
					grown = append(grown, now)
				}
				for i, at := range grown {
					if n, most := len(grown)-i, 10+int(now.Sub(at)/time.Second); n > most {
						t.Fatalf("%d environments in %v, at most %d allowed", n, now.Sub(at), most)
					}
				}
			},
			"release": func(t *rapid.T) {
				n := rapid.IntRange(0, len(units)).Draw(t, "n")
				releaseAll(c, now, units[:n])
				units = units[n:]
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 600_000).Draw(t, "ms")) * time.Millisecond)
				c.Tick(now)
			},
		})
	})
}

// TestRequestRate checks the documented ten requests a second for each unit of
// the pool's limit, with the pool's own Reason.
func TestRequestRate(t *testing.T) {
	two := 2
	for _, tc := range []struct {
		name     string
		reserved *int
		want     int
		reason   lambda.Reason
	}{
		{"unreserved", nil, 30, lambda.ReasonFunctionInvocationRate},
		{"reserved", &two, 20, lambda.ReasonReservedInvocationRate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := New(Config{AccountLimit: 3}, 1)
			now := time.Unix(1000, 0)
			c.SetReserved(now, fn, tc.reserved)
			one := func() (lambda.Reason, bool) {
				units, reason := acquire(c, now, 1)
				releaseAll(c, now, units)
				return reason, len(units) == 1
			}
			for range 2 { // a second's allowance, twice
				for i := range tc.want {
					if reason, ok := one(); !ok {
						t.Fatalf("request %d refused: %s", i, reason)
					}
				}
				if reason, ok := one(); ok || reason != tc.reason {
					t.Fatalf("beyond the rate: granted %v, reason %q", ok, reason)
				}
				now = now.Add(time.Second)
			}
		})
	}
}

// TestReservedZero checks that a reservation of nothing stops a function and
// leaves the pool to the others.
func TestReservedZero(t *testing.T) {
	c := New(Config{AccountLimit: 3}, 1)
	now, zero := time.Unix(1000, 0), 0
	c.SetReserved(now, fn, &zero)
	if _, reason := acquire(c, now, 1); reason != lambda.ReasonReservedConcurrentInvocations {
		t.Fatalf("reason %q", reason)
	}
	other := lambda.FunctionKey{Account: fn.Account, Name: "other"}
	for range 3 {
		if _, err := c.Acquire(now, "front", other); err != nil {
			t.Fatal(err)
		}
	}
}

// TestQuietFunctionsAreForgotten checks that functions do not pile up.
func TestQuietFunctionsAreForgotten(t *testing.T) {
	c := New(Config{}, 1)
	now := time.Unix(1000, 0)
	units, _ := acquire(c, now, 1)
	for range 4 {
		now = now.Add(time.Hour)
		c.Tick(now)
	}
	if c.Stats().Functions != 1 {
		t.Fatal("a function with a request in flight was forgotten")
	}
	releaseAll(c, now, units)
	for range 4 {
		now = now.Add(time.Hour)
		c.Tick(now)
	}
	if n := c.Stats().Functions; n != 0 {
		t.Fatalf("%d functions kept", n)
	}
}

package counting

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// TestServiceUnderStress has many goroutines take and give back units and
// checks that the limit holds at every moment and that nothing is left over.
func TestServiceUnderStress(t *testing.T) {
	const limit, reserved = 12, 5
	s := NewService(Config{AccountLimit: limit, RequestRate: -1}, 1)
	n := reserved
	capped := lambda.FunctionKey{Account: fn.Account, Name: "capped"}
	s.SetReserved(capped, &n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go s.Run(ctx)

	var all, own, granted atomic.Int64
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			front := invoke.FrontEndID(strconv.Itoa(g % 3))
			for i := range 2000 {
				key := fn
				if (g+i)%2 == 0 {
					key = capped
				}
				u, err := s.Acquire(ctx, front, key)
				if err != nil {
					continue
				}
				granted.Add(1)
				if n := all.Add(1); n > limit {
					t.Errorf("%d in flight, limit %d", n, limit)
				}
				if key == capped {
					if n := own.Add(1); n > reserved {
						t.Errorf("%d of the capped function in flight, limit %d", n, reserved)
					}
					own.Add(-1)
				}
				all.Add(-1)
				s.Release(u)
				s.Release(u)
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.InFlight != 0 || st.Granted != uint64(granted.Load()) || granted.Load() == 0 {
		t.Fatalf("left over: %+v, granted %d", st, granted.Load())
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	s := NewService(Config{RequestRate: -1}, 1)
	for b.Loop() {
		u, err := s.Acquire(b.Context(), "front", fn)
		if err != nil {
			b.Fatal(err)
		}
		s.Release(u)
	}
}

func BenchmarkCoreAmongManyFunctions(b *testing.B) {
	c := New(Config{RequestRate: -1, AccountLimit: 1 << 20}, 1)
	keys := make([]lambda.FunctionKey, 100_000)
	for i := range keys {
		keys[i] = lambda.FunctionKey{Account: fn.Account, Name: "function-" + strconv.Itoa(i)}
	}
	now := time.Now()
	var ring [1024]invoke.Unit
	i := 0
	for b.Loop() {
		c.Release(now, ring[i%len(ring)])
		ring[i%len(ring)], _ = c.Acquire(now, "front", keys[i%len(keys)])
		i++
	}
}

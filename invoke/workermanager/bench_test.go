package workermanager

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// populate gives a core n idle slots of the versions, on workers of 1,000 each.
func populate(c *Core, now time.Time, n int, versions []*lambda.Version) {
	for i := range n {
		c.Report(now, invoke.SlotReport{Slot: invoke.Slot{
			ID: invoke.SlotID(fmt.Sprintf("slot-%010d", i)), Worker: invoke.WorkerID(fmt.Sprint("worker-", i/1000)),
			Version: versions[i%len(versions)].Key, State: invoke.SlotIdle, Sequence: 1}})
	}
	c.Take()
}

// BenchmarkWarm is a decision and its report, among 100,000 slots of 10,000 versions.
func BenchmarkWarm(b *testing.B) {
	var versions []*lambda.Version
	for i := range 10_000 {
		versions = append(versions, version(fmt.Sprint("function-", i)))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := New(Config{}, 1)
	now := time.Now()
	populate(c, now, 100_000, versions)
	runtime.GC()
	runtime.ReadMemStats(&after)
	i := 0
	for b.Loop() {
		v := versions[i%len(versions)]
		r, _ := c.Reserve(now, v)
		c.Report(now, invoke.SlotReport{Slot: invoke.Slot{ID: r.Slot, Version: v.Key, State: invoke.SlotIdle, Sequence: r.Sequence + 1}})
		i++
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/100_000, "B/slot")
}

// BenchmarkCold is a slot's whole life: queue, placement, start, report, answer, end.
func BenchmarkCold(b *testing.B) {
	c := New(Config{}, 1)
	now := time.Now()
	v := version("f")
	i := 0
	for b.Loop() {
		i++
		id := invoke.SlotID(fmt.Sprint("s", i))
		c.Reserve(now, v)
		place := c.Take()[0].(Place)
		c.Placed(now, place.Start, invoke.Lease{Slot: id, Worker: "w", Expires: now.Add(4 * time.Hour)}, nil)
		c.Report(now, invoke.SlotReport{Slot: invoke.Slot{ID: id, State: invoke.SlotIdle, Sequence: 1}})
		c.Report(now, invoke.SlotReport{Slot: invoke.Slot{ID: id, State: invoke.SlotEnded}})
		c.Take()
		if i%1024 == 0 {
			now = now.Add(time.Minute)
			c.Tick(now)
			for _, a := range c.Take() {
				c.Observe(now, a.(Ask).Worker, 0, nil, errBroken)
			}
		}
	}
}

// BenchmarkService is a decision and its report through the lock.
func BenchmarkService(b *testing.B) {
	f := newFleet(b, Config{}, 1, 0)
	v := version("f")
	ctx := context.Background()
	r, err := f.s.Reserve(ctx, v)
	for b.Loop() {
		if err != nil {
			b.Fatal(err)
		}
		f.s.Report(ctx, invoke.SlotReport{Slot: invoke.Slot{ID: r.Slot, Version: v.Key, State: invoke.SlotIdle, Sequence: r.Sequence + 1}})
		r, err = f.s.Reserve(ctx, v)
	}
}

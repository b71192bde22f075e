package placement

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// fleet returns a core that knows n equal workers in three zones.
func fleet(cfg Config, now time.Time, n int) *Core {
	c := New(cfg)
	for i := range n {
		c.Heartbeat(now, status(i, now))
	}
	return c
}

func status(i int, now time.Time) invoke.WorkerStatus {
	return invoke.WorkerStatus{ID: invoke.WorkerID(fmt.Sprintf("worker-%05d", i)), Zone: string(rune('a' + i%3)), Started: now,
		Capacity: invoke.Resources{MemoryMB: 16 << 10, CPUMillis: 16_000, StorageMB: 100 << 10, Slots: 1000}}
}

// TestSpread fills a fleet with the slots of many functions, most of them small
// and a few large, and looks at what the design asks for: even load, few
// workers for a function, no function with too much of a worker.
func TestSpread(t *testing.T) {
	now := time.Unix(1000, 0)
	cfg := Config{Instance: "i", Seed: 1, PackTo: -1}.withDefaults()
	c := fleet(cfg, now, 100)
	r := rand.New(rand.NewPCG(2, 0))
	slots := map[*lambda.Version]int{}
	var versions []*lambda.Version
	for i := range 500 {
		versions = append(versions, version(fmt.Sprint("account-", i%50), fmt.Sprint("f", i), []int{128, 256, 512, 1024}[i%4]))
	}
	for range 10_000 {
		v := versions[int(float64(len(versions))*r.Float64()*r.Float64())] // the first are called most
		if _, err := c.Place(now, invoke.Placement{Version: v}, nil); err != nil {
			t.Fatal(err)
		}
		slots[v]++
	}
	least, most := 1.0, 0.0
	for _, n := range c.alive {
		l := c.load(n, claim{}, 0).peak()
		least, most = min(least, l), max(most, l)
	}
	if most-least > 0.25 {
		t.Errorf("the workers' loads run from %.2f to %.2f", least, most)
	}
	capacity := float64(16<<10) * cfg.Overcommit.Memory
	over, workers, fewest := 0, 0, 0
	for _, v := range versions {
		w := c.functions[v.Key.FunctionKey]
		if w == nil {
			continue
		}
		for _, p := range w.on {
			if float64(p.memoryMB) > capacity*cfg.FunctionShare {
				over++
			}
		}
		workers += len(w.nodes)
		fewest += max(1, int(float64(slots[v]*v.Config.MemoryMB)/(capacity*cfg.FunctionShare)+0.999))
	}
	t.Logf("load %.3f to %.3f; functions on %d workers in all where %d would do; %d shares too large", least, most, workers, fewest, over)
	if over > 0 {
		t.Errorf("%d times a function has more than its share of a worker", over)
	}
	if workers > fewest*3/2 {
		t.Errorf("functions are on %d workers in all, %d would do", workers, fewest)
	}
}

// TestPacking checks that a fleet with little to do has resting workers which
// get no slots, and that they wake when they are needed.
func TestPacking(t *testing.T) {
	now := time.Unix(1000, 0)
	c := fleet(Config{Instance: "i", Seed: 1}, now, 60)
	rest := func() {
		for range 100 {
			for range 20 {
				now = now.Add(time.Second / 2)
				for i := range 60 {
					c.Heartbeat(now, status(i, now))
				}
				c.Tick(now)
			}
		}
	}
	rest()
	resting := c.Stats().Resting
	if resting < 40 {
		t.Fatalf("%d of 60 idle workers rest", resting)
	}
	for i := range 200 {
		lease, err := c.Place(now, invoke.Placement{Version: version("a", fmt.Sprint(i), 1024)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.workers[lease.Worker].resting {
			t.Fatal("a resting worker got a slot while others had room")
		}
	}
	for i := range 2000 {
		if _, err := c.Place(now, invoke.Placement{Version: version(fmt.Sprint(i%40), fmt.Sprint(i), 1024)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	rest()
	if st := c.Stats(); st.Resting >= resting/2 || st.Workers-st.Resting < st.Needed {
		t.Fatalf("under load: %+v", st)
	}
}

// TestAge checks that old workers drain oldest first and few at a time.
func TestAge(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	c := New(Config{Instance: "i", MaxAge: 14 * time.Hour})
	for i := range 20 {
		st := status(i, now.Add(-time.Duration(i)*time.Hour))
		c.Heartbeat(now, st)
	}
	if got := fmt.Sprint(c.Tick(now).Draining); got != "[worker-00019 worker-00018]" {
		t.Fatalf("draining %v", got)
	}
	if got := c.Tick(now).Draining; len(got) != 0 {
		t.Fatalf("then %v", got)
	}
	for range 200 {
		lease, err := c.Place(now, invoke.Placement{Version: version("a", "f", 128)}, nil)
		if err != nil || lease.Worker >= "worker-00018" {
			t.Fatalf("placed on %s: %v", lease.Worker, err)
		}
	}
}

// BenchmarkPlace is a decision and a release on 10,000 workers with a million
// slots of 100,000 functions.
func BenchmarkPlace(b *testing.B) {
	now := time.Now()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := fleet(Config{Instance: "instance-", Seed: 1}, now, 10_000)
	versions := make([]*lambda.Version, 100_000)
	for i := range versions {
		versions[i] = version(fmt.Sprint("account-", i%10_000), fmt.Sprint("f", i), 128<<(i%4))
	}
	slots := make([]invoke.SlotID, 1_000_000)
	place := func(i int) {
		lease, err := c.Place(now, invoke.Placement{Version: versions[c.random.IntN(len(versions))]}, nil)
		if err != nil {
			b.Fatal(err)
		}
		slots[i] = lease.Slot
	}
	for i := range slots {
		place(i)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		i := c.random.IntN(len(slots))
		c.Release(slots[i])
		place(i)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB")
}

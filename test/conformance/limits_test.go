package conformance

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"kiln/sandbox"
)

// limitCases are about using up what there is.
var limitCases = []testCase{
	{"memory", "takes more memory than it may: an out-of-memory exit, and another sandbox does not notice", limitsMemory},
	{"memory of children", "takes it in a child process: the whole sandbox's limit holds", limitsMemoryOfChildren},
	{"shared memory counts", "takes it as files in /dev/shm: an out-of-memory exit", limitsSharedMemory},
	{"shared memory", "fills /dev/shm: it ends at its own size", limitsSharedMemorySize},
	{"killed is not out of memory", "kills itself: the exit is a signal's", limitsKillIsNotOOM},
	{"tmp", "fills /tmp: no space left at its size, and again after deleting", limitsTmp},
	{"files", "opens more files than it may: refused at the limit", limitsFiles},
	{"processes", "forks more often than it may: refused below the limit, and it goes on", limitsProcesses},
	{"fork bomb", "forks for ever in all children: the sandbox can be killed at once, and another does not notice", limitsForkBomb},
	{"frozen fork bomb", "the same, frozen first: it stands still and dies", limitsFrozenForkBomb},
	{"processor", "keeps a core busy with a fifth of one: it gets a fifth, while one without such a quota gets more", limitsProcessor},
	{"processor, changed", "has its quota raised while it runs: it gets more", limitsProcessorChanged},
	{"output flood", "prints without end to a pipe that nobody reads: the sandbox can be used and killed as ever", limitsFlood},
	{"output closed", "prints to a pipe whose reader is gone: only the function ends", limitsClosedOutput},
	{"counts per user", "takes all inotify instances of its user: another sandbox still gets one", limitsPerUser},
}

// companion is a sandbox that must not notice what another does.
func (s *stage) companion(t *testing.T) (stillWell func()) {
	t.Helper()
	x := s.start(t, s.spec(t, "tick=20ms"))
	x.next(t)
	return func() {
		t.Helper()
		// What it printed meanwhile, and more.
		for range 200 {
			if r := x.next(t); r.Error != "" {
				t.Errorf("the other sandbox: %s", r.Error)
			}
			if x.out.Buffered() == 0 {
				break
			}
		}
		x.next(t)
	}
}

func requireOOM(t *testing.T, got sandbox.Exit) {
	t.Helper()
	if want := (sandbox.Exit{Code: 137, Signal: 9, OOM: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func limitsMemory(t *testing.T, s *stage) {
	stillWell := s.companion(t)
	spec := s.spec(t, "memory=40", "memory=400")
	spec.Limits.MemoryBytes = 96 << 20
	x := s.start(t, spec)
	if r := x.next(t); r.Error != "" {
		t.Errorf("with less than the limit: %s", r.Error)
	}
	requireOOM(t, x.wait(t))
	if u, err := x.Usage(); err != nil || u.MemoryPeakBytes > 96<<20 || u.MemoryPeakBytes < 48<<20 {
		t.Errorf("usage %+v, %v", u, err)
	}
	stillWell()
}

func limitsMemoryOfChildren(t *testing.T, s *stage) {
	spec := s.spec(t, "memory=50", "apart=memory=200", "memory=1", "sleep=1h")
	spec.Limits.MemoryBytes = 128 << 20
	x := s.start(t, spec)
	x.next(t)
	if r, err := x.read(); err == nil {
		// The kernel may have chosen the child alone; the other is still there.
		if r.Error == "" {
			t.Errorf("250 MiB were had: %s", r.Value)
		}
		x.next(t)
		return
	}
	requireOOM(t, x.wait(t))
}

func limitsSharedMemory(t *testing.T, s *stage) {
	spec := s.spec(t, "shm=60", "sleep=1h")
	spec.Limits.MemoryBytes = 32 << 20
	requireOOM(t, s.start(t, spec).wait(t))
}

func limitsSharedMemorySize(t *testing.T, s *stage) {
	var written int
	r := s.probe(t, "fill=/dev/shm 200")
	r.decode(t, &written)
	if !strings.Contains(r.Error, "no space left") || written < 60 || written > 65 {
		t.Errorf("%d MiB, %q", written, r.Error)
	}
}

func limitsKillIsNotOOM(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "memory=10", "signal=9"))
	if got, want := x.wait(t), (sandbox.Exit{Code: 137, Signal: 9}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func limitsTmp(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "fill=/tmp 100", "fill=/tmp 100", "write=/tmp/a"))
	for range 2 {
		var written int
		r := x.next(t)
		r.decode(t, &written)
		if !strings.Contains(r.Error, "no space left") || written < tmpMiB-1 || written > tmpMiB {
			t.Errorf("%d MiB, %q", written, r.Error)
		}
	}
	if r := x.next(t); r.Error != "" {
		t.Error(r.Error)
	}
}

func limitsFiles(t *testing.T, s *stage) {
	var opened int
	r := s.probe(t, "files=1000")
	r.decode(t, &opened)
	if !strings.Contains(r.Error, "too many open files") || opened < 200 || opened > 256 {
		t.Errorf("%d files, %q", opened, r.Error)
	}
}

func limitsProcesses(t *testing.T, s *stage) {
	spec := s.spec(t, "fork=200", "echo=alive")
	spec.Limits.Processes = 60
	x := s.start(t, spec)
	var children int
	r := x.next(t)
	r.decode(t, &children)
	// A Go process has several threads, which count.
	if r.Error == "" || children < 3 || children >= 60 {
		t.Errorf("%d children, %q", children, r.Error)
	}
	if r := x.next(t); string(r.Value) != `"alive"` {
		t.Errorf("then %+v", r)
	}
}

// bomb starts a fork bomb and lets it grow.
func (s *stage) bomb(t *testing.T) *box {
	spec := s.spec(t, "forkbomb")
	spec.Limits.Processes = 100
	x := s.start(t, spec)
	x.next(t)
	tasks := 0
	eventually(t, "the bomb has grown", func() bool {
		before := tasks
		time.Sleep(100 * time.Millisecond)
		tasks = len(s.tasksOf(x.spec.ID))
		return tasks > 0 && tasks <= before
	})
	// The container's tasks are the machine's; a guest kernel has a fixed share of them.
	if most := spec.Limits.Processes + 1; !s.ownKernel && tasks > most {
		t.Errorf("%d tasks, %d are allowed", tasks, most)
	}
	return x
}

func limitsForkBomb(t *testing.T, s *stage) {
	stillWell := s.companion(t)
	x := s.bomb(t)
	stillWell()
	s.killGone(t, x)
	stillWell()
}

func limitsFrozenForkBomb(t *testing.T, s *stage) {
	x := s.bomb(t)
	if err := x.Freeze(deadline(t)); err != nil {
		t.Fatal(err)
	}
	s.requireStill(t, x)
	s.killGone(t, x)
}

// killGone kills a sandbox, of which nothing must be left to run.
func (s *stage) killGone(t *testing.T, x *box) {
	t.Helper()
	if err := x.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if got, want := x.wait(t), (sandbox.Exit{Code: 137, Signal: 9}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if tasks := s.tasksOf(x.spec.ID); len(tasks) > 0 {
		t.Errorf("tasks %v are left", tasks)
	}
}

// shares lets two sandboxes keep a core busy at the same time and returns the
// processor time that each got.
func shares(t *testing.T, one, two *box, during time.Duration) (float64, float64) {
	t.Helper()
	cpu := func(x *box) time.Duration {
		u, err := x.Usage()
		if err != nil {
			t.Fatal(err)
		}
		return u.CPU
	}
	beforeOne, beforeTwo, begin := cpu(one), cpu(two), time.Now()
	time.Sleep(during)
	took := time.Since(begin)
	return float64(cpu(one)-beforeOne) / float64(took), float64(cpu(two)-beforeTwo) / float64(took)
}

// attemptsAtShares is how often a measurement beside other work on the machine
// is made before it counts as failed.
const attemptsAtShares = 4

func limitsProcessor(t *testing.T, s *stage) {
	limited, free := s.spec(t, "echo=up", "spin=1h"), s.spec(t, "echo=up", "spin=1h")
	limited.Limits.CPUMillis, free.Limits.CPUMillis = 200, 1000
	x, y := s.start(t, limited), s.start(t, free)
	x.next(t)
	y.next(t)
	var a, b float64
	for range attemptsAtShares {
		a, b = shares(t, x, y, time.Second)
		if a > 0.3+s.ownCPU {
			t.Errorf("%.2f of a core with a quota of 0.2", a)
		}
		if b > 1.5 {
			t.Errorf("%.2f cores with a quota of 1", b)
		}
		if b > 1.25*a {
			t.Logf("%.2f and %.2f of a core", a, b)
			return
		}
	}
	t.Errorf("%.2f of a core with a quota of 0.2, %.2f with 1: the quota makes no difference", a, b)
}

func limitsProcessorChanged(t *testing.T, s *stage) {
	spec := s.spec(t, "echo=up", "spin=1h")
	spec.Limits.CPUMillis = 100
	x := s.start(t, spec)
	x.next(t)
	before, after := 0.0, 0.0
	for range attemptsAtShares {
		before, _ = shares(t, x, x, 500*time.Millisecond)
		if err := x.LimitCPU(1000); err != nil {
			t.Fatal(err)
		}
		if after, _ = shares(t, x, x, 500*time.Millisecond); after > 1.5*before {
			return
		}
		if err := x.LimitCPU(100); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("%.2f of a core, then %.2f", before, after)
}

func limitsFlood(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "flood"))
	if _, err := x.out.Peek(6); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(x.Freeze(deadline(t)), x.Thaw(deadline(t)))
	if _, usageErr := x.Usage(); err != nil || usageErr != nil {
		t.Fatal(err, usageErr)
	}
	s.killGone(t, x)
}

func limitsClosedOutput(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "flood"))
	if _, err := x.out.Peek(6); err != nil {
		t.Fatal(err)
	}
	x.output.Close()
	if got := x.wait(t); got.Signal != 13 && got.Code == 0 {
		t.Errorf("%+v", got)
	}
}

func limitsPerUser(t *testing.T, s *stage) {
	data, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		t.Fatal(err)
	}
	spec := s.spec(t, "inotify=5000", "sleep=1h")
	spec.Limits.Files = 6000
	greedy := s.start(t, spec)
	var taken int
	first := greedy.next(t)
	first.decode(t, &taken)
	t.Logf("%d taken; the machine allows %s", taken, bytes.TrimSpace(data))
	r := s.probe(t, "inotify=1")
	_, weak := s.weak[sharesUserCounts]
	switch {
	case r.Error != "" && !weak:
		t.Errorf("the other sandbox got none: %s", r.Error)
	case r.Error == "" && weak && first.Error != "":
		t.Error("the other sandbox got one: the list of weaknesses is out of date")
	}
}

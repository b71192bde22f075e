package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"kiln/sandbox"
)

// lifeCases are about the life cycle that a worker relies on.
var lifeCases = []testCase{
	{"exit codes", "exits with 0, 3, 137 and 255: reported as such, without a signal", lifeExitCodes},
	{"signals", "ends by signals 9, 15 and 6: reported as 128 + signal", lifeSignals},
	{"start errors", "starts what is missing, not executable, no program, foreign, without interpreter: each a StartError", lifeStartErrors},
	{"create errors", "creates from specs that cannot work: an error each", lifeCreateErrors},
	{"same ID", "creates two with one ID: the second is refused, the first goes on", lifeSameID},
	{"freeze", "freezes and thaws what runs: it uses no processor time while frozen and goes on after", lifeFreeze},
	{"freeze often", "freezes and thaws a busy function 100 times: it survives", lifeFreezeOften},
	{"freeze before start", "freezes, thaws, then starts: it runs", lifeFreezeCreated},
	{"kill", "kills what runs, twice: ends by signal 9, and nothing runs any more", lifeKill},
	{"kill frozen", "kills what is frozen: the same", lifeKillFrozen},
	{"kill created", "kills what was never started: nothing runs any more", lifeKillCreated},
	{"orphans", "ends and leaves child processes: they end too", lifeOrphans},
	{"wait gives up", "waits with a context that ends: its error, and the sandbox goes on", lifeWaitGivesUp},
	{"destroy in any state", "destroys what is created, running, frozen, killed, ended, twice each: nothing is left", lifeDestroy},
	{"create given up", "gives up creating in the middle: nothing is left", lifeCreateGivenUp},
	{"usage", "reads the usage of a known load: plausible, monotonous, and still there after the end", lifeUsage},
	{"many", "runs 20 at once: each does its own work", lifeMany},
	{"all at once", "freezes, thaws, reads and kills from many goroutines: it ends", lifeTogether},
}

func lifeExitCodes(t *testing.T, s *stage) {
	for _, code := range []int{0, 3, 137, 255} {
		x := s.start(t, s.spec(t, fmt.Sprintf("exit=%d", code)))
		if got, want := x.wait(t), (sandbox.Exit{Code: code}); got != want {
			t.Errorf("%+v, want %+v; %s", got, want, x.stderr())
		}
	}
}

func lifeSignals(t *testing.T, s *stage) {
	for _, signal := range []int{9, 15, 6} {
		x := s.start(t, s.spec(t, fmt.Sprintf("signal=%d", signal)))
		got := x.wait(t)
		// A Go program ends with 2 on SIGABRT, after its stack traces.
		if want := (sandbox.Exit{Code: 128 + signal, Signal: signal}); got != want && (signal != 6 || got.Code != 2) {
			t.Errorf("%+v, want %+v; %s", got, want, x.stderr())
		}
	}
}

func lifeStartErrors(t *testing.T, s *stage) {
	for _, path := range []string{"/missing", "/forbidden", "/text", "/foreign", "/script", "/tmp", "/link"} {
		spec := s.spec(t)
		spec.Process.Args = []string{path}
		x := s.create(t, spec)
		err := x.Start(deadline(t))
		var start *sandbox.StartError
		if !errors.As(err, &start) || start.Path != path {
			t.Errorf("%s: %v is not its StartError", path, err)
		}
		if got := x.wait(t); got.Code == 0 {
			t.Errorf("%s: then %+v", path, got)
		}
	}
}

func lifeCreateErrors(t *testing.T, s *stage) {
	for name, change := range badSpecs {
		spec := s.spec(t, "echo=a")
		change(&spec)
		if x, err := s.tryCreate(deadline(t), spec); err == nil {
			// A back end may notice the last of them when it starts.
			if err := x.Start(deadline(t)); err == nil {
				t.Errorf("%s: no error", name)
			}
			x.end(t)
		}
	}
}

// badSpecs are changes that no sandbox can be made with.
var badSpecs = map[string]func(*sandbox.Spec){
	"no root":         func(s *sandbox.Spec) { s.Root = "/nowhere" },
	"no target":       func(s *sandbox.Spec) { s.Mounts[0].Target = "/nowhere" },
	"deep target":     func(s *sandbox.Spec) { s.Mounts[0].Target = "/nowhere/at/all" },
	"target in file":  func(s *sandbox.Spec) { s.Mounts[2].Target = "/etc/passwd/below" },
	"no source":       func(s *sandbox.Spec) { s.Mounts[0].Source = "/nowhere" },
	"no directory":    func(s *sandbox.Spec) { s.Process.Dir = "/nowhere" },
	"no network":      func(s *sandbox.Spec) { s.Network = "/nowhere" },
	"not a namespace": func(s *sandbox.Spec) { s.Network = "/dev/null" },
	"bad ID":          func(s *sandbox.Spec) { s.ID = "../x" },
	"no memory":       func(s *sandbox.Spec) { s.Limits.MemoryBytes = 0 },
	"relative entry":  func(s *sandbox.Spec) { s.Process.Args = []string{"probe"} },
	"no entry":        func(s *sandbox.Spec) { s.Process.Args = nil },
}

func lifeSameID(t *testing.T, s *stage) {
	spec := s.spec(t, "echo=a")
	x := s.create(t, spec)
	if second, err := s.tryCreate(deadline(t), spec); err == nil {
		second.end(t)
		t.Fatal("two sandboxes with one ID")
	}
	if err := x.Start(deadline(t)); err != nil {
		t.Fatal(err)
	}
	x.next(t)
}

// requireStill checks that a sandbox uses no processor time.
func (s *stage) requireStill(t *testing.T, x *box) {
	t.Helper()
	before, err := x.Usage()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if after, err := x.Usage(); err != nil || after.CPU != before.CPU {
		t.Errorf("it ran for %v while frozen, %v", after.CPU-before.CPU, err)
	}
}

func lifeFreeze(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "echo=up", "spin=1h"))
	x.next(t)
	for range 3 {
		if err := x.Freeze(deadline(t)); err != nil {
			t.Fatal(err)
		}
		s.requireStill(t, x)
		frozen, err := x.Usage()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second does nothing
			if err := x.Thaw(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "it goes on", func() bool {
			u, err := x.Usage()
			return err == nil && u.CPU > frozen.CPU
		})
	}
}

func lifeFreezeOften(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "tick=100us"))
	for range 100 {
		x.next(t)
		if err := errors.Join(x.Freeze(deadline(t)), x.Thaw(deadline(t))); err != nil {
			t.Fatal(err)
		}
	}
	// All that was printed and more.
	for range 1000 {
		x.next(t)
	}
}

func lifeFreezeCreated(t *testing.T, s *stage) {
	x := s.create(t, s.spec(t, "echo=a"))
	if err := errors.Join(x.Freeze(deadline(t)), x.Thaw(deadline(t)), x.Start(deadline(t))); err != nil {
		t.Fatal(err)
	}
	if got := x.wait(t); got.Code != 0 {
		t.Errorf("%+v", got)
	}
}

func lifeKill(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "echo=up", "sleep=1h"))
	x.next(t)
	for range 2 {
		s.killGone(t, x)
	}
}

func lifeKillFrozen(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "echo=up", "orphan", "sleep=1h"))
	x.next(t)
	x.next(t)
	if err := x.Freeze(deadline(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.killGone(t, x)
	}
}

func lifeKillCreated(t *testing.T, s *stage) {
	x := s.create(t, s.spec(t, "sleep=1h"))
	if err := x.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if tasks := s.tasksOf(x.spec.ID); len(tasks) > 0 {
		t.Errorf("tasks %v are left", tasks)
	}
}

func lifeOrphans(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "orphan", "echo=up", "exit=7"))
	if got := x.wait(t); got.Code != 7 {
		t.Errorf("%+v", got)
	}
	eventually(t, "the orphans are gone", func() bool { return len(s.tasksOf(x.spec.ID)) == 0 || !s.hasFunction(x) })
}

// hasFunction says whether something of the function's still runs: a guest
// kernel's helpers may be there until Destroy, but they use no processor time.
func (s *stage) hasFunction(x *box) bool {
	if !s.ownKernel {
		return len(s.tasksOf(x.spec.ID)) > 0
	}
	before, err := x.Usage()
	time.Sleep(20 * time.Millisecond)
	after, again := x.Usage()
	return err == nil && again == nil && after.CPU != before.CPU
}

func lifeWaitGivesUp(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "tick=1ms"))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := x.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	x.next(t)
}

func lifeDestroy(t *testing.T, s *stage) {
	for name, prepare := range map[string]func(x *box) error{
		"created":            func(*box) error { return nil },
		"created and frozen": func(x *box) error { return x.Freeze(deadline(t)) },
		"running":            func(x *box) error { return x.Start(deadline(t)) },
		"frozen":             func(x *box) error { return errors.Join(x.Start(deadline(t)), x.Freeze(deadline(t))) },
		"killed":             func(x *box) error { return errors.Join(x.Start(deadline(t)), x.Kill(deadline(t))) },
		"ended": func(x *box) error {
			err := x.Start(deadline(t))
			x.Kill(deadline(t))
			x.wait(t)
			return err
		},
	} {
		x := s.create(t, s.spec(t, "sleep=1h"))
		if err := prepare(x); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for range 2 {
			if err := x.Destroy(deadline(t)); err != nil {
				t.Errorf("destroy what is %s: %v", name, err)
			}
		}
		if left := s.groupsOf(x.spec.ID); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

func lifeCreateGivenUp(t *testing.T, s *stage) {
	for _, after := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(context.Background(), after)
		spec := s.spec(t, "echo=a")
		x, err := s.tryCreate(ctx, spec)
		cancel()
		switch {
		case err == nil:
			x.end(t)
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("after %v: %v", after, err)
		}
		if left := s.groupsOf(spec.ID); len(left) > 0 {
			t.Errorf("after %v: left %v", after, left)
		}
	}
}

func lifeUsage(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "memory=60", "spin=200ms", "sleep=1h"))
	x.next(t)
	x.next(t)
	u, err := x.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if mib := u.MemoryPeakBytes >> 20; mib < 60 || mib > 100 {
		t.Errorf("peak %d MiB of a function that took 60", mib)
	}
	if u.MemoryBytes < 60<<20 || u.MemoryBytes > 256<<20 {
		t.Errorf("%d MiB now", u.MemoryBytes>>20)
	}
	if u.CPU <= 0 {
		t.Errorf("processor time %v", u.CPU)
	}
	s.killGone(t, x)
	after, err := x.Usage()
	if err != nil || after.CPU < u.CPU || after.MemoryPeakBytes < u.MemoryPeakBytes {
		t.Errorf("%+v, after the end %+v, %v", u, after, err)
	}
}

func lifeMany(t *testing.T, s *stage) {
	const count = 20
	specs := make([]sandbox.Spec, count)
	for i := range specs {
		specs[i] = s.spec(t, fmt.Sprintf("echo=%d", i), "write=/tmp/a", "list=/tmp")
		specs[i].Limits.MemoryBytes = 64 << 20
	}
	run := func(i int) error {
		x, err := s.tryCreate(deadline(t), specs[i])
		if err != nil {
			return err
		}
		defer x.end(t)
		if err := x.Start(deadline(t)); err != nil {
			return err
		}
		for _, want := range []string{fmt.Sprintf("%q", fmt.Sprint(i)), "", `{"a":`} {
			r, err := x.read()
			if err != nil || r.Error != "" || !strings.HasPrefix(string(r.Value), want) {
				return fmt.Errorf("number %d: %+v %s, %w, want %s", i, r, r.Value, err, want)
			}
		}
		exit, err := x.Wait(deadline(t))
		if err == nil && exit != (sandbox.Exit{}) {
			err = fmt.Errorf("number %d: %+v", i, exit)
		}
		return err
	}
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			if err := run(i); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func lifeTogether(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "tick=1ms"))
	x.next(t)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { x.Freeze(deadline(t)) })
		all.Go(func() { x.Usage() })
		all.Go(func() { x.Thaw(deadline(t)) })
	}
	all.Go(func() {
		if err := x.Kill(deadline(t)); err != nil {
			t.Error(err)
		}
	})
	all.Wait()
	// A Freeze may have come last: then it may not hold the dead.
	if err := x.Thaw(deadline(t)); err != nil {
		t.Error(err)
	}
	if got := x.wait(t); got.Signal != 9 {
		t.Errorf("%+v", got)
	}
}

package container

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"kiln/sandbox"
)

func TestMemoryLimit(t *testing.T) {
	b := newBackend(t)
	spec := newSpec(t, "memory=40", "memory=200")
	spec.Limits.MemoryBytes = 64 << 20
	x := start(t, b, spec)
	if problem := x.next(t, nil); problem != "" {
		t.Error(problem)
	}
	usage, err := x.Usage()
	if err != nil || usage.MemoryPeakBytes < 40<<20 || usage.MemoryPeakBytes > 64<<20 {
		t.Errorf("with 40 MiB taken: %+v, %v", usage, err)
	}
	if got, want := x.wait(t), (sandbox.Exit{Code: 137, Signal: 9, OOM: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if usage, err := x.Usage(); err != nil || usage.MemoryPeakBytes < 60<<20 {
		t.Errorf("at the end: %+v, %v", usage, err)
	}
}

// /dev/shm is memory too.
func TestSharedMemoryCounts(t *testing.T) {
	b := newBackend(t)
	spec := newSpec(t, "shm=60", "sleep=1h")
	spec.Limits.MemoryBytes = 32 << 20
	if got := start(t, b, spec).wait(t); !got.OOM {
		t.Errorf("%+v, want an OOM kill", got)
	}
	// It ends at its own size before that.
	spec = newSpec(t, "shm=100")
	spec.Limits.MemoryBytes = 256 << 20
	var written int
	if problem := start(t, b, spec).next(t, &written); !strings.Contains(problem, "no space left") || written > 65 {
		t.Errorf("%d MiB written, %q", written, problem)
	}
}

// A kill from inside is no OOM kill.
func TestSIGKILLIsNotOOM(t *testing.T) {
	b := newBackend(t)
	if got := start(t, b, newSpec(t, "memory=10", "signal=9")).wait(t); got.OOM || got.Signal != 9 {
		t.Errorf("%+v", got)
	}
}

func TestProcessLimit(t *testing.T) {
	b := newBackend(t)
	spec := newSpec(t, "fork=100", "echo=alive")
	spec.Limits.Processes = 40
	x := start(t, b, spec)
	var children int
	// A Go process has several threads, which count.
	if problem := x.next(t, &children); problem == "" || children < 3 || children >= 40 {
		t.Errorf("%d children, %q", children, problem)
	}
	x.next(t, nil)
}

func TestForkBombIsKilled(t *testing.T) {
	b := newBackend(t)
	x := start(t, b, newSpec(t, "forkbomb"))
	x.next(t, nil)
	for pids := 0; pids < x.spec.Limits.Processes/8; { // threads count, processes are listed
		list, err := x.Sandbox.(*Sandbox).group.Pids()
		if err != nil {
			t.Fatal(err)
		}
		pids = len(list)
		time.Sleep(time.Millisecond)
	}
	if err := x.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	x.wait(t)
	if err := x.Destroy(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, b); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestFileLimit(t *testing.T) {
	b := newBackend(t)
	var opened int
	problem := look(t, b, "files=1000", &opened)
	if !strings.Contains(problem, "too many open files") || opened < 100 || opened > 128 {
		t.Errorf("%d files, %q", opened, problem)
	}
}

func TestCPUQuota(t *testing.T) {
	b := newBackend(t)
	spec := newSpec(t, "spin=600ms")
	spec.Limits.CPUMillis = 100
	x := start(t, b, spec)
	var millis int
	x.next(t, &millis)
	// 60 ms are its share; without a quota it would have had several hundred
	// even beside others.
	if millis > 150 {
		t.Errorf("%d ms of CPU in 600 ms at a tenth of a core", millis)
	}
	usage, err := x.Usage()
	if err != nil || usage.CPU <= 0 || usage.CPU > 300*time.Millisecond {
		t.Errorf("%+v, %v", usage, err)
	}
}

// An idle slot must cost next to nothing beyond the function: the init is a few
// pages, and the kernel's own share is accounted to the group.
func TestIdleCost(t *testing.T) {
	b := newBackend(t)
	x := create(t, b, newSpec(t, "sleep=1h"))
	s := x.Sandbox.(*Sandbox)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	pss := 0
	for line := range strings.Lines(string(data)) {
		fmt.Sscanf(line, "Pss: %d kB", &pss)
	}
	usage, err := s.group.Usage()
	t.Logf("init %d KiB, group %d KiB, %v", pss, usage.MemoryBytes>>10, err)
	if pss == 0 || pss > 256 || usage.MemoryBytes > 3<<20 {
		t.Errorf("the init takes %d KiB, the whole sandbox %d KiB", pss, usage.MemoryBytes>>10)
	}
}

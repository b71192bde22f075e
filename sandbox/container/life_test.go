package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kiln/sandbox"
)

func TestExits(t *testing.T) {
	b := newBackend(t)
	for probe, want := range map[string]sandbox.Exit{
		"echo=a":   {},
		"exit=3":   {Code: 3},
		"exit=255": {Code: 255},
		// A first process of a pid namespace could not end itself like this.
		"signal=9":  {Code: 137, Signal: 9},
		"signal=15": {Code: 143, Signal: 15},
	} {
		x := start(t, b, newSpec(t, probe))
		if got := x.wait(t); got != want {
			t.Errorf("%s: %+v, want %+v; %s", probe, got, want, x.stderr())
		}
	}
}

func TestStartErrors(t *testing.T) {
	b := newBackend(t)
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		want    error
	}{
		"missing":             {want: syscall.ENOENT},
		"not executable":      {content: "#!/probe", mode: 0o644, want: syscall.EACCES},
		"not readable":        {content: "#!/probe", mode: 0o700, want: syscall.EACCES},
		"no format":           {content: "hello", mode: 0o755, want: syscall.ENOEXEC},
		"interpreter missing": {content: "#!/bin/sh\n", mode: 0o755, want: syscall.ENOENT},
		"wrong architecture":  {content: "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 57), mode: 0o755, want: syscall.ENOEXEC},
	} {
		t.Run(name, func(t *testing.T) {
			spec := newSpec(t)
			spec.Process.Args = []string{"/bootstrap"}
			if c.mode != 0 {
				if err := os.WriteFile(filepath.Join(spec.Root, "bootstrap"), []byte(c.content), c.mode); err != nil {
					t.Fatal(err)
				}
			}
			x := create(t, b, spec)
			err := x.Start(deadline(t))
			var start *sandbox.StartError
			if !errors.As(err, &start) || start.Path != "/bootstrap" || !errors.Is(err, c.want) {
				t.Errorf("Start gave %v, want a StartError with %v", err, c.want)
			}
			if got := x.wait(t); got.Code != 127 {
				t.Errorf("then %+v", got)
			}
		})
	}
}

func TestCreateErrorsLeaveNothing(t *testing.T) {
	b := newBackend(t)
	for name, c := range map[string]struct {
		change func(*sandbox.Spec)
		want   string
	}{
		"no root":         {func(s *sandbox.Spec) { s.Root = "/nowhere" }, "open /nowhere"},
		"no target":       {func(s *sandbox.Spec) { s.Mounts[0].Target = "/nowhere" }, "mount /nowhere: the root has no such directory"},
		"no source":       {func(s *sandbox.Spec) { s.Mounts[0].Source = "/nowhere" }, "open /nowhere"},
		"no /proc":        {func(s *sandbox.Spec) { os.Remove(filepath.Join(s.Root, "proc")) }, "mount /proc"},
		"no directory":    {func(s *sandbox.Spec) { s.Process.Dir = "/nowhere" }, "working directory /nowhere"},
		"no network":      {func(s *sandbox.Spec) { s.Network = "/nowhere" }, "network namespace"},
		"not a namespace": {func(s *sandbox.Spec) { s.Network = "/dev/null" }, "enter the network namespace"},
		"root user":       {func(s *sandbox.Spec) { s.Process.UID = 0 }, "must be above 0"},
		"bad ID":          {func(s *sandbox.Spec) { s.ID = "../x" }, "sandbox ID"},
		"no limits":       {func(s *sandbox.Spec) { s.Limits.MemoryBytes = 0 }, "must be above 0"},
		"relative entry":  {func(s *sandbox.Spec) { s.Process.Args = []string{"probe"} }, "absolute"},
		"too many files":  {func(s *sandbox.Spec) { s.Limits.Files = 1 << 30 }, "limit open files"},
	} {
		spec := newSpec(t)
		c.change(&spec)
		s, err := b.Create(deadline(t), spec)
		if err == nil {
			s.Destroy(deadline(t))
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want one about %q", name, err, c.want)
		}
	}
	if left := leftovers(t, b); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.Create(ctx, newSpec(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Create with an ended context: %v", err)
	}
	if left := leftovers(t, b); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestSameIDTwice(t *testing.T) {
	b := newBackend(t)
	spec := newSpec(t, "echo=a")
	x := create(t, b, spec)
	if _, err := b.Create(deadline(t), spec); err == nil {
		t.Fatal("two sandboxes with one ID")
	}
	if err := x.Start(deadline(t)); err != nil {
		t.Errorf("the first is broken: %v", err)
	}
}

func TestFreezeThawKill(t *testing.T) {
	b := newBackend(t)
	x := start(t, b, newSpec(t, "echo=up", "spin=20ms", "echo=done", "sleep=1h"))
	x.next(t, nil)
	if err := x.Freeze(deadline(t)); err != nil {
		t.Fatal(err)
	}
	before, err := x.Usage()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if after, _ := x.Usage(); after.CPU != before.CPU {
		t.Errorf("ran for %v while frozen", after.CPU-before.CPU)
	}
	for range 2 {
		if err := x.Thaw(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	x.next(t, nil)
	x.next(t, nil)
	// Frozen tasks die too.
	if err := x.Freeze(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := x.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if got, want := x.wait(t), (sandbox.Exit{Code: 137, Signal: 9}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := x.Usage(); err != nil {
		t.Errorf("usage after the end: %v", err)
	}
	for range 2 {
		if err := x.Destroy(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	if left := leftovers(t, b); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestWaitHonoursContext(t *testing.T) {
	b := newBackend(t)
	x := start(t, b, newSpec(t, "sleep=1h"))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := x.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: %v", err)
	}
}

// The end of the function's process ends what it left running.
func TestProcessEndEndsOrphans(t *testing.T) {
	b := newBackend(t)
	x := start(t, b, newSpec(t, "orphan", "processes", "exit=0"))
	x.next(t, nil)
	var processes map[string]string
	if problem := x.next(t, &processes); problem != "" || len(processes) != 3 {
		t.Errorf("the init, the probe and the orphan: %v, %s", processes, problem)
	}
	x.wait(t)
	if pids, err := x.Sandbox.(*Sandbox).group.Pids(); err != nil || len(pids) > 0 {
		t.Errorf("still running: %v, %v", pids, err)
	}
}

func TestInitReapsOrphans(t *testing.T) {
	b := newBackend(t)
	var zombies int
	if problem := look(t, b, "zombies=20", &zombies); problem != "" || zombies != 0 {
		t.Errorf("%d zombies, %s", zombies, problem)
	}
}

func TestDestroyInEveryState(t *testing.T) {
	b := newBackend(t)
	for name, prepare := range map[string]func(*box){
		"created": func(*box) {},
		"created and frozen": func(x *box) {
			if err := x.Freeze(deadline(t)); err != nil {
				t.Error(err)
			}
		},
		"running": func(x *box) {
			if err := x.Start(deadline(t)); err != nil {
				t.Error(err)
			}
		},
		"frozen": func(x *box) {
			if err := errors.Join(x.Start(deadline(t)), x.Freeze(deadline(t))); err != nil {
				t.Error(err)
			}
		},
		"killed": func(x *box) {
			if err := errors.Join(x.Start(deadline(t)), x.Kill(deadline(t))); err != nil {
				t.Error(err)
			}
		},
	} {
		x := create(t, b, newSpec(t, "sleep=1h"))
		prepare(x)
		if err := x.Destroy(deadline(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left := leftovers(t, b); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

func TestManyComeAndGo(t *testing.T) {
	b := newBackend(t)
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	run := func(i int) error {
		spec := newSpec(t, fmt.Sprintf("echo=%d", i))
		s, err := b.Create(deadline(t), spec)
		if err != nil {
			return err
		}
		if err := s.Start(deadline(t)); err != nil {
			return errors.Join(err, s.Destroy(deadline(t)))
		}
		if i%3 > 0 {
			if _, err := s.Wait(deadline(t)); err != nil {
				t.Error(err)
			}
		}
		return s.Destroy(deadline(t))
	}
	if err := run(0); err != nil {
		t.Fatal(err)
	}
	before := descriptors()
	const rounds, parallel = 10, 4
	for i := range rounds {
		errs := make(chan error)
		for j := range parallel {
			go func() { errs <- run(i*parallel + j) }()
		}
		for range parallel {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	if left := leftovers(t, b); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// orphanEnv makes the test binary a process that starts sandboxes and is killed.
const orphanEnv = "KILN_CONTAINER_TEST_ORPHAN"

// orphanMain starts a sandbox and waits to be killed; the parameter has the
// cgroup parent, the sandbox's ID, its root and the host's end of its output.
func orphanMain(param string) {
	p := strings.Split(param, "|")
	b, err := New(Config{CgroupParent: p[0]})
	if err == nil {
		spec := sandbox.Spec{ID: p[1], Root: p[2], Hostname: "x", Stdout: os.Stdout,
			Process: sandbox.Process{Args: []string{"/probe", "orphan", "echo=up", "sleep=1h"}, UID: testUID, GID: testGID},
			Limits:  sandbox.Limits{MemoryBytes: 64 << 20, CPUMillis: 1000, Processes: 64, Files: 128}}
		var s sandbox.Sandbox
		if s, err = b.Create(context.Background(), spec); err == nil {
			if err = s.Start(context.Background()); err == nil && p[3] == "frozen" {
				time.Sleep(100 * time.Millisecond)
				err = s.Freeze(context.Background())
				fmt.Println("frozen")
			}
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	select {}
}

func TestSweepAfterKill(t *testing.T) {
	for _, state := range []string{"running", "frozen"} {
		t.Run(state, func(t *testing.T) {
			b := newBackend(t)
			spec := newSpec(t)
			cmd := exec.Command("/proc/self/exe", "-test.run=^$")
			cmd.Env = append(os.Environ(), orphanEnv+"="+strings.Join([]string{b.config.CgroupParent, spec.ID, spec.Root, state}, "|"))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			want := `"up"`
			if state == "frozen" {
				want = "frozen"
			}
			seen, buf := "", make([]byte, 4096)
			for !strings.Contains(seen, want) {
				n, err := out.Read(buf)
				if seen += string(buf[:n]); err != nil {
					t.Fatalf("%v, %q", err, seen)
				}
			}
			if len(leftovers(t, b)) == 0 {
				t.Error("nothing to sweep")
			}
			cmd.Process.Kill()
			cmd.Wait()
			// Without anyone's help a sandbox dies with its parent. Its groups stay,
			// and a frozen one dies at the thaw.
			ctx := deadline(t)
			for state == "running" && slices.ContainsFunc(leftovers(t, b), func(s string) bool { return strings.HasPrefix(s, "/proc") }) {
				if ctx.Err() != nil {
					t.Fatal("it lives on")
				}
				time.Sleep(10 * time.Millisecond)
			}
			if err := b.Sweep(deadline(t)); err != nil {
				t.Fatal(err)
			}
			if left := leftovers(t, b); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

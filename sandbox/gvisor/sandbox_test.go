package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"kiln/sandbox"
)

func TestExit(t *testing.T) {
	b := newBackend(t)
	for name, test := range map[string]struct {
		args []string
		want sandbox.Exit
	}{
		"ok":     {[]string{"hello"}, sandbox.Exit{}},
		"code":   {[]string{"exit", "3"}, sandbox.Exit{Code: 3}},
		"137":    {[]string{"exit", "137"}, sandbox.Exit{Code: 137}},
		"signal": {[]string{"signal", "9"}, sandbox.Exit{Code: 137, Signal: 9}},
		"term":   {[]string{"signal", "15"}, sandbox.Exit{Code: 143, Signal: 15}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, b, testSpec("exit-"+name, test.args...))
			if exit := s.wait(t); exit != test.want {
				t.Errorf("exit %+v, want %+v; %s%s", exit, test.want, s.stderr, s.lastWords())
			}
		})
	}
}

func TestStartError(t *testing.T) {
	b := newBackend(t)
	for name, path := range map[string]string{
		"missing": "/nothing", "directory": "/tmp", "no-program": "/text", "no-interpreter": "/script", "no-execute": "/data",
	} {
		t.Run(name, func(t *testing.T) {
			spec := testSpec("start-" + name)
			spec.Process.Args = []string{path}
			s := create(t, b, spec)
			err := s.Start(t.Context())
			var start *sandbox.StartError
			if !errors.As(err, &start) {
				t.Fatalf("error %v is not a StartError", err)
			}
			if start.Path != path {
				t.Errorf("path %q, want %q", start.Path, path)
			}
			t.Log(err)
			if exit := s.wait(t); exit.Signal != 9 {
				t.Errorf("exit %+v", exit)
			}
		})
	}
}

func TestStartTwice(t *testing.T) {
	s := start(t, newBackend(t), testSpec("twice", "hello"))
	if err := s.Start(t.Context()); err == nil {
		t.Error("the second start was accepted")
	}
}

func TestWaitGivesUp(t *testing.T) {
	s := start(t, newBackend(t), testSpec("wait", "sleep"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// TestFreeze watches the output stand still and go on.
func TestFreeze(t *testing.T) {
	s := start(t, newBackend(t), testSpec("freeze", "tick"))
	<-s.stdout.first
	for range 3 {
		if err := s.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
		before, err := s.Usage()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		after, err := s.Usage()
		if err != nil {
			t.Fatal(err)
		}
		if before.CPU != after.CPU {
			t.Errorf("processor time went from %v to %v while frozen", before.CPU, after.CPU)
		}
		for range 2 { // the second does nothing
			if err := s.Thaw(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		waitUntil(t, "it goes on", func() bool {
			u, err := s.Usage()
			return err == nil && u.CPU > after.CPU
		})
	}
}

// TestFreezeAgainAndAgain freezes a process that changes its address space, as
// often as an environment is frozen in an hour: it must not notice.
func TestFreezeAgainAndAgain(t *testing.T) {
	s := start(t, newBackend(t), testSpec("freezes", "map"))
	<-s.stdout.first
	limited, stop := context.WithTimeout(t.Context(), 30*time.Second) // a guest that dies may never freeze
	defer stop()
	for range 100 {
		time.Sleep(3 * time.Millisecond)
		if err := s.Freeze(limited); err != nil {
			t.Fatal(err)
		}
		if err := s.Thaw(limited); err != nil {
			t.Fatal(err)
		}
	}
	before, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "it goes on", func() bool {
		u, err := s.Usage()
		return err == nil && u.CPU > before.CPU+10*time.Millisecond
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if exit, err := s.Wait(ctx); err == nil {
		t.Errorf("it ended with %+v", exit)
	}
}

func TestKill(t *testing.T) {
	b := newBackend(t)
	for _, frozen := range []bool{false, true} {
		t.Run(fmt.Sprint("frozen-", frozen), func(t *testing.T) {
			s := start(t, b, testSpec("kill-"+strconv.FormatBool(frozen), "sleep"))
			<-s.stdout.first
			if frozen {
				if err := s.Freeze(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			if want, exit := (sandbox.Exit{Code: 137, Signal: 9}), s.wait(t); exit != want {
				t.Errorf("exit %+v, want %+v", exit, want)
			}
			if pids, err := s.group.Pids(); err != nil || len(pids) > 0 {
				t.Errorf("left: %v, %v", pids, err)
			}
			if err := s.Kill(t.Context()); err != nil {
				t.Error("second kill:", err)
			}
		})
	}
}

// TestDestroyAnyState destroys what is created, running, frozen and ended.
func TestDestroyAnyState(t *testing.T) {
	b := newBackend(t)
	for name, prepare := range map[string]func(*session) error{
		"created": func(s *session) error { return nil },
		"running": func(s *session) error { return s.Start(t.Context()) },
		"frozen":  func(s *session) error { return errors.Join(s.Start(t.Context()), s.Freeze(t.Context())) },
		"killed":  func(s *session) error { return errors.Join(s.Start(t.Context()), s.Kill(t.Context())) },
	} {
		t.Run(name, func(t *testing.T) {
			s := create(t, b, testSpec("destroy-"+name, "sleep"))
			if err := prepare(s); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := s.Destroy(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if exit := s.wait(t); exit.Code != 137 {
				t.Errorf("exit %+v", exit)
			}
			if err := s.Freeze(t.Context()); err == nil {
				t.Error("a destroyed sandbox froze")
			}
		})
	}
}

// TestCreateErrors checks that a failed Create says why and leaves nothing.
func TestCreateErrors(t *testing.T) {
	b := newBackend(t)
	for name, change := range map[string]func(*sandbox.Spec){
		"id":      func(s *sandbox.Spec) { s.ID = "a/b" },
		"root":    func(s *sandbox.Spec) { s.Root = "/nothing/here" },
		"network": func(s *sandbox.Spec) { s.Network = "/run/netns/nothing" },
		"mount":   func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Source: "/nothing", Target: "/tmp"}} },
		"memory":  func(s *sandbox.Spec) { s.Limits.MemoryBytes = 0 },
		"args":    func(s *sandbox.Spec) { s.Process.Args = []string{"probe"} },
	} {
		t.Run(name, func(t *testing.T) {
			spec := testSpec("error-"+name, "hello")
			change(&spec)
			_, err := tryCreate(t, b, spec)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
		})
	}
	if left, err := os.ReadDir(b.dir.Name()); err != nil {
		t.Error(err)
	} else {
		for _, l := range left {
			t.Error("left:", l.Name())
		}
	}
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out waiting until", what)
		}
	}
}

// TestMany makes sandboxes at the same time.
func TestMany(t *testing.T) {
	b := newBackend(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			s, err := tryCreate(t, b, testSpec(fmt.Sprint("many-", i), "hello"))
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Start(t.Context()); err != nil {
				t.Error(err)
				return
			}
			if exit := s.wait(t); exit.Code != 0 || s.stdout.String() != "hello\n" {
				t.Errorf("exit %+v, output %q", exit, s.stdout)
			}
			if err := s.Destroy(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// TestTogether calls everything at once, as workers in trouble do.
func TestTogether(t *testing.T) {
	b := newBackend(t)
	for i := range 5 {
		s := start(t, b, testSpec(fmt.Sprint("together-", i), "tick"))
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() { s.Freeze(t.Context()) })
			group.Go(func() { s.Usage() })
			group.Go(func() { s.Thaw(t.Context()) })
		}
		group.Go(func() {
			if err := s.Kill(t.Context()); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		// A Freeze may have come last.
		if err := s.Thaw(t.Context()); err != nil {
			t.Error(err)
		}
		if exit := s.wait(t); exit.Signal != 9 {
			t.Errorf("exit %+v", exit)
		}
	}
}

// TestCancelledCreate gives up in the middle and leaves nothing.
func TestCancelledCreate(t *testing.T) {
	b := newBackend(t)
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	before := machine(t)
	for i := range 6 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Millisecond)
		spec := testSpec(fmt.Sprint("cancelled-", i), "hello")
		spec.Stdout, spec.Stderr = out, out
		s, err := b.Create(ctx, spec)
		cancel()
		if err == nil {
			err = s.Destroy(t.Context())
		} else if errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		if err != nil {
			t.Error(err)
		}
	}
	if after := machine(t); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

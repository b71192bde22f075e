package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kiln/sandbox"
)

// leakCases are about what is left on the machine.
var leakCases = []testCase{
	{"cycles", "makes and destroys 30 sandboxes in all states: nothing is left", leaksCycles},
	{"cycles with network", "does so with slots of a network: nothing is left, in the network's router neither", leaksNetworkCycles},
	{"in parallel", "does so from four goroutines: nothing is left", leaksParallel},
	{"failures", "fails in the middle of creating and starting, in every way: nothing is left", leaksFailures},
	{"given up", "gives up in the middle of creating and starting: nothing is left", leaksGivenUp},
	{"out of memory", "lets sandboxes end by running out of memory: nothing is left", leaksOutOfMemory},
	{"owner killed", "kills the owner of running, frozen and unstarted sandboxes by SIGKILL: what runs dies with it, a new owner's Sweep removes the rest", leaksOwnerKilled},
	{"owner killed, swept twice", "sweeps where there is nothing: no error", leaksSweepAgain},
}

// leavesNothing checks that after some work the machine is as before it. A
// first round warms up what is made once.
func (s *stage) leavesNothing(t *testing.T, work func(t *testing.T)) {
	t.Helper()
	round := func() {
		t.Helper()
		// A test of its own, so that what it set up for the sandboxes is gone too.
		if !t.Run("work", work) {
			t.FailNow()
		}
	}
	round()
	before := s.traces(t)
	round()
	var left []string
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		// The last of it, such as goroutines that have seen an end, may take a moment.
		if left = before.more(s.traces(t)); len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	for _, l := range left {
		t.Error("left:", l)
	}
}

// cycle makes a sandbox, takes it to the i-th state, and destroys it.
func (s *stage) cycle(t *testing.T, spec sandbox.Spec, i int) error {
	x, err := s.tryCreate(deadline(t), spec)
	if err != nil {
		return err
	}
	defer x.end(t)
	if i%5 == 0 {
		return nil // never started
	}
	if err := x.Start(deadline(t)); err != nil {
		return err
	}
	switch i % 5 {
	case 1:
		return nil // running
	case 2:
		return x.Freeze(deadline(t))
	case 3:
		return x.Kill(deadline(t))
	}
	_, err = x.Wait(deadline(t))
	return err
}

func leaksCycles(t *testing.T, s *stage) {
	s.leavesNothing(t, func(t *testing.T) {
		for i := range 15 {
			if err := s.cycle(t, s.spec(t, "orphan", "echo=a"), i); err != nil {
				t.Error(err)
			}
		}
	})
}

func leaksNetworkCycles(t *testing.T, s *stage) {
	c := s.onStage(t)
	router := filepath.Join(workDir, s.name+"-network", "closed", "netns", "router")
	interfaces := func() int { return strings.Count(interfacesOf(t, router), "\n") }
	before := interfaces()
	s.leavesNothing(t, func(t *testing.T) {
		for i := range 5 {
			slot := s.slot(t, c.closed)
			if err := s.cycle(t, s.inNetwork(t, slot, "ask="+slot.api.String()), i); err != nil {
				t.Error(err)
			}
		}
	})
	eventually(t, "the slots' links are gone", func() bool { return interfaces() <= before })
}

func leaksParallel(t *testing.T, s *stage) {
	s.leavesNothing(t, func(t *testing.T) {
		specs := make([]sandbox.Spec, 12)
		for i := range specs {
			specs[i] = s.spec(t, "echo=a")
		}
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for i := worker; i < len(specs); i += 4 {
					if err := s.cycle(t, specs[i], i); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	})
}

func leaksFailures(t *testing.T, s *stage) {
	changes := []func(*sandbox.Spec){
		func(s *sandbox.Spec) { s.Process.Args = []string{"/missing"} },
		func(s *sandbox.Spec) { s.Process.Args = []string{"/text"} },
	}
	for _, change := range badSpecs {
		changes = append(changes, change)
	}
	s.leavesNothing(t, func(t *testing.T) {
		for _, change := range changes {
			spec := s.spec(t, "echo=a")
			change(&spec)
			if x, err := s.tryCreate(deadline(t), spec); err == nil {
				x.Start(deadline(t))
				x.end(t)
			}
		}
	})
	if err := s.unchanged(); err != nil {
		t.Error(err)
	}
}

func leaksGivenUp(t *testing.T, s *stage) {
	s.leavesNothing(t, func(t *testing.T) {
		for i := range 10 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*4*time.Millisecond)
			x, err := s.tryCreate(ctx, s.spec(t, "sleep=1h"))
			if err == nil {
				x.Start(ctx)
				x.end(t)
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
		}
	})
}

func leaksOutOfMemory(t *testing.T, s *stage) {
	s.leavesNothing(t, func(t *testing.T) {
		for range 2 {
			spec := s.spec(t, "orphan", "memory=500")
			spec.Limits.MemoryBytes = 64 << 20
			x := s.start(t, spec)
			requireOOM(t, x.wait(t))
		}
	})
}

// ownerVariable tells an owner what to do: back end, state directory, cgroup
// parent, and the sandboxes' root.
const ownerVariable = "KILN_CONFORMANCE_OWNER"

// ownerStates are those in which the owner's sandboxes are when it is killed.
var ownerStates = []string{"created", "running", "frozen"}

// ownerMain makes sandboxes, says so and waits to be killed.
func ownerMain() int {
	parts := strings.Split(os.Getenv(ownerVariable), "|")
	i := slices.IndexFunc(backends, func(b backend) bool { return b.name == parts[0] })
	made, err := backends[i].open(parts[1], parts[2])
	for _, state := range ownerStates {
		var x sandbox.Sandbox
		if err == nil {
			x, err = made.Create(context.Background(), sandbox.Spec{
				ID: "owned-" + state, Root: parts[3], Hostname: "owned", Stdout: os.Stdout, Stderr: os.Stderr,
				Process: sandbox.Process{Args: []string{"/probe", "orphan", "spin=1h"}, Dir: "/", UID: testUID, GID: testGID},
				Limits:  sandbox.Limits{MemoryBytes: 64 << 20, CPUMillis: 100, Processes: 64, Files: 128},
			})
		}
		if err == nil && state != "created" {
			err = x.Start(context.Background())
		}
		if err == nil && state == "frozen" {
			err = x.Freeze(context.Background())
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
	return 0
}

func leaksOwnerKilled(t *testing.T, s *stage) {
	s.leavesNothing(t, func(t *testing.T) {
		own := *s
		own.stateDir, own.cgroupParent = t.TempDir(), s.cgroupParent+"-owned"
		owner, err := again(roleOwner)
		if err != nil {
			t.Fatal(err)
		}
		owner.Env = append(owner.Env, ownerVariable+"="+strings.Join([]string{own.name, own.stateDir, own.cgroupParent, own.root}, "|"))
		owner.Stdout = nil
		out, err := owner.StdoutPipe()
		if err == nil {
			err = owner.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		said := bufio.NewReader(out)
		for line := ""; line != "ready\n"; {
			if line, err = said.ReadString('\n'); err != nil {
				owner.Wait()
				t.Fatalf("the owner: %v, %q", err, line)
			}
		}
		for _, state := range ownerStates {
			if len(own.tasksOf("owned-"+state)) == 0 {
				t.Errorf("there is no sandbox %s", state)
			}
		}
		owner.Process.Signal(syscall.SIGKILL)
		owner.Wait()
		// Nobody helps: what is not frozen goes with its owner.
		eventually(t, "what ran has ended", func() bool {
			return len(own.tasksOf("owned-running"))+len(own.tasksOf("owned-created")) == 0
		})
		next, err := own.open(own.stateDir, own.cgroupParent)
		if err != nil {
			t.Fatal(err)
		}
		if err := next.Sweep(deadline(t)); err != nil {
			t.Error(err)
		}
		for _, state := range ownerStates {
			if left := own.groupsOf("owned-" + state); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		}
		// The new owner can use the same names.
		own.sandboxes = next
		spec := own.spec(t, "echo=a")
		spec.ID = "owned-running"
		if err := own.cycle(t, spec, 4); err != nil {
			t.Error(err)
		}
		if err := next.Close(); err != nil {
			t.Error(err)
		}
	})
}

func leaksSweepAgain(t *testing.T, s *stage) {
	for range 2 {
		if err := s.sandboxes.Sweep(deadline(t)); err != nil {
			t.Error(err)
		}
	}
	if err := s.cycle(t, s.spec(t, "echo=a"), 4); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

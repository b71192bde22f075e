package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unifiedMount is the v2 tree of this machine, with or without controllers.
func unifiedMount(t *testing.T) string {
	t.Helper()
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(info)) {
		if strings.Contains(line, " - cgroup2 ") {
			return strings.Fields(line)[4]
		}
	}
	t.Skip("no cgroup v2 tree")
	return ""
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
}

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// hierarchies are the real trees to test on: what Open finds, and on a hybrid
// machine the unified tree without controllers.
func hierarchies(t *testing.T) map[string]*Hierarchy {
	needRoot(t)
	parent := fmt.Sprintf("kiln-test-%d", os.Getpid())
	h, err := Open(parent)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*Hierarchy{fmt.Sprintf("v%d", h.Version()): h}
	if h.Version() == V1 {
		d := newV2(unifiedMount(t), parent, nil)
		if err := d.prepareParent(); err != nil {
			t.Fatal(err)
		}
		all["unified"] = &Hierarchy{driver: d}
	}
	t.Cleanup(func() {
		for name, h := range all {
			if err := errors.Join(h.Sweep(context.Background()), h.Remove()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	return all
}

// spawn starts a shell script inside a group.
func spawn(t *testing.T, g *Group, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if err := g.Start(cmd.SysProcAttr, cmd.Start); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		g.Destroy(context.Background())
		<-done
	})
	return cmd
}

func create(t *testing.T, h *Hierarchy, name string, limits Limits) *Group {
	t.Helper()
	g, err := h.Create(name, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return g
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("still not: %s", what)
}

func TestStartKillDestroy(t *testing.T) {
	for version, h := range hierarchies(t) {
		t.Run(version, func(t *testing.T) {
			ctx := timeout(t)
			g := create(t, h, "life", Limits{})
			cmd := spawn(t, g, "sleep 1000 & sleep 1000 & wait")
			waitFor(t, "three processes inside", func() bool {
				pids, err := g.Pids()
				return err == nil && len(pids) == 3
			})
			if err := g.Freeze(ctx); err != nil { // SIGKILL must reach frozen tasks too
				t.Fatal(err)
			}
			if err := g.Kill(ctx); err != nil {
				t.Fatal(err)
			}
			if pids, err := g.Pids(); err != nil || len(pids) > 0 {
				t.Fatalf("left after Kill: %v, %v", pids, err)
			}
			waitFor(t, "the shell is gone", func() bool { return syscall.Kill(cmd.Process.Pid, 0) != nil })
			for range 2 {
				if err := g.Destroy(ctx); err != nil {
					t.Fatal(err)
				}
			}
			for _, dir := range h.driver.dirs("life") {
				if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is still there: %v", dir, err)
				}
			}
		})
	}
}

func TestStartLeavesThisProcessOutside(t *testing.T) {
	for version, h := range hierarchies(t) {
		t.Run(version, func(t *testing.T) {
			g := create(t, h, "outside", Limits{})
			spawn(t, g, "exec sleep 1000")
			for _, dir := range h.driver.dirs("outside") {
				data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
				if err != nil {
					t.Fatal(err)
				}
				fields := strings.Fields(string(data))
				if len(fields) != 1 || fields[0] == strconv.Itoa(os.Getpid()) {
					t.Errorf("%s has %v, want the child alone", dir, fields)
				}
			}
			// A start that fails must leave no thread behind either.
			want := errors.New("no")
			if err := g.Start(&syscall.SysProcAttr{}, func() error { return want }); !errors.Is(err, want) {
				t.Errorf("Start gave %v", err)
			}
			for _, dir := range h.driver.dirs("outside") {
				if data, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")); len(strings.Fields(string(data))) != 1 {
					t.Errorf("%s has %q", dir, data)
				}
			}
		})
	}
}

func TestFreezeStopsProgress(t *testing.T) {
	for version, h := range hierarchies(t) {
		t.Run(version, func(t *testing.T) {
			ctx := timeout(t)
			g := create(t, h, "frost", Limits{})
			file := filepath.Join(t.TempDir(), "ticks")
			spawn(t, g, "while :; do echo >> "+file+"; done")
			size := func() int64 {
				st, err := os.Stat(file)
				if err != nil {
					return 0
				}
				return st.Size()
			}
			waitFor(t, "it ticks", func() bool { return size() > 0 })
			if err := g.Freeze(ctx); err != nil {
				t.Fatal(err)
			}
			before := size()
			time.Sleep(30 * time.Millisecond)
			if after := size(); after != before {
				t.Errorf("%d ticks while frozen", after-before)
			}
			for range 2 {
				if err := g.Thaw(); err != nil {
					t.Fatal(err)
				}
			}
			waitFor(t, "it ticks again", func() bool { return size() > before })
		})
	}
}

func TestKillEndsForkBomb(t *testing.T) {
	for version, h := range hierarchies(t) {
		t.Run(version, func(t *testing.T) {
			limits := Limits{Pids: 64}
			if version == "unified" {
				limits = Limits{}
			}
			g := create(t, h, "bomb", limits)
			// Without the pids controller a bounded storm stands in for a bomb.
			spawn(t, g, "storm() { while :; do /bin/true & wait; done; }; for i in 1 2 3 4 5 6 7 8; do storm & done; wait")
			waitFor(t, "the storm blows", func() bool { pids, _ := g.Pids(); return len(pids) > 8 })
			if err := g.Kill(timeout(t)); err != nil {
				t.Fatal(err)
			}
			if pids, err := g.Pids(); err != nil || len(pids) > 0 {
				t.Fatalf("left after Kill: %v, %v", pids, err)
			}
		})
	}
}

func TestJoin(t *testing.T) {
	for version, h := range hierarchies(t) {
		t.Run(version, func(t *testing.T) {
			from, to := create(t, h, "from", Limits{}), create(t, h, "to", Limits{})
			cmd := spawn(t, from, "exec sleep 1000")
			if err := to.Join(cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
			if pids, err := to.Pids(); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
				t.Errorf("the new group has %v, %v", pids, err)
			}
			if pids, err := from.Pids(); err != nil || len(pids) != 0 {
				t.Errorf("the old group has %v, %v", pids, err)
			}
			to.Destroy(timeout(t))
		})
	}
}

func TestSweepRemovesNestedLeftovers(t *testing.T) {
	for version, h := range hierarchies(t) {
		t.Run(version, func(t *testing.T) {
			g := create(t, h, "left", Limits{})
			cmd := spawn(t, g, "sleep 1000 & wait")
			for _, dir := range h.driver.dirs("left/below") {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.Sweep(timeout(t)); err != nil {
				t.Fatal(err)
			}
			for _, dir := range h.driver.dirs("left") {
				if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is still there", dir)
				}
			}
			waitFor(t, "the shell is gone", func() bool { return syscall.Kill(cmd.Process.Pid, 0) != nil })
		})
	}
}

func TestCreateTwice(t *testing.T) {
	for version, h := range hierarchies(t) {
		t.Run(version, func(t *testing.T) {
			g := create(t, h, "twice", Limits{})
			if _, err := h.Create("twice", Limits{}); !errors.Is(err, os.ErrExist) {
				t.Errorf("second Create gave %v", err)
			}
			if _, err := g.Pids(); err != nil {
				t.Errorf("the first group is broken: %v", err)
			}
			if _, err := h.Create("../up", Limits{}); err == nil {
				t.Error("a path was taken for a name")
			}
		})
	}
}

func TestOpenRefusesBadParents(t *testing.T) {
	for _, parent := range []string{"", "/abs", "../up", "a/../../b", "a//b"} {
		if _, err := Open(parent); err == nil {
			t.Errorf("Open(%q) succeeded", parent)
		}
	}
}

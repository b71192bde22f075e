package gvisor

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ownerVariable makes the test binary an owner of sandboxes that a test kills;
// its value is state directory, cgroup parent, root and executable.
const ownerVariable = "KILN_TEST_GVISOR_OWNER"

// ownerMain makes three sandboxes: one frozen, one running, one only created.
func ownerMain() {
	value := os.Getenv(ownerVariable)
	if value == "" {
		return
	}
	parts := strings.Split(value, "|")
	rootDir = parts[2]
	fail := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	b, err := New(Config{StateDir: parts[0], CgroupParent: parts[1], Exe: parts[3]})
	fail(err)
	ctx := context.Background()
	for _, id := range []string{"frozen", "running", "created"} {
		spec := testSpec(id, "sleep")
		r, w, err := os.Pipe()
		fail(err)
		spec.Stdout, spec.Stderr = w, w
		s, err := b.Create(ctx, spec)
		fail(err)
		if id == "created" {
			continue
		}
		fail(s.Start(ctx))
		_, err = r.Read(make([]byte, 10)) // until it runs
		fail(err)
		if id == "frozen" {
			fail(s.Freeze(ctx))
		}
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
}

// TestOwnerKilled kills the owner of sandboxes with SIGKILL, as a power cut
// would, and sweeps up after it.
func TestOwnerKilled(t *testing.T) {
	state, parent := t.TempDir(), fmt.Sprintf("kiln-test/gvisor-owner-%d", os.Getpid())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.Command(self)
	owner.Env = append(os.Environ(), ownerVariable+"="+strings.Join([]string{state, parent, rootDir, exe}, "|"))
	owner.Stderr = os.Stderr
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	defer owner.Wait()
	defer owner.Process.Kill()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the owner says %q", line)
	}
	pids := groupPids(parent, "*")
	if len(pids) < 6 {
		t.Fatalf("three sandboxes of %d processes", len(pids))
	}
	owner.Process.Signal(syscall.SIGKILL)
	owner.Wait()
	// Those that are not frozen go with their owner at once.
	waitUntil(t, "the kernel has killed what runs", func() bool {
		return len(groupPids(parent, "running")) == 0
	})
	b, err := New(Config{StateDir: state, CgroupParent: parent, Exe: exe})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := groupPids(parent, "*"); len(left) > 0 {
		t.Errorf("left: processes %v", left)
	}
	waitUntil(t, "the processes are gone", func() bool {
		return !slices.ContainsFunc(pids, func(pid int) bool { return syscall.Kill(pid, 0) == nil })
	})
	for _, dir := range groupDirs(parent) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.IsDir() {
				t.Errorf("left: cgroup %s in %s", e.Name(), dir)
			}
		}
	}
	if entries, err := os.ReadDir(b.dir.Name()); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

package gvisor

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"kiln/sandbox"
)

// TestMemory lets the function take memory until it is stopped.
func TestMemory(t *testing.T) {
	b := newBackend(t)
	for _, megabytes := range []int64{128, 512} {
		t.Run(fmt.Sprint(megabytes), func(t *testing.T) {
			spec := testSpec(fmt.Sprint("memory-", megabytes), "memory", "2000")
			spec.Limits.MemoryBytes = megabytes << 20
			s := start(t, b, spec)
			if want, exit := (sandbox.Exit{Code: 137, Signal: 9, OOM: true}), s.wait(t); exit != want {
				t.Errorf("exit %+v, want %+v", exit, want)
			}
			got := int64(strings.Count(s.stdout.String(), "\n"))
			if got < megabytes*9/10 || got > megabytes*21/20+24 {
				t.Errorf("it was stopped at %d MB, the limit is %d MB", got, megabytes)
			}
			t.Logf("stopped at %d MB of %d", got, megabytes)
		})
	}
}

// TestMemoryPeak checks the figure against what the function took.
func TestMemoryPeak(t *testing.T) {
	b := newBackend(t)
	for _, megabytes := range []int64{0, 50, 100} {
		spec := testSpec(fmt.Sprint("peak-", megabytes), "memory", fmt.Sprint(megabytes), "hold")
		spec.Limits.MemoryBytes = 256 << 20
		s := start(t, b, spec)
		waitUntil(t, "the memory is taken", func() bool {
			u, err := s.Usage()
			return err == nil && u.MemoryPeakBytes >= megabytes<<20
		})
		time.Sleep(50 * time.Millisecond)
		if err := s.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
		u, err := s.Usage()
		if err != nil {
			t.Fatal(err)
		}
		group, _ := s.group.Usage()
		now, _ := blocks(s.memory)
		t.Logf("took %d MB: peak %.1f, now %.1f, all %.1f, of that cached files %.1f, all's peak %.1f", megabytes,
			mb(u.MemoryPeakBytes), mb(now), mb(u.MemoryBytes), mb(group.FileBytes), mb(group.MemoryPeakBytes))
		if peak := u.MemoryPeakBytes >> 20; peak < megabytes || peak > megabytes+25 {
			t.Errorf("peak %d MB for a function that took %d MB", peak, megabytes)
		}
	}
}

func mb(n int64) float64 { return float64(n) / (1 << 20) }

func TestForkBomb(t *testing.T) {
	spec := testSpec("forks", "forks")
	spec.Limits.MemoryBytes = 512 << 20
	spec.Limits.Processes = 100
	s := start(t, newBackend(t), spec)
	exit := s.wait(t)
	pids, _ := s.group.Pids()
	text := s.stdout.String()
	t.Logf("%+v %s %d host processes", exit, text, len(pids))
	var made int
	fmt.Sscan(text, &made)
	if made < 10 || made > 100 || !strings.Contains(text, "resource temporarily unavailable") {
		t.Errorf("output %q, want a stop below 100 processes", text)
	}
}

func TestFiles(t *testing.T) {
	spec := testSpec("files", "files")
	spec.Limits.Files = 200
	s := start(t, newBackend(t), spec)
	s.wait(t)
	var opened int
	text := s.stdout.String()
	fmt.Sscan(text, &opened)
	if opened < 180 || opened > 200 || !strings.Contains(text, "too many open files") {
		t.Errorf("output %q, want a stop below 200 files", text)
	}
}

// TestCPUQuota lets the function print as fast as it can and compares.
func TestCPUQuota(t *testing.T) {
	spec := testSpec("quota", "spin")
	spec.Limits.CPUMillis = 200
	s := start(t, newBackend(t), spec)
	<-s.stdout.first
	before, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	time.Sleep(time.Second)
	after, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	share := float64(after.CPU-before.CPU) / float64(time.Since(begin))
	t.Logf("used %.3f of a core", share)
	if share > 0.5 {
		t.Errorf("used %.3f of a core, the quota is 0.2 and %.2f for the guest kernel", share, guestMillis/1000.)
	}
}

// TestNothingLeft makes and destroys 20 sandboxes and looks around.
func TestNothingLeft(t *testing.T) {
	b := newBackend(t)
	before := machine(t)
	for i := range 20 {
		s := create(t, b, testSpec(fmt.Sprint("left-", i), "sleep"))
		if i%4 != 0 {
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := machine(t); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
	for _, dir := range groupDirs(b.cfg.CgroupParent) {
		if left, err := os.ReadDir(dir); err == nil {
			for _, l := range left {
				if l.IsDir() {
					t.Errorf("left in %s: %s", dir, l.Name())
				}
			}
		}
	}
	if left, err := os.ReadDir(b.dir.Name()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

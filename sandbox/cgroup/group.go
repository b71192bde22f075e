package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Group is one control group, on v1 the groups of the same name in every
// controller's tree. Methods are safe for concurrent use; Destroy comes last.
type Group struct {
	d    driver
	name string
	// mu keeps a Thaw from undoing the Freeze inside Kill.
	mu   sync.Mutex
	peak peak
}

// peak is what PeakMoved remembers.
type peak struct {
	mu   sync.Mutex
	file *os.File // kept open: it is read after every invocation
	last [24]byte
	n    int
}

// Name is the name given to Create.
func (g *Group) Name() string { return g.name }

// Start runs start, which must begin a child process on the calling goroutine
// with attr (os/exec and os.StartProcess do), so that the child is in the group
// from its first instruction. attr is changed for the call. It costs no grace
// period of the kernel, unlike Join.
func (g *Group) Start(attr *syscall.SysProcAttr, start func() error) error {
	return g.d.start(g.name, attr, start)
}

// Join moves a process with all its threads into the group. The kernel may take
// 5–7 ms for the first such move after a while of idleness; Start avoids that.
func (g *Group) Join(pid int) error {
	for _, dir := range g.d.dirs(g.name) {
		if err := writeFile(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("join cgroup %s: %w", g.name, err)
		}
	}
	return nil
}

// SelfJoinFiles opens, on v1, the files to which a single-threaded child writes
// "0" to put itself into the group, which needs no grace period either. On v2
// it returns none: there attr.UseCgroupFD does it, see Start. The caller closes them.
func (g *Group) SelfJoinFiles() ([]*os.File, error) {
	if g.d.version() == V2 {
		return nil, nil
	}
	var files []*os.File
	for _, dir := range g.d.dirs(g.name) {
		f, err := os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// SetLimits changes the limits; zero fields stay as they are.
func (g *Group) SetLimits(limits Limits) error { return g.d.setLimits(g.name, limits) }

// Freeze stops every task and returns when all are stopped. If ctx ends before,
// the group is thawed again.
func (g *Group) Freeze(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.freeze(ctx)
}

// freezeRound is how long a freeze may take before it is begun again.
const freezeRound = 50 * time.Millisecond

// freeze tries again and again: on v1 a task that waits for the child of its
// vfork cannot be frozen while the child is, and only a thaw lets the two part.
func (g *Group) freeze(ctx context.Context) error {
	for {
		if err := g.d.freeze(g.name, true); err != nil {
			return fmt.Errorf("freeze cgroup %s: %w", g.name, err)
		}
		round, done := context.WithTimeout(ctx, freezeRound)
		err := poll(round, func() (bool, error) { return g.d.frozen(g.name) })
		done()
		if err == nil {
			return nil
		}
		g.d.freeze(g.name, false)
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("freeze cgroup %s: %w", g.name, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// Thaw lets the tasks go on. It does nothing if the group is not frozen.
func (g *Group) Thaw() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.d.freeze(g.name, false); err != nil {
		return fmt.Errorf("thaw cgroup %s: %w", g.name, err)
	}
	return nil
}

// Pids lists the processes in the group and in groups below it, as seen from
// this process's pid namespace.
func (g *Group) Pids() ([]int, error) { return pidsBelow(g.d.procsFile(g.name)) }

// Kill sends SIGKILL to every task, frozen or not, and returns when none is
// left. New tasks forked meanwhile are killed too.
func (g *Group) Kill(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := poll(ctx, func() (bool, error) {
		pids, err := g.Pids()
		if err != nil || len(pids) == 0 {
			return err == nil, err
		}
		return false, g.d.kill(g.name)
	})
	if err != nil {
		return fmt.Errorf("kill cgroup %s: %w", g.name, err)
	}
	return nil
}

// Usage reads the counters.
func (g *Group) Usage() (Usage, error) { return g.d.usage(g.name) }

// PeakMoved reports whether the memory's peak has changed since the last call, for
// one system call, against a dozen of Usage's. It says true where the kernel does
// not tell.
func (g *Group) PeakMoved() bool {
	p := &g.peak
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil {
		f, err := os.Open(g.d.peakFile(g.name))
		if err != nil {
			return true
		}
		p.file = f
	}
	var now [24]byte
	n, _ := p.file.ReadAt(now[:], 0)
	moved := n == 0 || n != p.n || now != p.last
	p.n, p.last = n, now
	return moved
}

// OOMKills counts the tasks that the kernel killed because the group was at its
// memory limit.
func (g *Group) OOMKills() (int, error) { return g.d.oomKills(g.name) }

// Destroy kills every task and removes the group with those below it. It is
// idempotent.
func (g *Group) Destroy(ctx context.Context) error {
	g.peak.mu.Lock()
	if g.peak.file != nil {
		g.peak.file.Close()
		g.peak.file = nil
	}
	g.peak.mu.Unlock()
	for _, dir := range g.d.dirs(g.name) {
		var groups []string
		_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		// Deepest first. The kernel answers EBUSY while tasks are still on their way out.
		for i := len(groups) - 1; i >= 0; i-- {
			err := poll(ctx, func() (bool, error) {
				err := os.Remove(groups[i])
				if err == nil || errors.Is(err, os.ErrNotExist) {
					return true, nil
				}
				if !errors.Is(err, syscall.EBUSY) {
					return false, err
				}
				if err := g.Kill(ctx); err != nil && !errors.Is(err, os.ErrNotExist) {
					return false, err
				}
				return false, nil
			})
			if err != nil {
				return fmt.Errorf("destroy cgroup %s: %w", g.name, err)
			}
		}
	}
	return nil
}

// poll calls done until it says so, with growing pauses: what is waited for
// takes some 100 µs as a rule.
func poll(ctx context.Context, done func() (bool, error)) error {
	pause := 20 * time.Microsecond
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(pause*3/2, 10*time.Millisecond)
	}
}

// writeFile writes in one call, as cgroup files want it, and creates nothing.
func writeFile(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func readInt(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}

// readKeyed reads a file of "key value" lines.
func readKeyed(path string) (map[string]int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	values := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				values[key] = n
			}
		}
	}
	return values, nil
}

// pidsBelow reads the cgroup.procs file at path and those in the directories below.
func pidsBelow(path string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(filepath.Dir(path), func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		if !e.IsDir() {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(p, "cgroup.procs"))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, field := range strings.Fields(string(data)) {
			// 0 is a process that this pid namespace cannot see; our own is
			// there for the moment in which Start forks.
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 && pid != os.Getpid() {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

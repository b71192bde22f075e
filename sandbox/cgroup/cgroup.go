// Package cgroup puts sandboxes into control groups, with one type for cgroup
// v1 (a tree per controller) and v2 (the unified tree).
//
// Life cycle: Open once per process and instance, Hierarchy.Sweep before the
// first group is made, then for every sandbox Create, one of the ways to put
// processes in (Group.Start, Group.Join, Group.SelfJoinFiles), Freeze, Thaw,
// Kill and Usage as needed, and Destroy.
//
// A machine with v1 controllers and a unified tree beside them (a hybrid one)
// is served as v1.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Version is the generation of the kernel's interface.
type Version int

// The versions of the kernel's interface.
const (
	V1 Version = 1
	V2 Version = 2
)

// Limits are what a group may use. A zero field is no limit.
type Limits struct {
	// MemoryBytes bounds memory and page cache; swap is never used beyond it.
	MemoryBytes int64
	// CPUMillis is a hard quota in thousandths of a core.
	CPUMillis int
	// Pids bounds processes and threads.
	Pids int
	// DenyDevices leaves only the harmless character devices: null, zero,
	// full, random, urandom, tty and pseudo terminals.
	DenyDevices bool
}

// Usage is what a group has consumed.
type Usage struct {
	// MemoryBytes is what is charged now, page cache included.
	MemoryBytes int64
	// MemoryPeakBytes is the most that was ever charged, page cache included;
	// 0 where the kernel does not say (v2 before 5.19).
	MemoryPeakBytes int64
	// FileBytes is the part of MemoryBytes that is cached files, which the
	// kernel gives back when it needs memory. Shared memory and tmpfs are not in it.
	FileBytes int64
	// CPU is processor time, user and system.
	CPU time.Duration
}

// cpuPeriod is short so that a small quota makes many short pauses instead of
// few long ones: with 72 thousandths (128 MB of memory) a request waits at most
// 18.5 ms for its next slice.
const cpuPeriod = 20 * time.Millisecond

// minCPUQuota is the least quota the kernel takes.
const minCPUQuota = time.Millisecond

// driver is one version's half: paths and file formats. A group is named by
// its path below the hierarchy's parent.
type driver interface {
	version() Version
	// dirs are the group's directories, one per tree.
	dirs(name string) []string
	create(name string, limits Limits) error
	setLimits(name string, limits Limits) error
	freeze(name string, frozen bool) error
	// frozen reports whether every task is stopped.
	frozen(name string) (bool, error)
	// kill sends SIGKILL to every task once.
	kill(name string) error
	procsFile(name string) string
	usage(name string) (Usage, error)
	// peakFile is the file with the memory's peak.
	peakFile(name string) string
	oomKills(name string) (int, error)
	start(name string, attr *syscall.SysProcAttr, start func() error) error
	// prepareParent makes the parent group.
	prepareParent() error
}

// Hierarchy is a parent group that all groups of one Kiln instance live in. It
// is safe for concurrent use.
type Hierarchy struct {
	driver driver
	parent string
}

// Open finds out which version the machine has and makes the parent group, a
// relative path such as "kiln/default". The error says which controller is
// missing if the machine cannot serve.
func Open(parent string) (*Hierarchy, error) {
	if parent == "" || filepath.IsAbs(parent) || filepath.Clean(parent) != parent || strings.HasPrefix(parent, "..") {
		return nil, fmt.Errorf("cgroup parent %q is not a clean relative path", parent)
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	d, err := detect(string(info), parent)
	if err != nil {
		return nil, err
	}
	err = d.prepareParent()
	for range 3 { // another Hierarchy's Remove may have taken an empty element away
		if !errors.Is(err, os.ErrNotExist) {
			break
		}
		err = d.prepareParent()
	}
	if err != nil {
		return nil, fmt.Errorf("prepare cgroup %s: %w", parent, err)
	}
	return &Hierarchy{driver: d, parent: parent}, nil
}

// Version tells which interface is in use.
func (h *Hierarchy) Version() Version { return h.driver.version() }

// Create makes a group. The name is a single path element, unique in the
// hierarchy. On error nothing is left behind.
func (h *Hierarchy) Create(name string, limits Limits) (*Group, error) {
	if name == "" || strings.ContainsAny(name, "/\x00\n") || name == "." || name == ".." {
		return nil, fmt.Errorf("cgroup name %q is not a path element", name)
	}
	g := &Group{d: h.driver, name: name}
	if err := h.driver.create(name, limits); err != nil {
		if !errors.Is(err, os.ErrExist) {
			for _, dir := range h.driver.dirs(name) {
				os.Remove(dir)
			}
		}
		return nil, fmt.Errorf("create cgroup %s: %w", name, err)
	}
	return g, nil
}

// Sweep kills and removes every group below the parent, nested ones too. It is
// for groups that an earlier process left behind; no group of this process may exist.
func (h *Hierarchy) Sweep(ctx context.Context) error {
	names := map[string]bool{}
	for _, root := range h.driver.dirs("") {
		entries, err := os.ReadDir(root)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() {
				names[e.Name()] = true
			}
		}
	}
	var errs []error
	for name := range names {
		g := &Group{d: h.driver, name: name}
		errs = append(errs, g.Destroy(ctx))
	}
	return errors.Join(errs...)
}

// Remove deletes the parent group itself, which must be empty, and the elements
// above it as far as nothing else lives in them.
func (h *Hierarchy) Remove() error {
	var errs []error
	for _, dir := range h.driver.dirs("") {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		for range strings.Count(h.parent, "/") {
			if dir = filepath.Dir(dir); os.Remove(dir) != nil {
				break
			}
		}
	}
	return errors.Join(errs...)
}

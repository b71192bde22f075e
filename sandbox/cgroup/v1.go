package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// v1 drives one tree per controller.
type v1 struct {
	trees  map[string]string // controller → mount point
	parent string
}

func (v *v1) version() Version { return V1 }

func (v *v1) dir(controller, name string) string {
	return filepath.Join(v.trees[controller], v.parent, name)
}

func (v *v1) dirs(name string) []string {
	var dirs []string
	for _, controller := range v1Controllers {
		if dir := v.dir(controller, name); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func (v *v1) procsFile(name string) string {
	return filepath.Join(v.dir("freezer", name), "cgroup.procs")
}

func (v *v1) prepareParent() error {
	for _, dir := range v.dirs("") {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// Without it the limits of a nested group would not add up (old kernels only).
	err := writeFile(filepath.Join(v.dir("memory", ""), "memory.use_hierarchy"), "1")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

func (v *v1) create(name string, limits Limits) error {
	for _, dir := range v.dirs(name) {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := v.setLimits(name, limits); err != nil {
		return err
	}
	if limits.DenyDevices {
		dir := v.dir("devices", name)
		if err := writeFile(filepath.Join(dir, "devices.deny"), "a"); err != nil {
			return err
		}
		for _, d := range basicDevices {
			if err := writeFile(filepath.Join(dir, "devices.allow"), d.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *v1) setLimits(name string, limits Limits) error {
	if limits.MemoryBytes > 0 {
		if err := v.setMemory(v.dir("memory", name), limits.MemoryBytes); err != nil {
			return err
		}
	}
	if limits.CPUMillis > 0 {
		dir := v.dir("cpu", name)
		quota, period := cpuQuota(limits.CPUMillis)
		if err := writeFile(filepath.Join(dir, "cpu.cfs_period_us"), period); err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, "cpu.cfs_quota_us"), quota); err != nil {
			return err
		}
	}
	if limits.Pids > 0 {
		return writeFile(filepath.Join(v.dir("pids", name), "pids.max"), strconv.Itoa(limits.Pids))
	}
	return nil
}

func (v *v1) setMemory(dir string, bytes int64) error {
	value := strconv.FormatInt(bytes, 10)
	limit, both := filepath.Join(dir, "memory.limit_in_bytes"), filepath.Join(dir, "memory.memsw.limit_in_bytes")
	// memsw must never be below the limit, so a growing limit sets memsw first.
	if err := writeFile(both, value); err == nil {
		return writeFile(limit, value)
	}
	if err := writeFile(limit, value); err != nil {
		return err
	}
	// The file is absent where the kernel does not account swap.
	if err := writeFile(both, value); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (v *v1) freeze(name string, frozen bool) error {
	state := "THAWED"
	if frozen {
		state = "FROZEN"
	}
	return writeFile(filepath.Join(v.dir("freezer", name), "freezer.state"), state)
}

func (v *v1) frozen(name string) (bool, error) {
	data, err := os.ReadFile(filepath.Join(v.dir("freezer", name), "freezer.state"))
	return strings.TrimSpace(string(data)) == "FROZEN", err
}

// kill stops the tasks while it signals them, so that a fork bomb cannot outrun
// it; the signals act at the thaw.
func (v *v1) kill(name string) error {
	if err := v.freeze(name, true); err != nil {
		return err
	}
	// A task that is not stopped within this time is killed all the same.
	for range 100 {
		if ok, err := v.frozen(name); ok || err != nil {
			break
		}
		time.Sleep(50 * time.Microsecond)
	}
	pids, err := pidsBelow(v.procsFile(name))
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
	}
	return errors.Join(err, v.freeze(name, false))
}

func (v *v1) peakFile(name string) string {
	return filepath.Join(v.dir("memory", name), "memory.max_usage_in_bytes")
}

func (v *v1) usage(name string) (Usage, error) {
	memory := v.dir("memory", name)
	var u Usage
	var err error
	if u.MemoryBytes, err = readInt(filepath.Join(memory, "memory.usage_in_bytes")); err != nil {
		return u, err
	}
	if u.MemoryPeakBytes, err = readInt(v.peakFile(name)); err != nil {
		return u, err
	}
	stat, err := readKeyed(filepath.Join(memory, "memory.stat"))
	if err != nil {
		return u, err
	}
	u.FileBytes = max(stat["total_cache"]-stat["total_shmem"], 0)
	cpu, err := readInt(filepath.Join(v.dir("cpuacct", name), "cpuacct.usage"))
	u.CPU = time.Duration(cpu)
	return u, err
}

func (v *v1) oomKills(name string) (int, error) {
	values, err := readKeyed(filepath.Join(v.dir("memory", name), "memory.oom_control"))
	return int(values["oom_kill"]), err
}

// start moves only one thread of this process: a child belongs to the groups of
// the thread that forks it, and a thread that moves itself needs no grace period.
func (v *v1) start(name string, _ *syscall.SysProcAttr, start func() error) error {
	home, err := ownGroups()
	if err != nil {
		return err
	}
	done := make(chan error)
	go func() { done <- v.startInside(name, home, start) }()
	return <-done
}

// startInside needs a goroutine of its own: a thread that cannot go home ends with it.
func (v *v1) startInside(name string, home map[string]string, start func() error) error {
	runtime.LockOSThread()
	if syscall.Gettid() == syscall.Getpid() {
		// Not the main thread: it stands for the whole process's memory. While it
		// is locked here, another goroutine gets another thread.
		defer runtime.UnlockOSThread()
		done := make(chan error)
		go func() { done <- v.startInside(name, home, start) }()
		return <-done
	}
	err := v.enter(name)
	if err == nil {
		err = start()
	}
	if back := v.leave(home); back != nil {
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}

// enter moves the calling thread into a group.
func (v *v1) enter(name string) error {
	for _, dir := range v.dirs(name) {
		if err := writeFile(filepath.Join(dir, "tasks"), "0"); err != nil {
			return err
		}
	}
	return nil
}

// leave moves the calling thread to the groups in home.
func (v *v1) leave(home map[string]string) error {
	var errs []error
	for _, controller := range v1Controllers {
		errs = append(errs, writeFile(filepath.Join(v.trees[controller], home[controller], "tasks"), "0"))
	}
	return errors.Join(errs...)
}

// ownGroups reads the process's v1 groups: controller → path in its tree.
func ownGroups() (map[string]string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	groups := map[string]string{}
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, controller := range strings.Split(parts[1], ",") {
			groups[controller] = parts[2]
		}
	}
	return groups, nil
}

// cpuQuota gives the quota and the period in microseconds.
func cpuQuota(millis int) (quota, period string) {
	p := cpuPeriod
	q := p * time.Duration(millis) / 1000
	if q < minCPUQuota {
		p = minCPUQuota * 1000 / time.Duration(millis)
		q = minCPUQuota
	}
	return strconv.FormatInt(q.Microseconds(), 10), strconv.FormatInt(p.Microseconds(), 10)
}

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// v2 drives the unified tree.
type v2 struct {
	root        string // mount point
	parent      string
	controllers []string
	mkdir       func(dir string) error // os.Mkdir but in tests, which add the kernel's files
}

func newV2(root, parent string, controllers []string) *v2 {
	return &v2{root: root, parent: parent, controllers: controllers,
		mkdir: func(dir string) error { return os.Mkdir(dir, 0o755) }}
}

func (v *v2) version() Version { return V2 }

func (v *v2) dir(name string) string { return filepath.Join(v.root, v.parent, name) }

func (v *v2) file(name, file string) string { return filepath.Join(v.dir(name), file) }

func (v *v2) dirs(name string) []string { return []string{v.dir(name)} }

func (v *v2) procsFile(name string) string { return v.file(name, "cgroup.procs") }

// prepareParent makes the groups down to the parent and hands the controllers
// down with them.
func (v *v2) prepareParent() error {
	dir := v.root
	if err := v.delegate(dir); err != nil {
		return err
	}
	for element := range strings.SplitSeq(v.parent, "/") {
		dir = filepath.Join(dir, element)
		if err := v.mkdir(dir); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if err := v.delegate(dir); err != nil {
			return err
		}
	}
	return nil
}

func (v *v2) delegate(dir string) error {
	for _, controller := range v.controllers {
		file := filepath.Join(dir, "cgroup.subtree_control")
		err := writeFile(file, "+"+controller)
		// A group other than the machine's root cannot both have processes and
		// hand controllers down. That is the case in another container, whose
		// processes then move one level down.
		if errors.Is(err, syscall.EBUSY) && dir == v.root {
			if err = v.vacateRoot(); err == nil {
				err = writeFile(file, "+"+controller)
			}
		}
		if err != nil {
			return fmt.Errorf("enable controller %s in %s: %w", controller, dir, err)
		}
	}
	return nil
}

// vacateRoot moves every process of the root group into a group of its own.
func (v *v2) vacateRoot() error {
	leaf := filepath.Join(v.root, "kiln-host")
	if err := v.mkdir(leaf); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	data, err := os.ReadFile(filepath.Join(v.root, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(data)) {
		err := writeFile(filepath.Join(leaf, "cgroup.procs"), pid)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

func (v *v2) create(name string, limits Limits) error {
	if err := v.mkdir(v.dir(name)); err != nil {
		return err
	}
	if err := v.setLimits(name, limits); err != nil {
		return err
	}
	if limits.DenyDevices {
		return denyDevices(v.dir(name))
	}
	return nil
}

func (v *v2) setLimits(name string, limits Limits) error {
	if limits.MemoryBytes > 0 {
		if err := writeFile(v.file(name, "memory.max"), strconv.FormatInt(limits.MemoryBytes, 10)); err != nil {
			return err
		}
		// The file is absent where the kernel does not account swap.
		if err := writeFile(v.file(name, "memory.swap.max"), "0"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if limits.CPUMillis > 0 {
		quota, period := cpuQuota(limits.CPUMillis)
		if err := writeFile(v.file(name, "cpu.max"), quota+" "+period); err != nil {
			return err
		}
	}
	if limits.Pids > 0 {
		return writeFile(v.file(name, "pids.max"), strconv.Itoa(limits.Pids))
	}
	return nil
}

func (v *v2) freeze(name string, frozen bool) error {
	state := "0"
	if frozen {
		state = "1"
	}
	return writeFile(v.file(name, "cgroup.freeze"), state)
}

func (v *v2) frozen(name string) (bool, error) {
	events, err := readKeyed(v.file(name, "cgroup.events"))
	return events["frozen"] == 1, err
}

func (v *v2) kill(name string) error {
	err := writeFile(v.file(name, "cgroup.kill"), "1")
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Before 5.14: stopped tasks cannot fork away from the signals, and a
	// frozen v2 task dies of SIGKILL at once.
	if err := v.freeze(name, true); err != nil {
		return err
	}
	pids, err := pidsBelow(v.procsFile(name))
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
	}
	return errors.Join(err, v.freeze(name, false))
}

func (v *v2) peakFile(name string) string { return v.file(name, "memory.peak") }

func (v *v2) usage(name string) (Usage, error) {
	var u Usage
	var err error
	if u.MemoryBytes, err = readInt(v.file(name, "memory.current")); err != nil {
		return u, err
	}
	u.MemoryPeakBytes, err = readInt(v.peakFile(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return u, err
	}
	stat, err := readKeyed(v.file(name, "memory.stat"))
	if err != nil {
		return u, err
	}
	u.FileBytes = max(stat["file"]-stat["shmem"], 0)
	cpu, err := readKeyed(v.file(name, "cpu.stat"))
	u.CPU = time.Duration(cpu["usage_usec"]) * time.Microsecond
	return u, err
}

func (v *v2) oomKills(name string) (int, error) {
	events, err := readKeyed(v.file(name, "memory.events"))
	return int(events["oom_kill"]), err
}

// start has the kernel put the child into the group as it clones it.
func (v *v2) start(name string, attr *syscall.SysProcAttr, start func() error) error {
	dir, err := os.Open(v.dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
	defer func() { attr.UseCgroupFD, attr.CgroupFD = false, 0 }()
	return start()
}

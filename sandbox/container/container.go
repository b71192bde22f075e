// Package container is the sandbox back end of plain Linux: namespaces,
// cgroups, capabilities, seccomp and pivot_root, without any other program. The
// function shares the machine's kernel, so it is weaker than the gvisor back
// end, and it starts in a few milliseconds and costs next to no memory.
//
// A sandbox is a process tree in its own pid, mount, ipc, uts, cgroup and
// network namespaces. Its first process is a tiny init (image.go) that sets the
// sandbox up by a list of system calls (steps.go), waits for Start, runs the
// function's process as its only child and reaps what that leaves.
//
// There is no user namespace: the process has a user above 0 and no
// capabilities either way, while the mapping would make the owners of image
// files and of /tmp a matter of id-mapped mounts, need a network namespace that
// belongs to it, and give the set-up more of the kernel to go wrong in. The
// kernel counts some things by user (inotify instances, pending signals): there,
// sandboxes whose processes have the same user share one bound.
//
// It needs root, Linux 5.12 and cgroups.
package container

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"

	"kiln/sandbox"
	"kiln/sandbox/cgroup"
)

// Config is what a Backend needs to know.
type Config struct {
	// StateDir identifies the Kiln instance; two processes with the same one
	// must not run at once. Nothing is written there: what outlives a process
	// is in the cgroups alone.
	StateDir string
	// CgroupParent is where sandboxes get their groups. Empty: a name made from StateDir.
	CgroupParent string
	// OverheadBytes is added to every sandbox's memory limit for what the
	// kernel charges it besides the function's memory. 0: 4 MiB.
	OverheadBytes int64
	// ShmBytes is the size of /dev/shm. What is in it counts as the
	// function's memory. 0: 64 MiB.
	ShmBytes int64
}

// Backend implements sandbox.Backend. It is safe for concurrent use.
type Backend struct {
	config  Config
	groups  *cgroup.Hierarchy
	machine machine
	seed    *os.File
	null    *os.File
	spawner *spawner
	code    []byte
	elf     elf.Machine
}

var _ sandbox.Backend = (*Backend)(nil)

// New makes a back end and checks what the machine offers. Call Sweep next and
// Close at the end.
func New(config Config) (*Backend, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the container back end needs root")
	}
	if config.CgroupParent == "" {
		if config.StateDir == "" {
			return nil, errors.New("the container back end needs a state directory or a cgroup parent")
		}
		dir, err := filepath.Abs(config.StateDir)
		if err != nil {
			return nil, err
		}
		config.CgroupParent = fmt.Sprintf("kiln/container-%x", sha256.Sum256([]byte(dir)))[:32]
	}
	if config.OverheadBytes == 0 {
		config.OverheadBytes = 4 << 20
	}
	if config.ShmBytes == 0 {
		config.ShmBytes = 64 << 20
	}
	b := &Backend{config: config, code: machineCode()}
	if err := b.open(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Backend) open() error {
	var ok bool
	if b.elf, ok = machines[runtime.GOARCH]; !ok {
		return fmt.Errorf("the container back end does not know the architecture %s", runtime.GOARCH)
	}
	var err error
	if b.machine, err = inspect(b.config.ShmBytes); err != nil {
		return err
	}
	if b.groups, err = cgroup.Open(b.config.CgroupParent); err != nil {
		return err
	}
	if b.null, err = os.OpenFile("/dev/null", os.O_RDWR, 0); err != nil {
		return err
	}
	if b.seed, err = makeSeed(); err != nil {
		return err
	}
	b.spawner = newSpawner()
	return nil
}

// inspect finds out about the machine.
func inspect(shmBytes int64) (machine, error) {
	// Of what is needed this came last. -1 is no file, which a kernel that knows the call says.
	if err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); errors.Is(err, unix.ENOSYS) {
		return machine{}, errors.New("the container back end needs Linux 5.12 or later")
	}
	m := machine{
		masked: existing(maskedFiles), emptied: existing(emptiedDirs), readOnly: existing(readOnlyDirs),
		shmBytes: shmBytes,
		hard: func(resource int) uint64 {
			var limit unix.Rlimit
			if unix.Getrlimit(resource, &limit) != nil {
				return 0
			}
			return limit.Max
		},
	}
	data, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return m, err
	}
	if m.lastCap, err = strconv.Atoi(strings.TrimSpace(string(data))); err != nil {
		return m, err
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return m, err
	}
	prog, err := seccompFilter(info)
	m.seccomp = seccompBytes(prog)
	return m, err
}

// Name is "container".
func (b *Backend) Name() string { return "container" }

// Sweep kills and removes the sandboxes of an earlier process. Their mounts and
// namespaces go with their processes.
func (b *Backend) Sweep(ctx context.Context) error { return b.groups.Sweep(ctx) }

// Close frees what the back end holds. The cgroup parent goes too unless a
// sandbox is left in it.
func (b *Backend) Close() error {
	if b.spawner != nil {
		b.spawner.close()
	}
	for _, f := range []*os.File{b.seed, b.null} {
		if f != nil {
			f.Close()
		}
	}
	if b.groups == nil {
		return nil
	}
	return b.groups.Remove()
}

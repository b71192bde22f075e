// Package gvisor is the default isolation back end: every sandbox is a guest
// kernel of its own, gVisor, which runs as an ordinary process and lets the
// function's code do no system call on the machine's kernel.
//
// gVisor is linked into this executable, which starts itself (see MaybeRun)
// once as the guest kernel and once as the file server that hands the kernel
// the directories it may see. The package speaks to these two processes by
// their command lines and the control socket, as gVisor's own container and
// sandbox packages do; it does not use those, because they are made for a
// command that creates one container and exits: they pass on the process's own
// stdout, move the whole process through cgroups, keep a lock and a state file
// per container, hold threads while waiting, and end the process on some
// errors. Here nothing of gVisor runs in the worker's process except the
// encoding of messages and, once, the compiler of system call filters.
package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"kiln/sandbox"
	"kiln/sandbox/cgroup"
)

const platformName = "systrap"

// Config says where a back end keeps its things.
type Config struct {
	// StateDir is a directory of this back end's own; New makes it.
	StateDir string
	// CgroupParent is the group that the sandboxes' groups are made in, as for
	// cgroup.Open; no other back end may use the same.
	CgroupParent string
	// Exe is the executable to start as the parts of a sandbox: one that calls
	// MaybeRun first and is built without cgo. "" is the small one that the build
	// embedded, see embed.go, or else the running one.
	Exe string
	// DebugDir, if set, receives gVisor's debug logs, two files per sandbox.
	// They are large and slow everything down.
	DebugDir string
}

// Backend makes sandboxes with gVisor. It implements sandbox.Backend.
type Backend struct {
	cfg     Config
	dir     *os.File // StateDir/sandboxes
	groups  *cgroup.Hierarchy
	spawner *spawner
	filters *os.File // the compiled system call filters, see newFilterFile
	// hostMemory is the machine's memory in bytes.
	hostMemory uint64
}

var _ sandbox.Backend = (*Backend)(nil)

// New opens a back end. Call Sweep before the first Create.
func New(cfg Config) (_ *Backend, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the gvisor back end needs to run as root")
	}
	b := &Backend{cfg: cfg}
	defer func() {
		if err != nil {
			b.free()
		}
	}()
	dir := filepath.Join(cfg.StateDir, "sandboxes")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if b.cfg.Exe == "" {
		b.cfg.Exe = selfExe
		if len(embeddedGuest) > 0 {
			if b.cfg.Exe, err = unpackGuest(cfg.StateDir, embeddedGuest); err != nil {
				return nil, err
			}
		}
	}
	if cfg.DebugDir != "" {
		if err := os.MkdirAll(cfg.DebugDir, 0o700); err != nil {
			return nil, err
		}
	}
	if b.dir, err = os.Open(dir); err != nil {
		return nil, err
	}
	if b.groups, err = cgroup.Open(cfg.CgroupParent); err != nil {
		return nil, err
	}
	if b.filters, err = newFilterFile(); err != nil {
		return nil, err
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return nil, os.NewSyscallError("sysinfo", err)
	}
	b.hostMemory = info.Totalram * uint64(info.Unit)
	if b.spawner, err = newSpawner(); err != nil {
		return nil, err
	}
	return b, nil
}

// Name implements sandbox.Backend.
func (b *Backend) Name() string { return "gvisor" }

// Sweep implements sandbox.Backend. The sandboxes of a process that died were
// killed by the kernel with it (see spawner), except where they were frozen on
// cgroup v1; their groups and sockets are left, and what is in the groups is killed.
func (b *Backend) Sweep(ctx context.Context) error {
	errs := []error{b.groups.Sweep(ctx)}
	names, err := os.ReadDir(b.dir.Name())
	errs = append(errs, err)
	for _, n := range names {
		errs = append(errs, os.RemoveAll(filepath.Join(b.dir.Name(), n.Name())))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweep gvisor sandboxes: %w", err)
	}
	return nil
}

// Close implements sandbox.Backend.
func (b *Backend) Close() error {
	err := b.groups.Remove()
	b.free()
	return errors.Join(err, os.Remove(b.dir.Name()))
}

func (b *Backend) free() {
	if b.spawner != nil {
		b.spawner.close()
	}
	for _, f := range []*os.File{b.filters, b.dir} {
		if f != nil {
			f.Close()
		}
	}
}

var validID = regexp.MustCompile(`^[A-Za-z0-9-]{1,40}$`)

func validate(spec *sandbox.Spec) error {
	switch {
	case !validID.MatchString(spec.ID):
		return fmt.Errorf("sandbox ID %q is not 1 to 40 letters, digits and dashes", spec.ID)
	case !filepath.IsAbs(spec.Root):
		return fmt.Errorf("root %q is not an absolute path", spec.Root)
	case len(spec.Process.Args) == 0 || !strings.HasPrefix(spec.Process.Args[0], "/"):
		return fmt.Errorf("process %q does not start with an absolute path", spec.Process.Args)
	case spec.Limits.MemoryBytes <= 0:
		return fmt.Errorf("memory limit %d is not positive", spec.Limits.MemoryBytes)
	case spec.Stdout == nil || spec.Stderr == nil:
		return errors.New("stdout and stderr are needed")
	}
	if _, err := os.Stat(spec.Root); err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	for i, m := range spec.Mounts {
		if !filepath.IsAbs(m.Source) || !filepath.IsAbs(m.Target) {
			return fmt.Errorf("mount of %q at %q: both must be absolute paths", m.Source, m.Target)
		}
		if _, err := os.Stat(m.Source); err != nil {
			return fmt.Errorf("mount at %s: %w", m.Target, err)
		}
		if err := findTarget(spec, i); err != nil {
			return fmt.Errorf("mount at %s: the root has no such place: %w", m.Target, err)
		}
	}
	return nil
}

// findTarget checks that a mount's target is there, in the root or in an
// earlier mount: the file server would make what is missing, on the machine.
func findTarget(spec *sandbox.Spec, i int) error {
	base, below := spec.Root, filepath.Clean(spec.Mounts[i].Target)
	for _, m := range spec.Mounts[:i] {
		target := filepath.Clean(m.Target)
		if rest, ok := strings.CutPrefix(filepath.Clean(spec.Mounts[i].Target), target); ok && (rest == "" || rest[0] == '/') {
			base, below = m.Source, rest
		}
	}
	if below == "" {
		return nil // the same place again
	}
	dir, err := unix.Open(base, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, strings.TrimLeft(below, "/"), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

package gvisor

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"kiln/sandbox"
)

// shmBytes is the size of /dev/shm, which counts as the function's memory.
const shmBytes = 64 << 20

// guestSpec puts a sandbox's spec into the words of OCI.
func guestSpec(spec *sandbox.Spec) *specs.Spec {
	p, l := &spec.Process, &spec.Limits
	out := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			User:            specs.User{UID: uint32(p.UID), GID: uint32(p.GID)},
			Args:            p.Args,
			Env:             p.Env,
			Cwd:             p.Dir,
			Capabilities:    &specs.LinuxCapabilities{},
			NoNewPrivileges: true,
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}},
		},
		Root:     &specs.Root{Path: spec.Root, Readonly: true},
		Hostname: spec.Hostname,
		Linux:    &specs.Linux{},
	}
	if out.Process.Cwd == "" {
		out.Process.Cwd = "/"
	}
	limit := func(name string, n int) {
		if n > 0 {
			out.Process.Rlimits = append(out.Process.Rlimits,
				specs.POSIXRlimit{Type: name, Hard: uint64(n), Soft: uint64(n)})
		}
	}
	limit("RLIMIT_NOFILE", l.Files)
	// The guest kernel counts a user's tasks, and all of a sandbox's are one user's.
	limit("RLIMIT_NPROC", l.Processes)
	for _, m := range spec.Mounts {
		options := []string{"rbind", "nosuid", "nodev", "ro"}
		if m.Writable {
			options[3] = "rw"
		}
		out.Mounts = append(out.Mounts, specs.Mount{
			Destination: m.Target, Source: m.Source, Type: "bind", Options: options,
		})
	}
	out.Mounts = append(out.Mounts,
		specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		specs.Mount{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755"}},
		specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.Itoa(shmBytes)}},
		specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	)
	return out
}

// guestFlags are the flags that both processes of a sandbox get.
func (b *Backend) guestFlags(spec *sandbox.Spec) []string {
	flags := []string{
		"--root=" + b.cfg.StateDir,
		"--platform=" + platformName,
		"--network=sandbox",
		"--overlay2=none",
		"--ignore-cgroups",
		"--host-settings=ignore",
		// Nothing but the sandbox changes what it sees, so the guest may trust its caches.
		"--file-access-mounts=exclusive",
	}
	if spec.Network == "" {
		flags[2] = "--network=none"
	}
	if b.cfg.DebugDir != "" {
		flags = append(flags, "--debug")
	}
	return flags
}

// cpus is how many processors the guest shows. Programs behave badly on one.
func cpus(millis int) int {
	return min(max(2, (millis+999)/1000), runtime.NumCPU())
}

// command collects a process's arguments and files.
type command struct {
	argv  []string
	files []*os.File
}

// give passes a file under a flag that takes its descriptor.
func (c *command) give(flag string, f *os.File) {
	c.argv = append(c.argv, fmt.Sprintf("--%s=%d", flag, len(c.files)))
	c.files = append(c.files, f)
}

// newCommand begins an argument list: stdin is null, and whatever the process
// itself has to say, its last words above all, goes to messages.
func (b *Backend) newCommand(name, verb string, flags []string, null, messages, debug *os.File) *command {
	c := &command{argv: []string{name}, files: []*os.File{null, messages, messages}}
	c.argv = append(c.argv, filterFlag+strconv.Itoa(len(c.files)))
	c.files = append(c.files, b.filters)
	c.argv = append(c.argv, flags...)
	if debug != nil {
		c.give("debug-log-fd", debug)
	}
	c.argv = append(c.argv, verb, "--bundle="+b.cfg.StateDir)
	return c
}

// specFiles makes two files with the spec: each process reads its own from the start.
func specFiles(spec *specs.Spec) (files [2]*os.File, err error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return files, err
	}
	for i := range files {
		if files[i], err = sealedFile("spec", data); err != nil {
			closeAll(files[:i])
			return files, err
		}
	}
	return files, nil
}

// mountConfs describes the root and the bind mounts: served by the file server, no overlay.
func mountConfs(mounts int) string {
	return strings.TrimSuffix(strings.Repeat("lisafs:none,", 1+mounts), ",")
}

// socketPairs makes a connection between guest kernel and file server for each mount.
func socketPairs(n int) (kernel, server []*os.File, err error) {
	for range n {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			closeAll(kernel)
			closeAll(server)
			return nil, nil, os.NewSyscallError("socketpair", err)
		}
		kernel = append(kernel, os.NewFile(uintptr(fds[0]), "guest kernel's end"))
		server = append(server, os.NewFile(uintptr(fds[1]), "file server's end"))
	}
	return kernel, server, nil
}

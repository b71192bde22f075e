package container

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kiln/sandbox"
)

// descriptors are the numbers in the init of what it is started with.
type descriptors struct {
	tasks   []int // v1 cgroup files that take "0"
	seed    int
	network int // -1: a namespace of its own, with only the loopback
	root    int
	mounts  []int // like Spec.Mounts
	next    int   // the first that is free
}

// machine is what the steps need to know of the machine; it is found once.
type machine struct {
	lastCap  int
	seccomp  []byte // array of struct sock_filter
	masked   []string
	emptied  []string
	readOnly []string
	shmBytes int64
	// hard gives this process's own hard resource limits, which cannot be raised.
	hard func(resource int) uint64
}

// maskedFiles tell about the machine or steer it, and read as empty.
var maskedFiles = []string{
	"/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kmsg", "/proc/kallsyms", "/proc/timer_list",
	"/proc/timer_stats", "/proc/sched_debug", "/proc/latency_stats", "/proc/sysrq-trigger", "/proc/interrupts",
	"/proc/kpagecount", "/proc/kpageflags", "/proc/kpagecgroup", "/proc/vmallocinfo", "/proc/slabinfo",
	"/proc/modules", "/proc/iomem", "/proc/ioports", "/proc/cmdline", "/proc/partitions", "/proc/diskstats",
	"/proc/swaps", "/proc/mdstat", "/proc/locks", "/proc/config.gz",
}

// emptiedDirs are the same for directories.
var emptiedDirs = []string{"/proc/acpi", "/proc/scsi", "/proc/asound", "/proc/driver", "/proc/pressure"}

// readOnlyDirs stay readable: runtimes look at /proc/sys.
var readOnlyDirs = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"}

// existing keeps the paths that this kernel has, so that each of them must
// succeed in a sandbox.
func existing(paths []string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool {
		_, err := os.Lstat(p)
		return err != nil
	})
}

// compile composes the life of a sandbox's first process.
func compile(spec sandbox.Spec, m machine, fds descriptors) *image {
	p := &image{}
	p.call("close descriptors", unix.SYS_CLOSE_RANGE, uintptr(fds.next), ^uintptr(0)>>32, 0)
	p.call("name the process", unix.SYS_PRCTL, unix.PR_SET_NAME, p.str("kiln-init"))
	zero := p.str("0")
	for _, fd := range fds.tasks {
		p.call("join the cgroup", unix.SYS_WRITE, uintptr(fd), zero, 1)
	}
	p.defaultSignals()
	p.network(fds)
	p.call("set the host name", unix.SYS_SETHOSTNAME, p.str(spec.Hostname), uintptr(len(spec.Hostname)))
	p.fileSystems(spec, m, fds)
	dir := spec.Process.Dir
	if dir == "" {
		dir = "/"
	}
	p.call("umask", unix.SYS_UMASK, 0o022)
	p.call("close descriptors", unix.SYS_CLOSE_RANGE, firstFD, ^uintptr(0)>>32, 0)
	for _, fd := range []uintptr{statusFD, goFD} {
		p.call("mark descriptors", unix.SYS_FCNTL, fd, unix.F_SETFD, unix.FD_CLOEXEC)
	}
	p.resourceLimits(spec.Limits, m)
	p.dropPrivileges(spec.Process, m)
	p.call("change to the working directory "+dir, unix.SYS_CHDIR, p.str(dir))

	// The strings must be in the image before anything depends on their addresses.
	ready := p.bytes(message{kind: messageReady}.encode())
	path := p.str(spec.Process.Args[0])
	argv, envp := p.strings(spec.Process.Args), p.strings(spec.Process.Env)
	p.filter(m.seccomp)
	p.call("report", unix.SYS_WRITE, statusFD, ready, messageSize)
	p.add(needsData, "wait for the start", unix.SYS_READ, goFD, p.bytes(make([]byte, 8)), 1)
	p.add(fork, "fork", unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD))
	p.call("make a session", unix.SYS_SETSID)
	p.call(stepExec, unix.SYS_EXECVE, path, argv, envp)
	return p
}

// stepExec is the step whose failure is the function's, not ours.
const stepExec = "execute the entry point"

// defaultSignals undoes what this process inherited: an ignored signal would
// stay ignored in the function.
func (p *image) defaultSignals() {
	action := p.words(0, 0, 0, 0)
	for signal := uintptr(1); signal <= 64; signal++ {
		p.add(optional, "reset signals", unix.SYS_RT_SIGACTION, signal, action, 0, 8)
	}
	p.call("unblock signals", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, p.words(0), 0, 8)
}

func (p *image) network(fds descriptors) {
	if fds.network >= 0 {
		p.call("enter the network namespace", unix.SYS_SETNS, uintptr(fds.network), unix.CLONE_NEWNET)
		return
	}
	// The namespace is new. struct ifreq: the name, then the flags.
	request := make([]byte, 40)
	copy(request, "lo")
	request[unix.IFNAMSIZ] = unix.IFF_UP
	p.call("open a socket", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM, 0)
	p.call("start the loopback interface", unix.SYS_IOCTL, uintptr(fds.next), unix.SIOCSIFFLAGS, p.bytes(request))
}

func (p *image) fileSystems(spec sandbox.Spec, m machine, fds descriptors) {
	at := uintptr(unix.AT_FDCWD & (1<<64 - 1))
	empty, root, none, dot := p.str(""), p.str(seedRoot), p.str("none"), p.str(".")
	p.call("enter the seed", unix.SYS_SETNS, uintptr(fds.seed), unix.CLONE_NEWNS)
	// The cgroup namespace begins at the sandbox's own group, see /proc/self/cgroup.
	p.call("make namespaces", unix.SYS_UNSHARE, unix.CLONE_NEWNS|unix.CLONE_NEWCGROUP)
	p.call("mount the root", unix.SYS_MOVE_MOUNT, uintptr(fds.root), empty, at, root, unix.MOVE_MOUNT_F_EMPTY_PATH)
	p.call("move /dev into the root", unix.SYS_MOUNT, p.str(seedDev), p.str(seedRoot+"/dev"), none, unix.MS_MOVE, 0)
	// Not pivot_root, which takes 1 ms: it looks at every thread of the machine.
	// The root becomes the namespace's too, and what it covers is the empty seed.
	p.call("enter the root", unix.SYS_CHDIR, root)
	p.call("cover the seed", unix.SYS_MOUNT, dot, p.str("/"), none, unix.MS_MOVE, 0)
	p.call("change the root", unix.SYS_CHROOT, dot)
	p.call("enter the root", unix.SYS_CHDIR, p.str("/"))
	for i, mount := range spec.Mounts {
		p.call("mount "+mount.Target, unix.SYS_MOVE_MOUNT, uintptr(fds.mounts[i]), empty, at, p.str(mount.Target), unix.MOVE_MOUNT_F_EMPTY_PATH)
	}

	safe := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	proc := p.str("proc")
	p.call("mount /proc", unix.SYS_MOUNT, proc, p.str("/proc"), proc, safe, 0)
	null := p.str("/dev/null")
	for _, path := range m.masked {
		p.call("mask "+path, unix.SYS_MOUNT, null, p.str(path), none, unix.MS_BIND, 0)
	}
	shm := p.str("/dev/shm") // until something is mounted there, an empty directory that nobody can write
	for _, path := range m.emptied {
		p.call("empty "+path, unix.SYS_MOUNT, shm, p.str(path), none, unix.MS_BIND, 0)
	}
	for _, path := range m.readOnly {
		target := p.str(path)
		p.call("bind "+path, unix.SYS_MOUNT, target, target, none, unix.MS_BIND, 0)
		p.call("make "+path+" read-only", unix.SYS_MOUNT, none, target, none, unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|safe, 0)
	}
	p.call("mount /dev/shm", unix.SYS_MOUNT, p.str("shm"), shm, p.str("tmpfs"), safe, p.str(fmt.Sprintf("size=%d,mode=1777", m.shmBytes)))
}

func (p *image) resourceLimits(limits sandbox.Limits, m machine) {
	set := func(what string, resource int, value uint64) {
		p.call("limit "+what, unix.SYS_PRLIMIT64, 0, uintptr(resource), p.words(value, value), 0)
	}
	set(fmt.Sprintf("open files to %d", limits.Files), unix.RLIMIT_NOFILE, uint64(limits.Files))
	set("core files", unix.RLIMIT_CORE, 0)
	for resource, most := range map[int]uint64{unix.RLIMIT_MEMLOCK: 64 << 10, unix.RLIMIT_MSGQUEUE: 800 << 10} {
		set("locked memory and message queues", resource, min(most, m.hard(resource)))
	}
	// This one counts per user on the whole machine; the cgroup counts per sandbox.
	set("processes", unix.RLIMIT_NPROC, m.hard(unix.RLIMIT_NPROC))
}

func (p *image) dropPrivileges(process sandbox.Process, m machine) {
	for c := 0; c <= m.lastCap; c++ {
		p.call("drop capabilities", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c))
	}
	uid, gid := uintptr(process.UID), uintptr(process.GID)
	p.call("drop groups", unix.SYS_SETGROUPS, 0, 0)
	p.call("set the group", unix.SYS_SETRESGID, gid, gid, gid)
	p.call("set the user", unix.SYS_SETRESUID, uid, uid, uid)
	p.call("drop ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	// struct __user_cap_header, then two __user_cap_data.
	p.call("drop capabilities", unix.SYS_CAPSET, p.words(unix.LINUX_CAPABILITY_VERSION_3), p.words(0, 0, 0))
	p.call("forbid new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	// The function must not look into the init: its descriptors, its image.
	p.call("forbid tracing", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	// Changing the user undoes it, so it comes after. The parent is a thread that
	// lives as long as the back end.
	p.call("die with the parent", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

func (p *image) filter(prog []byte) {
	// struct sock_fprog: the length, padding, the address.
	fprog := p.words(uint64(len(prog)/8), uint64(p.bytes(prog)))
	p.call("filter system calls", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, fprog)
}

// validate says what is wrong with a spec that no sandbox could be made of.
func validate(spec sandbox.Spec) error {
	switch {
	case spec.ID == "" || len(spec.ID) > 40 || strings.Trim(spec.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "":
		return fmt.Errorf("sandbox ID %q is not up to 40 letters, digits and hyphens", spec.ID)
	case len(spec.Process.Args) == 0 || !strings.HasPrefix(spec.Process.Args[0], "/"):
		return fmt.Errorf("the entry point %q is not an absolute path", spec.Process.Args)
	case spec.Process.UID <= 0 || spec.Process.GID <= 0:
		return fmt.Errorf("user %d and group %d: both must be above 0", spec.Process.UID, spec.Process.GID)
	case spec.Limits.MemoryBytes <= 0 || spec.Limits.CPUMillis <= 0 || spec.Limits.Processes <= 0 || spec.Limits.Files <= 0:
		return fmt.Errorf("limits %+v: all must be above 0", spec.Limits)
	case len(spec.Hostname) > 64:
		return fmt.Errorf("host name %q is longer than 64", spec.Hostname)
	}
	for _, s := range slices.Concat(spec.Process.Args, spec.Process.Env, []string{spec.Process.Dir}) {
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("an argument, a variable or the directory contains a zero byte: %q", s)
		}
	}
	for _, m := range spec.Mounts {
		if !strings.HasPrefix(m.Target, "/") || !strings.HasPrefix(m.Source, "/") || strings.ContainsRune(m.Target, 0) {
			return fmt.Errorf("mount %s on %s: both must be absolute paths", m.Source, m.Target)
		}
	}
	return nil
}

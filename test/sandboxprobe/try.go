package main

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// write creates a file, or opens one, and writes to it.
func write(path string) (any, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("sandboxprobe\n")
	return nil, errors.Join(err, f.Close())
}

// open opens a file for reading and writing and closes it.
func open(path string) (any, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return nil, f.Close()
}

// dial connects: "network/address".
func dial(target string) (any, error) {
	network, address, _ := strings.Cut(target, "/")
	c, err := net.DialTimeout(network, address, 2*time.Second)
	if err != nil {
		return nil, err
	}
	return nil, c.Close()
}

// sockets tries address families: name → error, "" if it can be made.
func sockets(string) (any, error) {
	result := map[string]string{}
	for name, s := range map[string][3]int{
		"unix": {unix.AF_UNIX, unix.SOCK_STREAM, 0}, "inet": {unix.AF_INET, unix.SOCK_STREAM, 0},
		"inet6": {unix.AF_INET6, unix.SOCK_DGRAM, 0}, "route": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE},
		"audit": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, "netfilter": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
		"packet": {unix.AF_PACKET, unix.SOCK_RAW, 0}, "vsock": {unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		"alg": {unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, "raw": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		"xdp": {unix.AF_XDP, unix.SOCK_RAW, 0}, "bluetooth": {unix.AF_BLUETOOTH, unix.SOCK_RAW, 0},
	} {
		fd, err := unix.Socket(s[0], s[1], s[2])
		result[name] = ""
		if err != nil {
			result[name] = err.Error()
			continue
		}
		unix.Close(fd)
	}
	return result, nil
}

// escape calls what only the machine's owner may call: name → error. An empty
// one means that it worked.
func escape(string) (any, error) {
	path := func(s string) uintptr { p, _ := syscall.BytePtrFromString(s); return uintptr(unsafe.Pointer(p)) }
	root, dir, tmpfs := path("/"), path("/tmp"), path("tmpfs")
	var buf [4096]byte
	mem := uintptr(unsafe.Pointer(&buf[0]))
	fdcwd := ^uintptr(99) // AT_FDCWD
	handle := [8]uint32{8, 1}
	iov := [2]uintptr{mem, 16}
	attempts := []struct {
		name string
		nr   uintptr
		args [6]uintptr
	}{
		{"mount", unix.SYS_MOUNT, [6]uintptr{tmpfs, dir, tmpfs}},
		{"remount root", unix.SYS_MOUNT, [6]uintptr{0, root, 0, unix.MS_REMOUNT | unix.MS_BIND}},
		{"umount", unix.SYS_UMOUNT2, [6]uintptr{path("/proc"), unix.MNT_DETACH}},
		{"pivot_root", unix.SYS_PIVOT_ROOT, [6]uintptr{dir, dir}},
		{"chroot", unix.SYS_CHROOT, [6]uintptr{dir}},
		{"move_mount", unix.SYS_MOVE_MOUNT, [6]uintptr{fdcwd, dir, fdcwd, root}},
		{"open_tree", unix.SYS_OPEN_TREE, [6]uintptr{fdcwd, root, unix.OPEN_TREE_CLONE}},
		{"fsopen", unix.SYS_FSOPEN, [6]uintptr{tmpfs}},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR, [6]uintptr{fdcwd, root, 0, mem, 32}},
		{"unshare user", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWUSER}},
		{"unshare mount", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWNS}},
		{"clone user", unix.SYS_CLONE, [6]uintptr{unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD)}},
		{"clone pid", unix.SYS_CLONE, [6]uintptr{unix.CLONE_NEWPID | uintptr(unix.SIGCHLD)}},
		{"clone3", unix.SYS_CLONE3, [6]uintptr{mem, 64}},
		{"setns", unix.SYS_SETNS, [6]uintptr{0, 0}},
		{"bpf", unix.SYS_BPF, [6]uintptr{0, mem, 48}},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [6]uintptr{mem, 0, 0, 0, 0}},
		{"userfaultfd", unix.SYS_USERFAULTFD, [6]uintptr{1}},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, [6]uintptr{1, mem}},
		{"ptrace init", unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_ATTACH, 1}},
		{"ptrace me", unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_TRACEME}},
		{"process_vm_readv", unix.SYS_PROCESS_VM_READV, [6]uintptr{1, uintptr(unsafe.Pointer(&iov)), 1, uintptr(unsafe.Pointer(&iov)), 1}},
		{"pidfd_getfd", unix.SYS_PIDFD_GETFD, [6]uintptr{0, 0}},
		{"kcmp", unix.SYS_KCMP, [6]uintptr{1, 1, 0, 0, 0}},
		{"keyctl", unix.SYS_KEYCTL, [6]uintptr{0, 0}},
		{"add_key", unix.SYS_ADD_KEY, [6]uintptr{path("user"), path("k"), mem, 1, ^uintptr(2)}},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [6]uintptr{fdcwd, uintptr(unsafe.Pointer(&handle)), 0}},
		{"init_module", unix.SYS_INIT_MODULE, [6]uintptr{mem, 16, path("")}},
		{"delete_module", unix.SYS_DELETE_MODULE, [6]uintptr{path("none"), 0}},
		{"kexec_load", unix.SYS_KEXEC_LOAD, [6]uintptr{0, 0, 0, 0}},
		{"reboot", unix.SYS_REBOOT, [6]uintptr{1, 2, 3}},
		{"sethostname", unix.SYS_SETHOSTNAME, [6]uintptr{mem, 1}},
		{"clock_settime", unix.SYS_CLOCK_SETTIME, [6]uintptr{0, mem}},
		{"syslog", unix.SYS_SYSLOG, [6]uintptr{3, mem, 16}},
		{"swapon", unix.SYS_SWAPON, [6]uintptr{dir, 0}},
		{"acct", unix.SYS_ACCT, [6]uintptr{0}},
		{"quotactl", unix.SYS_QUOTACTL, [6]uintptr{0, 0, 0, 0}},
		{"fanotify_init", unix.SYS_FANOTIFY_INIT, [6]uintptr{0, 0}},
		{"personality", unix.SYS_PERSONALITY, [6]uintptr{0x0400000}}, // READ_IMPLIES_EXEC
		{"tiocsti", unix.SYS_IOCTL, [6]uintptr{0, unix.TIOCSTI, mem}},
		{"setuid root", unix.SYS_SETRESUID, [6]uintptr{0, 0, 0}},
		{"setgid root", unix.SYS_SETRESGID, [6]uintptr{0, 0, 0}},
		{"setgroups", unix.SYS_SETGROUPS, [6]uintptr{1, mem}},
		{"mknod device", unix.SYS_MKNODAT, [6]uintptr{fdcwd, path("/tmp/null"), unix.S_IFCHR | 0o666, 0x103}},
		{"raise file limit", unix.SYS_PRLIMIT64, [6]uintptr{0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&[2]uint64{1 << 19, 1 << 19}))}},
		{"kill init", unix.SYS_KILL, [6]uintptr{1, uintptr(unix.SIGKILL)}},
		{"lower oom score", 0, [6]uintptr{}},
	}
	result := map[string]string{}
	for _, a := range attempts {
		if a.nr == 0 && a.name == "lower oom score" {
			if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0); err != nil {
				result[a.name] = err.Error()
			} else {
				result[a.name] = ""
			}
			continue
		}
		pid, _, errno := syscall.RawSyscall6(a.nr, a.args[0], a.args[1], a.args[2], a.args[3], a.args[4], a.args[5])
		if errno == 0 && strings.HasPrefix(a.name, "clone") && pid == 0 {
			_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0) // the child of a clone that should have failed
		}
		result[a.name] = ""
		if errno != 0 {
			result[a.name] = errno.Error()
		}
	}
	return result, nil
}

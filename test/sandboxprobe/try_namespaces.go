package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Attempts at other namespaces, with and without a user namespace to be root in.
func init() {
	probes["rewrite"] = rewrite
	for name, flag := range map[string]uintptr{
		"mount": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID, "network": unix.CLONE_NEWNET,
		"ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP,
	} {
		attempts["clone-"+name] = func() (string, error) {
			return "", child(&syscall.SysProcAttr{Cloneflags: flag}, "echo=in").Run()
		}
		attempts["unshare-"+name] = func() (string, error) { return "", onOwnThread(func() error { return unix.Unshare(int(flag)) }) }
	}
	for name, flag := range map[string]int{
		"mnt": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID, "net": unix.CLONE_NEWNET,
		"ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "user": unix.CLONE_NEWUSER, "cgroup": unix.CLONE_NEWCGROUP,
	} {
		attempts["setns-"+name] = func() (string, error) { return setns(name, flag) }
	}
	attempts["setns-pidfd"] = func() (string, error) {
		fd, err := unix.PidfdOpen(1, 0)
		if err != nil {
			return "pidfd_open", err
		}
		return "", onOwnThread(func() error { return unix.Setns(fd, unix.CLONE_NEWNS) })
	}
	attempts["clone-user"] = func() (string, error) { return "", child(userNamespace(0), "echo=in").Run() }
	attempts["unshare-user"] = func() (string, error) {
		return "", child(&syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWUSER}, "echo=in").Run()
	}
	attempts["clone3-user"] = clone3User
	// Root of a user namespace of its own, where mounts can be changed, then writes.
	for name, path := range map[string]string{"code": "/var/task/code", "root-file": "/open/file", "layer": "/opt/layer"} {
		attempts["rewrite-"+name] = func() (string, error) {
			value, err := runApart(child(userNamespace(unix.CLONE_NEWNS), "rewrite="+path))
			if outcome, ok := value.(map[string]any); ok && outcome["errno"] != "worked" {
				return "", errorNamed(fmt.Sprint(outcome["errno"]))
			}
			return fmt.Sprint(value), err
		}
	}
	// And everything that root may do.
	attempts["root-of-a-namespace"] = func() (string, error) {
		flags := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC)
		value, err := runApart(child(userNamespace(flags), "tries="+strings.Join(rootAttempts, ",")))
		if err != nil {
			return "", err
		}
		var worked []string
		for name, outcome := range value.(map[string]any) {
			if m, ok := outcome.(map[string]any); ok && m["errno"] == "worked" {
				worked = append(worked, name)
			}
		}
		return strings.Join(worked, " "), nil
	}
}

// rootAttempts are what a namespace's root tries.
var rootAttempts = []string{
	"mount-tmpfs", "mount-bind", "mount-proc", "mount-sysfs", "mount-cgroup", "mount-cgroup2", "mount-over-task", "remount-root",
	"remount-task", "umount-proc", "umount-task", "pivot-root", "chroot", "mknod-memory", "mknod-disk",
	"write-root", "write-task", "packet-socket", "raw-socket", "sethostname", "setuid-root",
	"init-module", "kexec-load", "write-core-pattern", "write-sysrq", "clock-settime", "reboot",
}

// rewrite makes a mount writable, by every way there is, and writes to a file in it.
func rewrite(path string) (any, error) {
	for _, target := range []string{"/", "/var/task", "/opt"} {
		_ = unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND, "")
		_ = unix.Mount("", target, "", unix.MS_REMOUNT, "")
	}
	if unix.Mount("/", "/tmp", "", unix.MS_BIND|unix.MS_REC, "") == nil {
		_ = unix.Mount("", "/tmp", "", unix.MS_REMOUNT|unix.MS_BIND, "")
		_ = overwrite("/tmp" + path)
	}
	return outcomeOf("", overwrite(path)), nil
}

// errorNamed is the error of an outcome.
func errorNamed(name string) error {
	for errno := syscall.Errno(1); errno < 150; errno++ {
		if unix.ErrnoName(errno) == name {
			return errno
		}
	}
	return errors.New(name)
}

// child runs this program with attributes; its output is not ours.
func child(attr *syscall.SysProcAttr, probe string) *exec.Cmd {
	cmd := self(probe)
	cmd.SysProcAttr = attr
	return cmd
}

// userNamespace makes the caller root of a new user namespace.
func userNamespace(more uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | more,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// onOwnThread runs f on a thread that ends afterwards.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// setns enters a namespace of the sandbox's first process.
func setns(name string, flag int) (string, error) {
	f, err := os.Open("/proc/1/ns/" + name)
	if err != nil {
		return "open", err
	}
	defer f.Close()
	return "", onOwnThread(func() error {
		// A mount namespace is only for threads with a directory of their own.
		_ = unix.Unshare(unix.CLONE_FS)
		return unix.Setns(int(f.Fd()), flag)
	})
}

// clone3User hides the flags of clone in memory, where a filter cannot look.
func clone3User() (string, error) {
	args := struct{ flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64 }{
		flags: unix.CLONE_NEWUSER, exitSignal: uint64(unix.SIGCHLD),
	}
	pid, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	if errno != 0 {
		return "", errno
	}
	if pid == 0 {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return fmt.Sprintf("child %d", pid), nil
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Attempts at other processes.
func init() {
	probes["reachable"] = reachablePids
	probes["kill"] = killPid
	probes["killall"] = killAll
	probes["outside"] = outside

	attempts["ptrace-first"] = func() (string, error) { return "", onOwnThread(func() error { return notSelf(ptrace) }) }
	attempts["read-first"] = func() (string, error) { return "", notSelf(vmAccess(unix.SYS_PROCESS_VM_READV)) }
	attempts["write-first"] = func() (string, error) { return "", notSelf(vmAccess(unix.SYS_PROCESS_VM_WRITEV)) }
	attempts["kcmp"] = func() (string, error) {
		return "", notSelf(func(pid int) error {
			_, _, errno := syscall.Syscall6(unix.SYS_KCMP, uintptr(pid), uintptr(os.Getpid()), 1, 0, 0, 0)
			return errorOf(errno)
		})
	}
	attempts["steal-descriptor"] = func() (string, error) {
		return "", notSelf(func(pid int) error {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return err
			}
			_, err = unix.PidfdGetfd(fd, 0, 0)
			return err
		})
	}
	for name, path := range map[string]string{"root": "/proc/1/root/etc/passwd", "cwd": "/proc/1/cwd/etc/passwd"} {
		attempts["first-process-"+name] = func() (string, error) {
			return peek(path)
		}
	}
}

func errorOf(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// notSelf does something to the sandbox's first process.
func notSelf(do func(pid int) error) error { return do(1) }

// ptrace begins to trace, without a stop that would outlive this process.
func ptrace(pid int) error { return unix.PtraceSeize(pid) }

// vmAccess moves 16 bytes between this process and another, at an address that
// both may have.
func vmAccess(nr uintptr) func(pid int) error {
	return func(pid int) error {
		var local [16]byte
		here := [2]uintptr{uintptr(unsafe.Pointer(&local)), 16}
		there := [2]uintptr{0x400000, 16}
		_, _, errno := syscall.Syscall6(nr, uintptr(pid), uintptr(unsafe.Pointer(&here)), 1, uintptr(unsafe.Pointer(&there)), 1, 0)
		return errorOf(errno)
	}
}

// reachablePids asks for every number whether there is such a process, and
// lists those that /proc does not show.
func reachablePids(arg string) (any, error) {
	most, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	hidden := []int{}
	for pid := 1; pid <= most; pid++ {
		if err := syscall.Kill(pid, 0); err == syscall.ESRCH {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			hidden = append(hidden, pid)
		}
	}
	return hidden, nil
}

// killPid sends SIGKILL.
func killPid(arg string) (any, error) {
	pid, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	return nil, syscall.Kill(pid, syscall.SIGKILL)
}

// killAll sends SIGKILL to all that it may, and ends with them unless the
// kernel spares the caller.
func killAll(string) (any, error) {
	for pid := 1; pid < 70000; pid++ {
		if pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return nil, syscall.Kill(-1, syscall.SIGKILL)
}

// outside looks for a word, such as a path of the host's, in everything that
// /proc and /sys say and lists where it is.
func outside(word string) (any, error) {
	found := []string{}
	var paths []string
	for _, pattern := range []string{"/proc/*", "/proc/*/*", "/proc/self/net/*", "/proc/self/task/*/*", "/proc/sys/kernel/*", "/sys/*/*"} {
		matches, _ := filepath.Glob(pattern)
		paths = append(paths, matches...)
	}
	for _, path := range paths {
		if target, err := os.Readlink(path); err == nil && strings.Contains(target, word) {
			found = append(found, path)
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || strings.HasSuffix(path, "/kmsg") {
			continue
		}
		if skipped(path) {
			continue
		}
		text, err := read(path)
		// What this program was started with has the word in it.
		if err == nil && strings.Contains(text.(string), word) && !strings.HasSuffix(path, "/cmdline") {
			found = append(found, path)
		}
	}
	return found, nil
}

// skipped are files that never end or wait for events.
func skipped(path string) bool {
	name := filepath.Base(path)
	return name == "mem" || name == "pagemap" || name == "clear_refs" || name == "trace_pipe"
}

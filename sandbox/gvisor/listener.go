package gvisor

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refuseListeners makes this process, which is about to become a guest kernel,
// unable to install a seccomp filter with a listener: the call fails with EINVAL,
// as on kernels that do not have it.
//
// gVisor's systrap platform wakes its system call threads through such listeners
// where it can. A freeze interrupts the thread that waits in one, and after the
// thaw it waits again, having been counted twice; at the next receive the kernel
// finds nothing for the stale count and says ENOENT, which gVisor takes for the
// thread's end: it kills the function's process. Without listeners gVisor wakes
// those threads by futex, which a freeze leaves as it was.
func refuseListeners() error {
	// struct seccomp_data: the number at 0, the arguments of 8 bytes from 16 on.
	const number, flags = 0, 16 + 8
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SECCOMP, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("refuse seccomp listeners: %w", errno)
	}
	return nil
}

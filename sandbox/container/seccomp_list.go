package container

import (
	"strings"

	"golang.org/x/sys/unix"
)

// allowedCalls are what language runtimes and ordinary programs need. Names
// that an architecture does not have are left out there.
var allowedCalls = strings.Fields(`
	read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 sendfile splice tee vmsplice
	copy_file_range lseek readahead fadvise64 fallocate sync_file_range
	open openat openat2 creat close close_range dup dup2 dup3 fcntl flock pipe pipe2
	stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 getdents getdents64
	readlink readlinkat getcwd chdir fchdir rename renameat renameat2 mkdir mkdirat rmdir link linkat
	unlink unlinkat symlink symlinkat mknod mknodat truncate ftruncate fsync fdatasync syncfs
	chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat umask utime utimes utimensat futimesat
	getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr
	removexattr lremovexattr fremovexattr cachestat

	mmap munmap mprotect mremap madvise msync mincore brk mlock mlock2 munlock mlockall munlockall
	memfd_create pkey_alloc pkey_free pkey_mprotect membarrier map_shadow_stack mseal
	get_mempolicy set_mempolicy mbind

	fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill
	getpid getppid gettid getpgid getpgrp setpgid getsid setsid
	set_tid_address set_robust_list get_robust_list futex futex_waitv futex_wait futex_wake futex_requeue
	rseq arch_prctl prctl seccomp capget capset getrlimit setrlimit prlimit64 getrusage times
	sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler
	sched_setscheduler sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min
	sched_rr_get_interval getpriority setpriority ioprio_get ioprio_set getcpu
	pidfd_open pidfd_send_signal
	landlock_create_ruleset landlock_add_rule landlock_restrict_self

	getuid geteuid getgid getegid getresuid getresgid getgroups
	setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups

	rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigsuspend rt_sigreturn rt_sigqueueinfo
	rt_tgsigqueueinfo sigaltstack signalfd signalfd4 pause restart_syscall alarm getitimer setitimer

	time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep
	timer_create timer_settime timer_gettime timer_getoverrun timer_delete
	timerfd_create timerfd_settime timerfd_gettime

	select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old
	epoll_pwait epoll_pwait2 eventfd eventfd2 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch

	socketpair bind listen accept accept4 connect getsockname getpeername sendto recvfrom sendmsg recvmsg
	sendmmsg recvmmsg shutdown setsockopt getsockopt

	shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
	mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr

	uname sysinfo getrandom
`)

// forbiddenCalls fail with EPERM, as they do for anyone without privileges.
// Calls in no list fail with ENOSYS.
var forbiddenCalls = strings.Fields(`
	unshare setns mount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr
	statmount listmount open_by_handle_at name_to_handle_at quotactl quotactl_fd swapon swapoff acct
	bpf perf_event_open userfaultfd ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd
	kexec_load kexec_file_load init_module finit_module delete_module reboot syslog
	add_key request_key keyctl fanotify_init fanotify_mark lookup_dcookie
	settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname iopl ioperm vhangup
	migrate_pages move_pages set_mempolicy_home_node memfd_secret modify_ldt
`)

// ignoredCalls succeed and do nothing: sync would write back the whole machine.
var ignoredCalls = []string{"sync"}

// Terminal commands that put input into another process's terminal.
const (
	ioctlTIOCSTI   = 0x5412
	ioctlTIOCLINUX = 0x541c
)

// Namespaces that clone must not make. CLONE_NEWTIME is not among clone's flags.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// conditionalCalls are allowed for some arguments. clone3 is in no list: its
// flags are in memory, where a filter cannot look, and without it C libraries use clone.
var conditionalCalls = []rule{
	{call: "clone", arg: 0, refuseBits: newNamespaces, refusal: unix.EPERM},
	{call: "ioctl", arg: 1, not: []uint32{ioctlTIOCSTI, ioctlTIOCLINUX}, refusal: unix.EPERM},
	// Linux's own personality, and the question which one it is.
	{call: "personality", arg: 0, only: []uint32{0, 0xffffffff}, refusal: unix.EPERM},
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cStrings keeps what the kernel is given the addresses of.
var cStrings []*byte

// cString is the address of a C string.
func cString(s string) uintptr {
	p, _ := syscall.BytePtrFromString(s)
	cStrings = append(cStrings, p)
	return uintptr(unsafe.Pointer(p))
}

// room is memory for the kernel to write to; its address does not change.
var room [4096]byte

func roomAddress() uintptr { return uintptr(unsafe.Pointer(&room)) }

// raw makes an attempt of a system call whose arguments are as a privileged
// caller would give them, so that only a refusal can make it fail.
func raw(nr uintptr, args ...func() uintptr) attempt {
	return func() (string, error) {
		var a [6]uintptr
		for i, arg := range args {
			a[i] = arg()
		}
		_, _, errno := syscall.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return "", errno
		}
		return "", nil
	}
}

func n(value uintptr) func() uintptr { return func() uintptr { return value } }

func s(value string) func() uintptr { return func() uintptr { return cString(value) } }

// words puts numbers into memory.
func words(values ...uint64) func() uintptr {
	return func() uintptr { return uintptr(unsafe.Pointer(&values[0])) }
}

// Attempts at what only the machine's owner may ask of the kernel.
func init() {
	const everything = ^uintptr(0)
	mem := roomAddress
	attempts["init-module"] = raw(unix.SYS_INIT_MODULE, mem, n(4096), s(""))
	attempts["finit-module"] = func() (string, error) {
		f, err := os.Open("/proc/self/exe")
		if err != nil {
			return "open", err
		}
		return "", unix.FinitModule(int(f.Fd()), "", 0)
	}
	attempts["delete-module"] = raw(unix.SYS_DELETE_MODULE, s("erofs"), n(unix.O_NONBLOCK))
	attempts["kexec-load"] = raw(unix.SYS_KEXEC_LOAD, n(0), n(0), n(0), n(0))
	attempts["kexec-file-load"] = raw(unix.SYS_KEXEC_FILE_LOAD, n(everything), n(everything), n(0), n(0), n(4))
	// BPF_MAP_CREATE of an array with one element.
	attempts["bpf"] = raw(unix.SYS_BPF, n(0), words(4<<32|2, 1<<32|4, 0, 0, 0, 0, 0, 0, 0), n(72))
	attempts["perf-event-open"] = func() (string, error) {
		_, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK,
			Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}, 0, -1, -1, 0)
		return "", err
	}
	attempts["userfaultfd"] = raw(unix.SYS_USERFAULTFD, n(unix.O_CLOEXEC))
	attempts["io-uring"] = raw(unix.SYS_IO_URING_SETUP, n(4), func() uintptr { clear(room[:]); return mem() })
	attempts["keyctl"] = raw(unix.SYS_KEYCTL, n(0), n(everything-2), n(1)) // the session keyring
	attempts["add-key"] = raw(unix.SYS_ADD_KEY, s("user"), s("sandboxprobe"), mem, n(1), n(everything-2))
	attempts["request-key"] = raw(unix.SYS_REQUEST_KEY, s("user"), s("sandboxprobe"), n(0), n(0))
	attempts["syslog"] = raw(unix.SYS_SYSLOG, n(3), mem, n(4096))
	attempts["reboot"] = raw(unix.SYS_REBOOT, n(unix.LINUX_REBOOT_MAGIC1), n(unix.LINUX_REBOOT_MAGIC2), n(unix.LINUX_REBOOT_CMD_CAD_OFF), n(0))
	attempts["swapon"] = raw(unix.SYS_SWAPON, s("/tmp/swap"), n(0))
	attempts["swapoff"] = raw(unix.SYS_SWAPOFF, s("/tmp/swap"))
	attempts["acct"] = raw(unix.SYS_ACCT, n(0))
	attempts["quotactl"] = raw(unix.SYS_QUOTACTL, n(0x800001<<8), s("/dev/root"), n(0), n(0)) // Q_SYNC
	attempts["fanotify"] = raw(unix.SYS_FANOTIFY_INIT, n(0), n(0))
	attempts["lookup-dcookie"] = raw(unix.SYS_LOOKUP_DCOOKIE, n(1), mem, n(4096))
	attempts["vhangup"] = raw(unix.SYS_VHANGUP)
	attempts["memfd-secret"] = raw(unix.SYS_MEMFD_SECRET, n(0))
	attempts["process-madvise"] = raw(unix.SYS_PROCESS_MADVISE, n(everything), n(0), n(0), n(0), n(0))
	attempts["move-pages"] = raw(unix.SYS_MOVE_PAGES, n(1), n(0), n(0), n(0), n(0), n(0))
	attempts["name-to-handle"] = raw(unix.SYS_NAME_TO_HANDLE_AT, n(everything-99), s("/"), words(128, 0, 0), mem, n(0))

	attempts["settimeofday"] = raw(unix.SYS_SETTIMEOFDAY, words(1, 0), n(0))
	attempts["clock-settime"] = raw(unix.SYS_CLOCK_SETTIME, n(unix.CLOCK_REALTIME), words(1, 0))
	attempts["clock-adjtime"] = func() (string, error) {
		_, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, &unix.Timex{Modes: 1, Offset: 1000000}) // ADJ_OFFSET
		return "", err
	}
	attempts["sethostname"] = raw(unix.SYS_SETHOSTNAME, s("escaped"), n(7))
	attempts["setdomainname"] = raw(unix.SYS_SETDOMAINNAME, s("escaped"), n(7))
	attempts["personality"] = raw(unix.SYS_PERSONALITY, n(0x0440000)) // READ_IMPLIES_EXEC, ADDR_NO_RANDOMIZE

	attempts["setuid-root"] = raw(unix.SYS_SETRESUID, n(0), n(0), n(0))
	attempts["setgid-root"] = raw(unix.SYS_SETRESGID, n(0), n(0), n(0))
	attempts["setgroups"] = raw(unix.SYS_SETGROUPS, n(1), words(0))
	attempts["setuid-other"] = raw(unix.SYS_SETRESUID, n(1), n(1), n(1))
	attempts["capset"] = raw(unix.SYS_CAPSET, words(unix.LINUX_CAPABILITY_VERSION_3), words(1<<32|1, 1, 0)) // CAP_CHOWN
	attempts["ambient-capability"] = raw(unix.SYS_PRCTL, n(unix.PR_CAP_AMBIENT), n(unix.PR_CAP_AMBIENT_RAISE), n(unix.CAP_NET_RAW), n(0), n(0))
	attempts["raise-file-limit"] = raw(unix.SYS_PRLIMIT64, n(0), n(unix.RLIMIT_NOFILE), words(1<<19, 1<<19), n(0))
	attempts["raise-memory-lock"] = raw(unix.SYS_PRLIMIT64, n(0), n(unix.RLIMIT_MEMLOCK), words(1<<40, 1<<40), n(0))
	attempts["realtime-priority"] = raw(unix.SYS_SCHED_SETSCHEDULER, n(0), n(1), words(50)) // SCHED_FIFO
	attempts["higher-priority"] = raw(unix.SYS_SETPRIORITY, n(0), n(0), n(everything-19))
	attempts["lower-oom-score"] = func() (string, error) {
		return "", os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	}
	attempts["tiocsti"] = terminal(unix.TIOCSTI)
	attempts["tioclinux"] = terminal(unix.TIOCLINUX)
	attempts["tiocsctty"] = terminal(unix.TIOCSCTTY)
	// Addresses of the kernel's functions would help an exploit.
	attempts["kernel-addresses"] = func() (string, error) {
		data, err := os.ReadFile("/proc/kallsyms")
		if err != nil {
			return "", err
		}
		for line := range bytes.Lines(data) {
			if address, _, ok := bytes.Cut(line, []byte(" ")); ok && len(bytes.Trim(address, "0")) > 0 {
				return string(line), nil
			}
		}
		return "", syscall.ENODATA
	}
}

// terminal tries a command on whatever terminal there is.
func terminal(command uintptr) attempt {
	return func() (string, error) {
		paths, _ := filepath.Glob("/dev/pts/[0-9]*")
		var last error
		for _, path := range append(paths, "/dev/tty", "/dev/console", "/dev/ptmx", "/proc/self/fd/0", "/proc/self/fd/1") {
			f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				last = err
				continue
			}
			_, _, errno := syscall.Syscall(unix.SYS_IOCTL, f.Fd(), command, cString("x"))
			f.Close()
			if errno == 0 {
				return path, nil
			}
			last = errno
		}
		return "", last
	}
}

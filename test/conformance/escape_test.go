package conformance

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// escapeCases are about what only the machine's owner may do, and about other
// processes.
var escapeCases = append(attemptCases(escapeAttempts),
	testCase{"all attempts", "looks whether the tables have every attempt that the probe knows: they must", escapeComplete},
	testCase{"kill everything", "kills every pid from 1 to 70,000, then -1: neither another sandbox nor the host's processes of the same user notice", escapeKillAll},
	testCase{"kill a host process", "kills a process of its own user on the host by its number there: there is none", escapeKillHost},
	testCase{"host", "looks at the machine after all of that: settings, clock, mounts, interfaces, processes are as they were", escapeHost},
)

var escapeAttempts = slices.Concat(namespaceAttempts, processAttempts, kernelAttempts, deviceAttempts, socketAttempts, privilegeAttempts, archAttempts)

// In gVisor a function may make user namespaces; what it is root of is a part
// of its own kernel, see rewrite-code and the host case.
var namespaceAttempts = []attempt{
	forbid("clone-user", "starts a process in a user namespace").or("gvisor: worked"),
	forbid("unshare-user", "moves into a user namespace").or("gvisor: worked"),
	forbid("clone3-user", "starts one by clone3, whose flags no filter sees").or("gvisor: worked"),
	forbid("root-of-a-namespace", "becomes root of new namespaces and tries all else from there").or("gvisor: worked"),
	forbid("clone-mount", "starts a process in a mount namespace").or("gvisor: worked"),
	forbid("clone-pid", "starts a process in a pid namespace"),
	forbid("clone-network", "starts a process in a network namespace"),
	forbid("clone-ipc", "starts a process in an IPC namespace"),
	forbid("clone-uts", "starts a process in a UTS namespace"),
	forbid("clone-cgroup", "starts a process in a cgroup namespace").or("gvisor: EINVAL"),
	forbid("unshare-mount", "moves into a mount namespace"),
	forbid("unshare-pid", "moves its children into a pid namespace").or("gvisor: EINVAL"),
	forbid("unshare-network", "moves into a network namespace"),
	forbid("unshare-ipc", "moves into an IPC namespace"),
	forbid("unshare-uts", "moves into a UTS namespace"),
	forbid("unshare-cgroup", "moves into a cgroup namespace").or("gvisor: EINVAL"),
	forbid("setns-mnt", "enters the first process's mount namespace"),
	forbid("setns-pid", "enters the first process's pid namespace"),
	forbid("setns-net", "enters the first process's network namespace"),
	forbid("setns-ipc", "enters the first process's IPC namespace"),
	forbid("setns-uts", "enters the first process's UTS namespace"),
	forbid("setns-user", "enters the first process's user namespace").or("gvisor: EINVAL"),
	absent("setns-cgroup", "enters the first process's cgroup namespace"),
	forbid("setns-pidfd", "enters namespaces by a pidfd").or("gvisor: EINVAL"),
}

// In gVisor the first process is the function's own.
var processAttempts = []attempt{
	forbid("ptrace-first", "traces the first process"),
	forbid("read-first", "reads the first process's memory"),
	forbid("write-first", "writes to the first process's memory"),
	forbid("write-init-memory", "opens the first process's memory as a file"),
	forbid("steal-descriptor", "takes a descriptor from the first process"),
	forbid("kcmp", "compares kernel objects with the first process"),
	absent("open-init-environ", "reads the first process's environment").or("gvisor: worked"),
	absent("open-init-program", "opens the first process's program").or("gvisor: worked"),
	absent("open-init-descriptor", "opens the first process's files"),
	absent("open-init-maps", "reads the first process's memory map").or("gvisor: worked"),
	absent("first-process-root", "looks through the first process's root").or("gvisor: worked"),
	absent("first-process-cwd", "looks through the first process's directory").or("gvisor: worked"),
	forbid("move-pages", "moves the first process's memory"),
	forbid("process-madvise", "advises on the first process's memory"),
}

var kernelAttempts = []attempt{
	forbid("init-module", "loads a kernel module"),
	forbid("finit-module", "loads a kernel module from a file"),
	forbid("delete-module", "unloads a kernel module"),
	forbid("kexec-load", "loads another kernel"),
	forbid("kexec-file-load", "loads another kernel from a file"),
	forbid("bpf", "makes a BPF map"),
	forbid("perf-event-open", "opens a performance counter").or("gvisor: ENODEV"),
	forbid("userfaultfd", "handles page faults in user space"),
	forbid("io-uring", "makes an io_uring"),
	forbid("keyctl", "asks for its session keyring").or("gvisor: worked"),
	forbid("add-key", "adds a key"),
	forbid("request-key", "requests a key"),
	forbid("syslog", "reads the kernel's log").or("gvisor: worked"),
	forbid("reboot", "turns off Ctrl-Alt-Del"),
	forbid("swapon", "adds swap"),
	forbid("swapoff", "removes swap"),
	forbid("acct", "turns off accounting"),
	forbid("quotactl", "syncs quotas"),
	forbid("fanotify", "watches file systems by fanotify"),
	forbid("lookup-dcookie", "looks up a profiler's cookie"),
	forbid("memfd-secret", "makes secret memory"),
	forbid("settimeofday", "sets the clock"),
	forbid("clock-settime", "sets the clock by its newer call"),
	forbid("clock-adjtime", "adjusts the clock"),
	forbid("sethostname", "sets the host name"),
	forbid("setdomainname", "sets the domain name"),
	forbid("personality", "turns off address randomization").or("gvisor: EINVAL"),
	forbid("vhangup", "hangs up the terminal"),
	absent("kernel-addresses", "reads addresses of the kernel's functions"),
	absent("write-core-pattern", "sets the machine's core dump handler"),
	absent("write-modprobe", "sets the machine's module loader"),
	absent("write-hostname", "sets the host name by /proc"),
	absent("write-ip-forward", "turns on forwarding"),
	absent("write-sysrq", "writes to sysrq-trigger"),
	absent("write-drop-caches", "drops the machine's caches"),
	absent("write-uevent-helper", "sets the machine's uevent helper"),
	absent("write-binfmt", "registers a binary format"),
	absent("cgroup-release-agent", "sets a release agent of control groups"),
	absent("cgroup-join", "moves to another control group"),
	absent("cgroup-memory-limit", "raises its memory limit"),
}

// gVisor makes these devices up.
var deviceAttempts = []attempt{
	absent("open-memory", "opens /dev/mem"),
	absent("open-port", "opens /dev/port"),
	absent("open-kmsg", "opens /dev/kmsg"),
	absent("open-kcore", "reads /proc/kcore"),
	absent("open-kvm", "opens /dev/kvm"),
	absent("open-fuse", "uses /dev/fuse"),
	absent("open-tun", "uses /dev/net/tun").or("gvisor: EBADFD"),
	absent("open-loop-control", "opens /dev/loop-control"),
	absent("tiocsti", "puts input into a terminal").or("gvisor: ENOTTY"),
	absent("tioclinux", "pastes into a console").or("gvisor: ENOTTY"),
	absent("tiocsctty", "takes a controlling terminal").or("ENOTTY"),
}

var socketAttempts = []attempt{
	noFamily("raw-socket", "opens a raw socket"),
	noFamily("raw-icmp-socket", "opens a raw socket for ICMP"),
	noFamily("raw6-socket", "opens a raw socket for IPv6"),
	noFamily("packet-socket", "opens a packet socket"),
	noFamily("packet-datagram-socket", "opens a packet socket for datagrams"),
	noFamily("vsock-socket", "opens a socket to the hypervisor"),
	noFamily("alg-socket", "opens a socket to the kernel's cryptography"),
	noFamily("xdp-socket", "opens an XDP socket"),
	noFamily("bluetooth-socket", "opens a Bluetooth socket"),
	noFamily("key-socket", "opens a key management socket"),
	noFamily("can-socket", "opens a CAN socket"),
	noFamily("tipc-socket", "opens a TIPC socket"),
	noFamily("rds-socket", "opens an RDS socket"),
	noFamily("smc-socket", "opens an SMC socket"),
	noFamily("netlink-audit-socket", "speaks to the audit system"),
	noFamily("netlink-netfilter-socket", "speaks to the packet filter"),
	noFamily("netlink-generic-socket", "speaks generic netlink"),
	noFamily("netlink-xfrm-socket", "speaks to IPsec"),
	noFamily("netlink-uevent-socket", "listens to device events").or("gvisor: worked"),
	forbid("transparent-socket", "lets a socket use any source address").or("gvisor: worked"),
	forbid("socket-mark", "marks packets for routing"),
	forbid("add-route", "adds a route"),
}

var privilegeAttempts = []attempt{
	forbid("setuid-root", "becomes root"),
	forbid("setuid-other", "becomes another user"),
	forbid("setgid-root", "enters root's group"),
	forbid("setgroups", "enters further groups"),
	forbid("capset", "gives itself a capability"),
	forbid("ambient-capability", "raises an ambient capability"),
	forbid("raise-file-limit", "raises its limit of files"),
	forbid("raise-memory-lock", "raises its limit of locked memory"),
	forbid("realtime-priority", "asks for real-time scheduling").or("gvisor: EINVAL"),
	forbid("higher-priority", "raises its priority").or("gvisor: worked"),
	forbid("lower-oom-score", "protects itself from the kernel's out-of-memory killer").or("gvisor: worked"),
}

func escapeComplete(t *testing.T, s *stage) {
	known := knownAttempts()
	s.attempt(t, "bpf") // they were made
	for name := range s.outcomes {
		if !known[name] {
			t.Errorf("%s is in no table", name)
		}
	}
	if len(known) < 140 {
		t.Errorf("only %d attempts", len(known))
	}
}

func escapeKillAll(t *testing.T, s *stage) {
	bystander := hostProcess(t)
	other := s.start(t, s.spec(t, "tick=1ms"))
	other.next(t)
	x := s.start(t, s.spec(t, "killall"))
	// It ends itself too, where its kernel does not spare the caller.
	if exit := x.wait(t); exit.OOM {
		t.Errorf("%+v", exit)
	}
	if err := bystander.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the host's process: %v", err)
	}
	if state := processState(bystander.Pid); state == "Z" || state == "" {
		t.Errorf("the host's process is gone, state %q", state)
	}
	other.output.SetReadDeadline(time.Time{})
	for range 500 { // more than the pipe may hold
		other.next(t)
	}
}

// processState is the letter of /proc, "" for none.
func processState(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	return rest[:min(1, len(rest))]
}

func escapeKillHost(t *testing.T, s *stage) {
	bystander := hostProcess(t)
	if r := s.probe(t, fmt.Sprintf("kill=%d", bystander.Pid)); !strings.Contains(r.Error, "no such process") {
		t.Errorf("%s %s", r.Value, r.Error)
	}
	if state := processState(bystander.Pid); state != "S" {
		t.Errorf("the host's process has the state %q", state)
	}
}

func escapeHost(t *testing.T, s *stage) {
	s.attempt(t, "bpf") // they were made
	for _, d := range s.before.differences(lookAtHost(t)) {
		t.Error(d)
	}
	if off := wallClock(t).Sub(s.clock).Abs(); off > 2*time.Second {
		t.Errorf("the clock is off by %v", off)
	}
	if err := s.unchanged(); err != nil {
		t.Error(err)
	}
}

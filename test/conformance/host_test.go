package conformance

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostState is what an escape might change on the machine: what → how it is.
type hostState map[string]string

// kernelSettings are files that steer the machine's kernel.
var kernelSettings = []string{
	"kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "kernel/domainname", "kernel/sysrq",
	"kernel/panic", "kernel/randomize_va_space", "kernel/kptr_restrict", "kernel/dmesg_restrict", "kernel/yama/ptrace_scope",
	"kernel/unprivileged_bpf_disabled", "kernel/perf_event_paranoid", "kernel/modules_disabled", "vm/overcommit_memory",
	"vm/mmap_min_addr", "fs/protected_symlinks", "fs/suid_dumpable",
	"net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter", "net/ipv6/conf/all/forwarding",
}

// lookAtHost notes the machine's state as this process sees it.
func lookAtHost(t testing.TB) hostState {
	t.Helper()
	s := hostState{}
	for _, name := range kernelSettings {
		data, err := os.ReadFile("/proc/sys/" + name)
		if err == nil {
			s[name] = strings.TrimSpace(string(data))
		}
	}
	for _, path := range []string{"/proc/swaps", "/sys/kernel/uevent_helper", "/proc/sysvipc/shm", "/proc/sysvipc/msg", "/proc/sysvipc/sem"} {
		data, err := os.ReadFile(path)
		if err == nil {
			s[path] = string(data)
		}
	}
	agents, _ := filepath.Glob("/sys/fs/cgroup/*/release_agent")
	for _, path := range agents {
		data, _ := os.ReadFile(path)
		s[path] = string(data)
	}
	for _, m := range mountsHere(t) {
		s["mount on "+m.point] += m.line + "\n"
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		addresses, err := netlink.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			t.Fatal(err)
		}
		s["interface "+l.Attrs().Name] = fmt.Sprint(addresses)
	}
	return s
}

// mountHere is a mount in the suite's namespace.
type mountHere struct{ point, line string }

func mountsHere(t testing.TB) (found []mountHere) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 5 {
			found = append(found, mountHere{point: fields[4], line: strings.TrimSpace(line)})
		}
	}
	return found
}

// wallClock is when the machine started, by its wall clock: it stays the same
// unless that is set.
func wallClock(t testing.TB) time.Time {
	t.Helper()
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		t.Fatal(err)
	}
	return time.Now().Add(-time.Duration(up.Nano()))
}

// differences lists what is not as it was.
func (s hostState) differences(now hostState) []string {
	var found []string
	for _, what := range slices.Sorted(maps.Keys(s)) {
		if point, ok := strings.CutPrefix(what, "mount on "); ok && now[what] == "" {
			// Someone else on the machine may have deleted the mount point, and with
			// it our copy of the mount.
			if _, err := os.Lstat(point); err != nil {
				continue
			}
		}
		if now[what] != s[what] {
			found = append(found, fmt.Sprintf("%s was %q, is %q", what, s[what], now[what]))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(now)) {
		if _, ok := s[what]; !ok {
			found = append(found, what+" is new: "+now[what])
		}
	}
	return found
}

// hostProcess runs the probe on the host, as the user that sandboxes have.
func hostProcess(t testing.TB) *os.Process {
	t.Helper()
	p, err := os.StartProcess(probePath, []string{probePath, "sleep=1h"}, &os.ProcAttr{
		Files: []*os.File{nil, nil, nil},
		Sys: &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: testUID, Gid: testGID}, Pdeathsig: syscall.SIGKILL,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		p.Wait()
	})
	return p
}

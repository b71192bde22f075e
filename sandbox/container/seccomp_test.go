package container

import (
	"encoding/binary"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdictOf runs a filter on a call.
func verdictOf(t *testing.T, vm *bpf.VM, archID uint32, nr int, args ...uint64) uint32 {
	t.Helper()
	// The kernel's loads are in its own byte order, the VM's are big-endian;
	// every field is looked at as 32 bits.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[seccompNr:], uint32(nr))
	binary.BigEndian.PutUint32(data[seccompArch:], archID)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[seccompArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[seccompArgs+8*i+4:], uint32(a>>32))
	}
	v, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(v)
}

func filterVM(t *testing.T, info *arch.Info) *bpf.VM {
	t.Helper()
	raw, err := seccompFilter(info)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 4096 {
		t.Fatalf("%d instructions are more than the kernel takes", len(raw))
	}
	var prog []bpf.Instruction
	for _, r := range raw {
		prog = append(prog, r.Disassemble())
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d instructions", info.Name, len(raw))
	return vm
}

func TestSeccompVerdicts(t *testing.T) {
	eperm, enosys, nofamily := refuse(unix.EPERM), refuse(unix.ENOSYS), refuse(unix.EAFNOSUPPORT)
	for _, info := range []*arch.Info{arch.X86_64, arch.AARCH64} {
		vm := filterVM(t, info)
		for _, c := range []struct {
			call string
			args []uint64
			want uint32
		}{
			{"read", nil, verdictAllow}, {"execve", nil, verdictAllow}, {"wait4", nil, verdictAllow}, {"exit_group", nil, verdictAllow},
			{"futex", nil, verdictAllow}, {"mount", nil, eperm}, {"bpf", nil, eperm}, {"ptrace", nil, eperm}, {"setns", nil, eperm},
			{"clone3", nil, enosys}, {"io_uring_setup", nil, enosys}, {"sync", nil, refuse(0)}, {"io_submit", nil, enosys},
			{"clone", []uint64{unix.CLONE_VM | unix.CLONE_VFORK | 17}, verdictAllow},
			{"clone", []uint64{0x3d0f00}, verdictAllow}, // a thread
			{"clone", []uint64{unix.CLONE_NEWUSER | 17}, eperm},
			{"clone", []uint64{1<<40 | unix.CLONE_NEWNS}, eperm},
			{"ioctl", []uint64{0, 0x5401}, verdictAllow},
			{"ioctl", []uint64{0, ioctlTIOCSTI}, eperm},
			{"ioctl", []uint64{0, 1<<32 | ioctlTIOCSTI}, eperm}, // the kernel looks at 32 bits
			{"ioctl", []uint64{0, ioctlTIOCLINUX}, eperm},
			{"personality", []uint64{0}, verdictAllow},
			{"personality", []uint64{0xffffffff}, verdictAllow},
			{"personality", []uint64{0x0040000}, eperm},
			{"socket", []uint64{unix.AF_INET, 1, 0}, verdictAllow},
			{"socket", []uint64{unix.AF_INET6, 1, 0}, verdictAllow},
			{"socket", []uint64{unix.AF_UNIX, 1, 0}, verdictAllow},
			{"socket", []uint64{unix.AF_NETLINK, 3, unix.NETLINK_ROUTE}, verdictAllow},
			{"socket", []uint64{unix.AF_NETLINK, 3, unix.NETLINK_AUDIT}, nofamily},
			{"socket", []uint64{unix.AF_PACKET, 3, 0}, nofamily},
			{"socket", []uint64{unix.AF_VSOCK, 1, 0}, nofamily},
			{"socket", []uint64{unix.AF_ALG, 1, 0}, nofamily},
		} {
			if got := verdictOf(t, vm, uint32(info.ID), info.SyscallNames[c.call], c.args...); got != c.want {
				t.Errorf("%s: %s %x: %#x, want %#x", info.Name, c.call, c.args, got, c.want)
			}
		}
		if got := verdictOf(t, vm, uint32(info.ID), 100000); got != enosys {
			t.Errorf("%s: an unknown call: %#x", info.Name, got)
		}
		if got := verdictOf(t, vm, 0x40000003, 3); got != verdictKill {
			t.Errorf("%s: a call of 32-bit x86: %#x", info.Name, got)
		}
	}
	if got := verdictOf(t, filterVM(t, arch.X86_64), uint32(arch.X86_64.ID), x32Bit); got != enosys {
		t.Errorf("an x32 call: %#x", got)
	}
}

// A name with a typing error would silently not be allowed, or not be forbidden.
func TestSeccompNamesExist(t *testing.T) {
	seen := map[string]bool{"clone3": false}
	lists := [][]string{allowedCalls, forbiddenCalls, ignoredCalls, {"socket"}}
	for _, r := range conditionalCalls {
		lists = append(lists, []string{r.call})
	}
	for _, list := range lists {
		for _, name := range list {
			if seen[name] {
				t.Errorf("%s is in two lists", name)
			}
			seen[name] = true
			_, amd := arch.X86_64.SyscallNames[name]
			_, arm := arch.AARCH64.SyscallNames[name]
			if !amd && !arm {
				t.Errorf("%s is no call of any architecture", name)
			}
		}
	}
	if seen["clone3"] {
		t.Error("clone3 is in a list")
	}
}

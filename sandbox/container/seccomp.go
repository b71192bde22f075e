package container

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// seccompData are offsets in the kernel's struct seccomp_data.
const (
	seccompNr   = 0
	seccompArch = 4
	seccompArgs = 16
)

// x32Bit marks calls of the x32 ABI, which shares amd64's architecture number.
const x32Bit = 0x40000000

// verdicts of the filter.
const (
	verdictAllow = uint32(unix.SECCOMP_RET_ALLOW)
	verdictKill  = uint32(unix.SECCOMP_RET_KILL_PROCESS)
)

// refuse makes a call fail with an error.
func refuse(errno unix.Errno) uint32 { return uint32(unix.SECCOMP_RET_ERRNO) | uint32(errno) }

// rule is a call that depends on one 32-bit argument.
type rule struct {
	call string
	arg  uint32
	// An argument that has one of these bits is refused.
	refuseBits uint32
	// The argument must be one of these, if there are any,
	only []uint32
	// and none of these.
	not     []uint32
	refusal unix.Errno
}

// seccompFilter compiles the lists of seccomp_list.go for one architecture.
func seccompFilter(info *arch.Info) ([]bpf.RawInstruction, error) {
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: seccompArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: verdictKill},
		bpf.LoadAbsolute{Off: seccompNr, Size: 4},
	}
	if info.ID == arch.X86_64.ID {
		prog = append(prog,
			bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32Bit, SkipTrue: 1},
			bpf.RetConstant{Val: refuse(unix.ENOSYS)})
	}
	for _, r := range conditionalCalls {
		nr, ok := info.SyscallNames[r.call]
		if !ok {
			continue
		}
		body := r.compile()
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(nr), SkipTrue: uint8(len(body))})
		prog = append(prog, body...)
	}
	if nr, ok := info.SyscallNames["socket"]; ok {
		body := socketRule()
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(nr), SkipTrue: uint8(len(body))})
		prog = append(prog, body...)
	}
	prog = append(prog, membership(info, allowedCalls, verdictAllow)...)
	prog = append(prog, membership(info, forbiddenCalls, refuse(unix.EPERM))...)
	prog = append(prog, membership(info, ignoredCalls, refuse(0))...)
	// What is new or odd is absent, so that a C library takes its older way.
	prog = append(prog, bpf.RetConstant{Val: refuse(unix.ENOSYS)})
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return nil, fmt.Errorf("assemble seccomp filter: %w", err)
	}
	return raw, nil
}

// membership returns verdict for the calls of a list; the accumulator holds the
// number. Neighbouring numbers become one range.
func membership(info *arch.Info, names []string, verdict uint32) []bpf.Instruction {
	var numbers []int
	for _, name := range names {
		if nr, ok := info.SyscallNames[name]; ok {
			numbers = append(numbers, nr)
		}
	}
	slices.Sort(numbers)
	var prog []bpf.Instruction
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] <= numbers[j]+1 {
			j++
		}
		from, to := uint32(numbers[i]), uint32(numbers[j])
		prog = append(prog,
			bpf.JumpIf{Cond: bpf.JumpLessThan, Val: from, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: to, SkipTrue: 1},
			bpf.RetConstant{Val: verdict})
		i = j + 1
	}
	return prog
}

// loadArg loads the low half of an argument: what the kernel looks at where the
// parameter is an int. For clone's flags, which are a long, the high half has
// no meaning.
func loadArg(arg uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: seccompArgs + 8*arg, Size: 4} }

// compile makes the instructions that decide on the call.
func (r rule) compile() []bpf.Instruction {
	prog := []bpf.Instruction{loadArg(r.arg)}
	if r.refuseBits != 0 {
		prog = append(prog,
			bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: r.refuseBits, SkipTrue: 1},
			bpf.RetConstant{Val: refuse(r.refusal)})
	}
	for _, value := range r.not {
		prog = append(prog,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: value, SkipTrue: 1},
			bpf.RetConstant{Val: refuse(r.refusal)})
	}
	for _, value := range r.only {
		prog = append(prog,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: value, SkipTrue: 1},
			bpf.RetConstant{Val: verdictAllow})
	}
	if len(r.only) > 0 {
		return append(prog, bpf.RetConstant{Val: refuse(r.refusal)})
	}
	return append(prog, bpf.RetConstant{Val: verdictAllow})
}

// socketRule lets through Internet and local sockets, and of netlink the
// routing protocol, which C libraries use to list addresses.
func socketRule() []bpf.Instruction {
	return []bpf.Instruction{
		loadArg(0),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_UNIX, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.AF_NETLINK, SkipTrue: 3},
		loadArg(2),
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.NETLINK_ROUTE, SkipTrue: 1},
		bpf.RetConstant{Val: verdictAllow},
		bpf.RetConstant{Val: refuse(unix.EAFNOSUPPORT)},
	}
}

// seccompBytes is the filter as the kernel's array of struct sock_filter.
func seccompBytes(prog []bpf.RawInstruction) []byte {
	var b []byte
	for _, i := range prog {
		b = binary.LittleEndian.AppendUint16(b, i.Op)
		b = append(b, i.Jt, i.Jf)
		b = binary.LittleEndian.AppendUint32(b, i.K)
	}
	return b
}

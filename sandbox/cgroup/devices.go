package cgroup

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// device is a character device; minor -1 is every one.
type device struct{ major, minor int32 }

// String is the device in the words of v1's devices.allow.
func (d device) String() string {
	if d.minor < 0 {
		return fmt.Sprintf("c %d:* rw", d.major)
	}
	return fmt.Sprintf("c %d:%d rw", d.major, d.minor)
}

// basicDevices have no power over the machine. Making nodes is not part of it.
var basicDevices = []device{
	{1, 3},    // null
	{1, 5},    // zero
	{1, 7},    // full
	{1, 8},    // random
	{1, 9},    // urandom
	{5, 0},    // tty
	{5, 2},    // ptmx
	{136, -1}, // pts
}

// Fields and values of the kernel's struct bpf_cgroup_dev_ctx.
const (
	devCtxType  = 0 // low half: device type, high half: access
	devCtxMajor = 4
	devCtxMinor = 8

	devTypeChar    = 2
	devAccessMknod = 1
)

// denyDevices attaches a filter to a v2 group that lets through the basic devices only.
func denyDevices(dir string) error {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "kiln_devices", Type: ebpf.CGroupDevice, License: "Apache-2.0", Instructions: deviceFilter(),
	})
	if err != nil {
		return fmt.Errorf("load device filter: %w", err)
	}
	group, err := os.Open(dir)
	if err != nil {
		return errors.Join(err, program.Close())
	}
	// The group keeps the filter until it is removed.
	err = link.RawAttachProgram(link.RawAttachProgramOptions{
		Target: int(group.Fd()), Program: program, Attach: ebpf.AttachCGroupDevice,
	})
	return errors.Join(err, group.Close(), program.Close())
}

// deviceFilter is the program: 1 allows the access, 0 denies it.
func deviceFilter() asm.Instructions {
	filter := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, devCtxType, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.And.Imm(asm.R2, 0xffff),
		asm.RSh.Imm(asm.R3, 16),
		asm.LoadMem(asm.R4, asm.R1, devCtxMajor, asm.Word),
		asm.LoadMem(asm.R5, asm.R1, devCtxMinor, asm.Word),
		asm.JNE.Imm(asm.R2, devTypeChar, "deny"),
		asm.And.Imm(asm.R3, devAccessMknod),
		asm.JNE.Imm(asm.R3, 0, "deny"),
	}
	for i, d := range basicDevices {
		next := fmt.Sprintf("next%d", i)
		if d.minor < 0 {
			filter = append(filter, asm.JEq.Imm(asm.R4, d.major, "allow"))
			continue
		}
		filter = append(filter,
			asm.JNE.Imm(asm.R4, d.major, next),
			asm.JEq.Imm(asm.R5, d.minor, "allow"),
			asm.Mov.Imm(asm.R0, 0).WithSymbol(next),
		)
	}
	return append(filter,
		asm.Mov.Imm(asm.R0, 0).WithSymbol("deny"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("allow"),
		asm.Return(),
	)
}

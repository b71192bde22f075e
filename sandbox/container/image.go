package container

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A sandbox's first process is not this binary. Executing it again would cost
// the package initialization of everything linked in, some 10 MB of memory for
// as long as the sandbox lives, and would hand the function a link to it in
// /proc/1/exe. Instead every sandbox gets a program image of its own, made in
// memory: some 300 bytes of code (init_amd64.s, init_arm64.s) that carry out
// the table of system calls beside them and then wait for children, as a first
// process must. The table is composed here, in Go; the code does not know what
// it does. It takes the place of a helper binary and of its build.
//
// The image is an ELF file with two segments: code, and data that begins with
// a header, the table of steps, and the strings and structures that the steps
// point to.

// Where things are in the image; layout.h has the same numbers.
const (
	textBase   = 0x400000
	dataBase   = 0x10000000
	pageOffset = 0x10000 // file offset of the data segment, aligned for any page size
	headerSize = 64
	stepSize   = 64
	blobOffset = 0x8000 // of the strings, from the data segment's start
	maxSteps   = (blobOffset - headerSize) / stepSize

	headerKind = 0

	statusFD = 3
	goFD     = 4
	firstFD  = 5 // of the descriptors that only the steps use

	messageSize    = 16
	messageStarted = 1
	messageExited  = 2
	messageReady   = 3 // written by an ordinary step
	// A greater kind is the address after the step that failed.
)

// mode says what a step's result means to the init.
type mode uint64

const (
	mustSucceed mode = 0
	optional    mode = 1 // the result does not matter
	fork        mode = 2 // the child goes on with the next step, the parent waits for it
	needsData   mode = 3 // 0 is a failure: a read at the end of the file
)

// step is one system call.
type step struct {
	what string // for the error message: "mount /proc"
	nr   uintptr
	args [6]uintptr
	mode mode
}

// image collects steps and what they point to.
type image struct {
	steps []step
	blob  []byte
}

// call adds a step that must succeed.
func (m *image) call(what string, nr uintptr, args ...uintptr) { m.add(mustSucceed, what, nr, args...) }

func (m *image) add(mode mode, what string, nr uintptr, args ...uintptr) {
	s := step{what: what, nr: nr, mode: mode}
	copy(s.args[:], args)
	m.steps = append(m.steps, s)
}

// bytes puts data into the image and returns its address there.
func (m *image) bytes(data []byte) uintptr {
	address := dataBase + blobOffset + uintptr(len(m.blob))
	m.blob = append(m.blob, data...)
	for len(m.blob)%8 != 0 {
		m.blob = append(m.blob, 0)
	}
	return address
}

// str puts a C string into the image.
func (m *image) str(s string) uintptr { return m.bytes(append([]byte(s), 0)) }

// words puts an array of 64-bit words into the image.
func (m *image) words(values ...uint64) uintptr {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, v)
	}
	return m.bytes(data)
}

// strings puts a NULL-terminated array of C strings into the image.
func (m *image) strings(list []string) uintptr {
	var pointers []uint64
	for _, s := range list {
		pointers = append(pointers, uint64(m.str(s)))
	}
	return m.words(append(pointers, 0)...)
}

// failed finds the step behind a message's kind.
func (m *image) failed(kind uint64) (step, bool) {
	i := int64(kind) - dataBase - headerSize - stepSize
	if i < 0 || i%stepSize != 0 || i/stepSize >= int64(len(m.steps)) {
		return step{}, false
	}
	return m.steps[i/stepSize], true
}

// machines are the ELF names of the architectures.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// encode lays the image out: the parts of the file and their offsets.
func (m *image) encode(code []byte, machine elf.Machine) (text, data []byte, err error) {
	if len(m.steps) > maxSteps {
		return nil, nil, fmt.Errorf("%d steps do not fit into the image", len(m.steps))
	}
	data = make([]byte, headerSize, blobOffset+len(m.blob))
	for _, s := range m.steps {
		data = binary.LittleEndian.AppendUint64(data, uint64(s.nr))
		for _, a := range s.args {
			data = binary.LittleEndian.AppendUint64(data, uint64(a))
		}
		data = binary.LittleEndian.AppendUint64(data, uint64(s.mode))
	}
	data = append(data[:blobOffset], m.blob...)

	type program = elf.Prog64
	segments := []program{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: textBase, Paddr: textBase, Align: pageOffset},
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: pageOffset, Vaddr: dataBase, Paddr: dataBase,
			Filesz: uint64(len(data)), Memsz: uint64(len(data)), Align: pageOffset},
		{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)},
	}
	header := elf.Header64{
		Ident:   [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(machine),
		Version: uint32(elf.EV_CURRENT),
		Phoff:   uint64(binary.Size(elf.Header64{})),
		Ehsize:  uint16(binary.Size(elf.Header64{})), Phentsize: uint16(binary.Size(program{})), Phnum: uint16(len(segments)),
	}
	start := header.Phoff + uint64(len(segments))*uint64(header.Phentsize)
	header.Entry = textBase + start
	segments[0].Filesz, segments[0].Memsz = start+uint64(len(code)), start+uint64(len(code))

	var b bytes.Buffer
	err = errors.Join(binary.Write(&b, binary.LittleEndian, header), binary.Write(&b, binary.LittleEndian, segments))
	b.Write(code)
	return b.Bytes(), data, err
}

// file writes the image into an executable file that lives in memory only and
// can no longer be changed by anybody, the sandbox included.
func (m *image) file(code []byte, machine elf.Machine) (*os.File, error) {
	text, data, err := m.encode(code, machine)
	if err != nil {
		return nil, err
	}
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("kiln-init", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before 6.3 every one was executable
		fd, err = unix.MemfdCreate("kiln-init", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("create the init's image: %w", err)
	}
	f := os.NewFile(uintptr(fd), "kiln-init")
	_, err = f.WriteAt(text, 0)
	if err == nil {
		_, err = f.WriteAt(data, pageOffset)
	}
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS,
			unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write the init's image: %w", err)
	}
	return f, nil
}

// initCode is the assembly program. It is not to be called.
func initCode() //nolint:unused // vet wants it beside the assembly

// initCodeAddress is where initCode begins.
var initCodeAddress uintptr

// endMark follows the program's last instruction.
var endMark = []byte("kilnend\x00")

// maxCode bounds the search for the end mark.
const maxCode = 1024

// machineCode copies the program out of this process's own text.
func machineCode() []byte {
	text := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&initCodeAddress))), maxCode)
	for i := range text {
		if text[i] == endMark[0] && bytes.HasPrefix(text[i:], endMark) {
			return bytes.Clone(text[:i])
		}
	}
	return nil // the test of the image forbids it
}

// message is what the init writes on its status descriptor.
type message struct {
	kind, value uint64
}

func (m message) encode() []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, m.kind), m.value)
}

func decodeMessage(b [messageSize]byte) message {
	return message{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}
}

// waitStatus is the value of an exit message.
func (m message) waitStatus() syscall.WaitStatus { return syscall.WaitStatus(uint32(m.value)) }

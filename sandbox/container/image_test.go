package container

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The init programs and the Go code must agree on numbers.
func TestLayoutAgrees(t *testing.T) {
	data, err := os.ReadFile("layout.h")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+)\t+(\w+)$`).FindAllStringSubmatch(string(data), -1) {
		if got[m[1]], err = strconv.ParseUint(m[2], 0, 64); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]uint64{
		"DATA_BASE": dataBase, "HEADER_SIZE": headerSize, "STEP_SIZE": stepSize, "HEADER_KIND": headerKind,
		"MODE_OPTIONAL": uint64(optional), "MODE_FORK": uint64(fork), "MODE_DATA": uint64(needsData),
		"MESSAGE_SIZE": messageSize, "MESSAGE_STARTED": messageStarted, "MESSAGE_EXITED": messageExited, "STATUS_FD": statusFD,
		"END_LOW": uint64(binary.LittleEndian.Uint32(endMark)), "END_HIGH": uint64(binary.LittleEndian.Uint32(endMark[4:])),
	} {
		if g, ok := got[name]; !ok || g != want {
			t.Errorf("%s is %#x in layout.h, %#x here", name, g, want)
		}
	}
}

func TestMachineCode(t *testing.T) {
	code := machineCode()
	if len(code) < 100 || len(code) > 800 {
		t.Fatalf("the program has %d bytes", len(code))
	}
	t.Logf("%d bytes", len(code))
}

func TestImageIsAnELFFile(t *testing.T) {
	var m image
	m.call("one", 1, m.str("hello"), m.strings([]string{"a", "bc"}))
	text, data, err := m.encode([]byte("code"), elf.EM_X86_64)
	if err != nil {
		t.Fatal(err)
	}
	file := append(append(text, make([]byte, pageOffset-len(text))...), data...)
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Progs) != 3 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		t.Errorf("%+v", f.FileHeader)
	}
	for _, p := range f.Progs {
		if p.Flags&elf.PF_W != 0 && p.Flags&elf.PF_X != 0 {
			t.Errorf("a segment is writable and executable: %+v", p.ProgHeader)
		}
	}
	start := f.Entry - textBase
	if string(text[start:]) != "code" {
		t.Errorf("the entry point is at %q", text[start:])
	}
	at := func(address uint64) []byte { return data[address-dataBase:] }
	word := func(address uint64) uint64 { return binary.LittleEndian.Uint64(at(address)) }
	steps := uint64(dataBase + headerSize)
	if word(steps) != 1 || !bytes.HasPrefix(at(word(steps+8)), []byte("hello\x00")) {
		t.Error("the step does not lead to its string")
	}
	list := word(steps + 16)
	if !bytes.HasPrefix(at(word(list)), []byte("a\x00")) || !bytes.HasPrefix(at(word(list+8)), []byte("bc\x00")) || word(list+16) != 0 {
		t.Error("the array does not lead to its strings")
	}
	if s, ok := m.failed(steps + stepSize); !ok || s.what != "one" {
		t.Errorf("the failed step: %+v, %v", s, ok)
	}
	for _, kind := range []uint64{0, steps, steps + 1, steps + 2*stepSize, ^uint64(0)} {
		if _, ok := m.failed(kind); ok {
			t.Errorf("%#x names a step", kind)
		}
	}
	m.steps = make([]step, maxSteps+1)
	if _, _, err := m.encode(nil, elf.EM_X86_64); err == nil {
		t.Error("too many steps fit")
	}
}

// The init for the other architecture runs where an emulator for user programs
// is installed: the interpreter, fork, reaping and the messages.
func TestInitUnderEmulation(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("cross-tests arm64 from amd64")
	}
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		if qemu, err = exec.LookPath("qemu-aarch64"); err != nil {
			t.Skip("no emulator")
		}
	}
	code := crossCode(t, "arm64")
	// The numbers are arm64's.
	const sysWrite, sysRead, sysClone, sysExit, sysGetpid = 64, 63, 220, 94, 172
	run := func(m *image) []message {
		t.Helper()
		text, data, err := m.encode(code, elf.EM_AARCH64)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "init")
		if err := os.WriteFile(path, append(append(text, make([]byte, pageOffset-len(text))...), data...), 0o755); err != nil {
			t.Fatal(err)
		}
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(qemu, path)
		cmd.ExtraFiles = []*os.File{write}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		write.Close()
		defer read.Close()
		var messages []message
		var buf [messageSize]byte
		for {
			if n, err := read.Read(buf[:]); err != nil || n != messageSize {
				break
			}
			messages = append(messages, decodeMessage(buf))
		}
		cmd.Wait()
		return messages
	}

	var good image
	good.add(optional, "fails and may", sysWrite, 99, 0, 0)
	good.call("report", sysWrite, statusFD, good.bytes(message{kind: messageReady}.encode()), messageSize)
	good.add(fork, "fork", sysClone, uintptr(unix.SIGCHLD))
	good.call("child", sysGetpid)
	good.call("exit", sysExit, 7)
	got := run(&good)
	if len(got) != 3 || got[0].kind != messageReady || got[1].kind != messageStarted || got[1].value == 0 ||
		got[2].kind != messageExited || got[2].waitStatus().ExitStatus() != 7 {
		t.Errorf("messages %+v", got)
	}

	var bad image
	bad.call("good", sysGetpid)
	bad.call("bad", sysWrite, 99, 0, 0)
	got = run(&bad)
	if len(got) != 1 || got[0].value != uint64(unix.EBADF) {
		t.Fatalf("messages %+v", got)
	}
	if s, ok := bad.failed(got[0].kind); !ok || s.what != "bad" {
		t.Errorf("the step that failed: %+v", s)
	}

	var eof image
	eof.add(needsData, "read", sysRead, 0, eof.bytes(make([]byte, 8)), 1)
	if got = run(&eof); len(got) != 1 || got[0].value != 0 {
		t.Errorf("messages %+v", got)
	}
}

// crossCode takes the init's bytes out of a binary built for another architecture.
func crossCode(t *testing.T, goarch string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "test")
	build := exec.Command("go", "test", "-c", "-o", out, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+goarch)
	if msg, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	f, err := elf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if strings.Contains(s.Name, "/container.initCode") && s.Size > 100 {
			start := s.Value - f.Section(".text").Addr
			end := bytes.Index(text[start:], endMark)
			return text[start : start+uint64(end)]
		}
	}
	t.Fatal("the program is not in the binary")
	return nil
}

package gvisor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	_ "unsafe" // for go:linkname

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/seccomp"
	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	"gvisor.dev/gvisor/pkg/sentry/platform"
	_ "gvisor.dev/gvisor/pkg/sentry/platform/systrap" // registers the platform
	sentryfilter "gvisor.dev/gvisor/runsc/boot/filter"
	sentryrules "gvisor.dev/gvisor/runsc/boot/filter/config"
	"gvisor.dev/gvisor/runsc/config"
	goferfilter "gvisor.dev/gvisor/runsc/fsgofer/filter"
	goferrules "gvisor.dev/gvisor/runsc/fsgofer/filter/config"
)

// gVisor compiles the system call filters of its own processes at every start
// (16 ms of processor time a sandbox) unless its build generated them; the Go
// module does not. So the back end compiles them once and hands the result to
// every process it starts, in a memory file. Nothing can be stale that way,
// whatever the version and the architecture. A process that finds no filter
// for its exact options compiles its own, as before.
//
// The registry and the rules are not exported, hence the linknames.

//go:linkname sentryPrograms gvisor.dev/gvisor/runsc/boot/filter.precompiledPrograms
var sentryPrograms map[string]precompiledseccomp.Program

//go:linkname goferPrograms gvisor.dev/gvisor/runsc/fsgofer/filter.precompiledPrograms
var goferPrograms map[string]precompiledseccomp.Program

//go:linkname sentryRules gvisor.dev/gvisor/runsc/boot/filter/config.rules
func sentryRules(sentryrules.Options, precompiledseccomp.Values) (allow, deny seccomp.SyscallRules)

//go:linkname goferRules gvisor.dev/gvisor/runsc/fsgofer/filter/config.rules
func goferRules(goferrules.Options, precompiledseccomp.Values) (allow, deny seccomp.SyscallRules)

// filterFlag, as the first argument, names the descriptor of the memory file.
const filterFlag = "--kiln-filters-fd="

// sentryOptions are what a guest kernel started with our flags asks for.
func sentryOptions() (sentryrules.Options, error) {
	systrap, err := platform.Lookup(platformName)
	if err != nil {
		return sentryrules.Options{}, err
	}
	return sentryrules.Options{
		Platform:       systrap.PrecompiledSeccompInfo()[0],
		HostFilesystem: true,
		CgoEnabled:     config.CgoEnabled,
	}, nil
}

// compileFilters returns the filters of the guest kernel and of the file server.
func compileFilters() ([]precompiledseccomp.Program, error) {
	sentry, err := sentryOptions()
	if err != nil {
		return nil, err
	}
	gofer := goferrules.Options{DirectFS: true, CgoEnabled: config.CgoEnabled}
	program := func(allow, deny seccomp.SyscallRules, options seccomp.ProgramOptions) *seccomp.Program {
		return &seccomp.Program{
			RuleSets: []seccomp.RuleSet{{Rules: deny.Copy()}, {Rules: allow.Copy(), Action: seccomp.Allow}},
			Options:  options,
		}
	}
	sentryProgram, err := precompiledseccomp.Precompile(sentry.ConfigKey(), names(sentry.Vars()),
		func(v precompiledseccomp.Values) *seccomp.Program {
			allow, deny := sentryRules(sentry, v)
			return program(allow, deny, sentryrules.SeccompOptions(sentry))
		})
	if err != nil {
		return nil, fmt.Errorf("compile the guest kernel's filter: %w", err)
	}
	goferProgram, err := precompiledseccomp.Precompile(gofer.ConfigKey(), names(gofer.Vars()),
		func(v precompiledseccomp.Values) *seccomp.Program {
			allow, deny := goferRules(gofer, v)
			return program(allow, deny, seccomp.ProgramOptions{})
		})
	if err != nil {
		return nil, fmt.Errorf("compile the file server's filter: %w", err)
	}
	return []precompiledseccomp.Program{sentryProgram, goferProgram}, nil
}

func names(values precompiledseccomp.Values) []string {
	var list []string
	for name := range values {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// newFilterFile compiles the filters into a memory file that nobody can change.
func newFilterFile() (*os.File, error) {
	var programs []precompiledseccomp.Program
	// An executable with cgo, a test's with the race detector say, would compile
	// filters that only itself could use, and it cannot host gVisor.
	if !config.CgoEnabled {
		var err error
		if programs, err = compileFilters(); err != nil {
			return nil, err
		}
	}
	return sealedFile("kiln-filters", encodeFilters(programs))
}

// adoptFilters takes the filters that the parent passed and strips the
// argument. A process without any goes on and compiles its own.
func adoptFilters() {
	if len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], filterFlag) {
		return
	}
	fd, err := strconv.Atoi(strings.TrimPrefix(os.Args[1], filterFlag))
	os.Args = slices.Delete(os.Args, 1, 2)
	if err != nil {
		return
	}
	file := os.NewFile(uintptr(fd), "filters")
	// Another process reads through the same description: no shared offset.
	data, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<24))
	file.Close()
	if err != nil {
		return
	}
	programs, err := decodeFilters(data)
	if err != nil {
		return
	}
	// The first look-up makes the registries.
	sentryfilter.GetPrecompiled("")
	goferfilter.GetPrecompiled("")
	for _, p := range programs {
		// The keys of the two do not overlap: their options differ in name.
		sentryPrograms[p.Name] = p
		goferPrograms[p.Name] = p
	}
}

// encodeFilters writes programs as strings and numbers, each list after its length.
func encodeFilters(programs []precompiledseccomp.Program) []byte {
	var b []byte
	number := func(n int) { b = binary.LittleEndian.AppendUint32(b, uint32(n)) }
	text := func(s string) { number(len(s)); b = append(b, s...) }
	number(len(programs))
	for _, p := range programs {
		text(p.Name)
		number(len(p.Bytecode32))
		for _, word := range p.Bytecode32 {
			b = binary.LittleEndian.AppendUint32(b, word)
		}
		number(len(p.VarOffsets))
		for name, offsets := range p.VarOffsets {
			text(name)
			number(len(offsets))
			for _, offset := range offsets {
				number(offset)
			}
		}
	}
	return b
}

func decodeFilters(data []byte) (programs []precompiledseccomp.Program, err error) {
	r := bytes.NewReader(data)
	number := func() int {
		var word [4]byte
		if _, e := io.ReadFull(r, word[:]); e != nil && err == nil {
			err = fmt.Errorf("decode filters: %w", e)
		}
		return int(binary.LittleEndian.Uint32(word[:]))
	}
	length := func() int {
		n := number()
		if n > r.Len() {
			err = fmt.Errorf("decode filters: a list of %d in %d bytes", n, r.Len())
			return 0
		}
		return n
	}
	text := func() string {
		s := make([]byte, length())
		_, _ = r.Read(s) // length has seen that they are there
		return string(s)
	}
	for range length() {
		p := precompiledseccomp.Program{Name: text(), VarOffsets: map[string][]int{}}
		for range length() {
			p.Bytecode32 = append(p.Bytecode32, uint32(number()))
		}
		for range length() {
			name := text()
			p.VarOffsets[name] = nil
			for range length() {
				p.VarOffsets[name] = append(p.VarOffsets[name], number())
			}
		}
		programs = append(programs, p)
	}
	return programs, err
}

// memoryFile makes an anonymous file with the given content.
func memoryFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // kernels before 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), name)
	if _, err := file.Write(content); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// sealedFile is a memoryFile that nobody can change any more.
func sealedFile(name string, content []byte) (*os.File, error) {
	file, err := memoryFile(name, content)
	if err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		file.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	return file, nil
}

package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/runsc/boot"

	"kiln/sandbox"
	"kiln/sandbox/cgroup"
)

// Create implements sandbox.Backend: it starts the two processes and returns
// when the guest kernel is up and has its network.
func (b *Backend) Create(ctx context.Context, spec sandbox.Spec) (_ sandbox.Sandbox, err error) {
	if err := validate(&spec); err != nil {
		return nil, err
	}
	s := &Sandbox{
		backend: b, id: spec.ID, limits: spec.Limits, entry: spec.Process.Args[0],
		control: clientOf(b, spec.ID), exited: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("create sandbox %s: %w", spec.ID, err), s.Destroy(context.WithoutCancel(ctx)))
		}
	}()
	// No processor quota yet: the guest kernel's own start would crawl under a small one.
	limits := cgroup.Limits{
		MemoryBytes: spec.Limits.MemoryBytes + overhead(spec.Limits.MemoryBytes),
		Pids:        hostTasks(spec.Limits.Processes),
		DenyDevices: true,
	}
	if s.group, err = b.groups.Create(spec.ID, limits); err != nil {
		return nil, err
	}
	booted, err := s.launch(&spec)
	if err != nil {
		return nil, err
	}
	defer booted.Close()
	// While the kernel boots.
	if s.network, err = takeNetwork(spec.Network); err != nil {
		return nil, err
	}
	if err := s.awaitBoot(ctx, booted); err != nil {
		return nil, err
	}
	conn, err := s.control.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	args := &s.network.args
	if _, err := conn.call(ctx, boot.ContMgrSetNetworkArgs, args, args.Files, nil); err != nil {
		return nil, err
	}
	s.network.sent()
	files, err := conn.call(ctx, boot.UsageUsageFD, &control.MemoryUsageFileOpts{Version: 1}, nil, nil)
	if err != nil {
		return nil, err
	}
	if len(files) != 2 {
		closeAll(files)
		return nil, fmt.Errorf("the guest kernel sent %d memory files instead of 2", len(files))
	}
	files[0].Close() // its statistics
	s.memory = files[1]
	return s, nil
}

func clientOf(b *Backend, id string) client { return client{dir: b.dir, name: id + ".sock"} }

// launch starts the file server and the guest kernel. The file it returns gets
// one byte when the kernel is up and ends when the process does.
func (s *Sandbox) launch(spec *sandbox.Spec) (booted *os.File, err error) {
	b := s.backend
	var mine []*os.File // closed when the processes have their copies
	defer func() { closeAll(mine) }()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	mine = append(mine, null)
	if s.messages, err = memoryFile("messages", nil); err != nil {
		return nil, err
	}
	socket, err := s.control.listen()
	if err != nil {
		return nil, err
	}
	s.listens = true
	mine = append(mine, socket)
	guest := guestSpec(spec)
	specFile, err := specFiles(guest)
	if err != nil {
		return nil, err
	}
	mine = append(mine, specFile[:]...)
	kernelEnds, serverEnds, err := socketPairs(1 + len(spec.Mounts))
	if err != nil {
		return nil, err
	}
	mine = append(append(mine, kernelEnds...), serverEnds...)
	// The file server asks its parent to open what it cannot; ours can open everything.
	unasked, answers, err := socketPairs(1)
	if err != nil {
		return nil, err
	}
	mine = append(append(mine, unasked...), answers...)
	booted, bootedKernel, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	mine = append(mine, bootedKernel)
	var debug [2]*os.File
	if b.cfg.DebugDir != "" {
		for i, name := range []string{"gofer", "sentry"} {
			if debug[i], err = os.Create(filepath.Join(b.cfg.DebugDir, s.id+"."+name+".log")); err != nil {
				booted.Close()
				return nil, err
			}
			mine = append(mine, debug[i])
		}
	}

	flags, confs := b.guestFlags(spec), mountConfs(len(spec.Mounts))
	// The kernel first: the server has the time until Start.
	sentry := b.newCommand(sentryName, "boot", flags, null, s.messages, debug[1])
	sentry.argv = append(sentry.argv, "--gofer-mount-confs="+confs,
		"--apply-caps", "--setup-root", "--attached",
		"--cpu-num="+strconv.Itoa(cpus(spec.Limits.CPUMillis)),
		"--total-memory="+strconv.FormatInt(spec.Limits.MemoryBytes, 10),
		"--total-host-memory="+strconv.FormatUint(b.hostMemory, 10))
	sentry.give("spec-fd", specFile[1])
	sentry.give("controller-fd", socket)
	sentry.give("start-sync-fd", bootedKernel)
	sentry.give("stdio-fds", null)
	for _, f := range []*os.File{spec.Stdout, spec.Stderr} {
		ownPipe(f, spec.Process.UID, spec.Process.GID)
		sentry.give("stdio-fds", f)
	}
	for _, f := range kernelEnds {
		sentry.give("io-fds", f)
	}
	sentry.argv = append(sentry.argv, s.id)
	if s.sentry, err = b.spawner.start(s.group, b.cfg.Exe, sentry.argv, sentry.files); err != nil {
		booted.Close()
		return nil, err
	}

	gofer := b.newCommand(goferName, "gofer", flags, null, s.messages, debug[0])
	gofer.argv = append(gofer.argv, "--gofer-mount-confs="+confs)
	gofer.give("spec-fd", specFile[0])
	// Mount points are given by their true paths, so nobody reads the resolved ones.
	gofer.give("mounts-fd", null)
	gofer.give("rpc-fd", unasked[0])
	for _, f := range serverEnds {
		gofer.give("io-fds", f)
	}
	gofer.argv = append(gofer.argv, s.id)
	if s.gofer, err = b.spawner.start(s.group, b.cfg.Exe, gofer.argv, gofer.files); err != nil {
		booted.Close()
		return nil, err
	}
	return booted, nil
}

// ownPipe lets the function open /dev/stdout and /dev/stderr, not only write to
// them. Where it cannot be had, writing to them still works.
func ownPipe(f *os.File, uid, gid int) {
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		_ = f.Chown(uid, gid)
	}
}

// awaitBoot waits for the guest kernel.
func (s *Sandbox) awaitBoot(ctx context.Context, booted *os.File) error {
	stop := context.AfterFunc(ctx, func() { s.sentry.kill() })
	defer stop()
	var one [1]byte
	if _, err := io.ReadFull(booted, one[:]); err == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	<-s.sentry.done
	return fmt.Errorf("the guest kernel did not start: %s%s", describe(s.sentry.status), s.lastWords())
}

// lastWords are the first lines of what the sandbox's own processes said.
func (s *Sandbox) lastWords() string {
	data, _ := io.ReadAll(io.NewSectionReader(s.messages, 0, 2000))
	if text := strings.TrimSpace(string(data)); text != "" {
		return ": " + text
	}
	return ""
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "it was ended by " + unix.SignalName(status.Signal())
	}
	return "it exited with status " + strconv.Itoa(status.ExitStatus())
}

// hostTasks bounds the machine's threads that a sandbox may hold. The guest
// kernel counts the function's own tasks; this is the fuse behind it: two
// processes and up to some threads for each of the guest's processes.
func hostTasks(processes int) int { return 512 + 4*processes }

package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kiln/sandbox"
	"kiln/sandbox/cgroup"
)

// Sandbox is one process tree. It implements sandbox.Sandbox.
type Sandbox struct {
	spec   sandbox.Spec
	group  *cgroup.Group
	image  *image
	pid    int // of the init
	pidFD  *os.File
	status *os.File
	goPipe *os.File

	// ready and started get one value each: how the set-up and the start ended.
	ready, started chan error
	// ended is closed once the init is gone; exit is set before.
	ended chan struct{}
	exit  sandbox.Exit

	// frozen tells Kill what to try first; it may be wrong while Freeze and Thaw race.
	frozen atomic.Bool

	mu        sync.Mutex // guards what follows
	destroyed bool
	baseline  int64 // memory charged before the function's process began
	peak      int64 // the most that Usage has seen
}

var _ sandbox.Sandbox = (*Sandbox)(nil)

// oomScore makes the kernel choose functions first when the whole machine is
// out of memory.
const oomScore = "500"

func newSandbox(spec sandbox.Spec, group *cgroup.Group, image *image, status, goPipe *os.File) *Sandbox {
	return &Sandbox{
		spec: spec, group: group, image: image, status: status, goPipe: goPipe,
		ready: make(chan error, 1), started: make(chan error, 1), ended: make(chan struct{}),
	}
}

// follow reads what the init reports until it is gone.
func (s *Sandbox) follow() {
	defer close(s.ended)
	defer s.status.Close()
	last := s.readMessages()
	var status syscall.WaitStatus
	for {
		// The init is dead or about to be: the other end of the pipe was its alone.
		if _, err := syscall.Wait4(s.pid, &status, 0, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	gone := fmt.Errorf("the init ended early: %s", describe(status))
	offer(s.ready, gone)
	offer(s.started, gone)
	s.exit = sandbox.Exit{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL)}
	if last.kind == messageExited {
		kills, err := s.group.OOMKills()
		s.exit = exitOf(last.waitStatus(), err == nil && kills > 0)
	}
}

// readMessages handles the init's messages and returns the last.
func (s *Sandbox) readMessages() (last message) {
	var buf [messageSize]byte
	for {
		if _, err := io.ReadFull(s.status, buf[:]); err != nil {
			return last
		}
		last = decodeMessage(buf)
		switch last.kind {
		case messageReady:
			offer(s.ready, nil)
		case messageStarted:
			offer(s.started, nil)
		case messageExited:
		default:
			err := s.failure(last)
			offer(s.ready, err)
			offer(s.started, err)
		}
	}
}

// failure is the error behind a message about a step that failed.
func (s *Sandbox) failure(m message) error {
	step, ok := s.image.failed(m.kind)
	errno := syscall.Errno(m.value)
	switch {
	case !ok:
		return fmt.Errorf("the init reported %d, %d", m.kind, m.value)
	case step.what == stepExec:
		return &sandbox.StartError{Path: s.spec.Process.Args[0], Err: errno}
	case step.nr == unix.SYS_MOVE_MOUNT && errno == syscall.ENOENT:
		return fmt.Errorf("%s: the root has no such directory: %w", step.what, errno)
	case errno == 0:
		return fmt.Errorf("%s: end of file", step.what)
	}
	return fmt.Errorf("%s: %w", step.what, errno)
}

// offer sends unless a value is there already.
func offer(c chan error, err error) {
	select {
	case c <- err:
	default:
	}
}

// describe puts a wait status into words.
func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return status.Signal().String()
	}
	return fmt.Sprintf("status %d", status.ExitStatus())
}

// exitOf translates a wait status.
func exitOf(status syscall.WaitStatus, oomKilled bool) sandbox.Exit {
	if status.Signaled() {
		signal := status.Signal()
		return sandbox.Exit{Code: 128 + int(signal), Signal: int(signal), OOM: oomKilled && signal == syscall.SIGKILL}
	}
	return sandbox.Exit{Code: status.ExitStatus()}
}

// awaitReady returns once the init waits for the start.
func (s *Sandbox) awaitReady(ctx context.Context) error {
	score, err := os.OpenFile(fmt.Sprintf("/proc/%d/oom_score_adj", s.pid), os.O_WRONLY, 0)
	if err == nil {
		// Not being able to is no reason to fail.
		_, _ = score.WriteString(oomScore)
		score.Close()
	}
	select {
	case err = <-s.ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	usage, err := s.group.Usage()
	s.baseline = usage.MemoryBytes
	return err
}

// Start begins the process.
func (s *Sandbox) Start(ctx context.Context) error {
	if _, err := s.goPipe.Write([]byte{1}); err != nil {
		return fmt.Errorf("start sandbox %s: %w", s.spec.ID, err)
	}
	select {
	case err := <-s.started:
		var start *sandbox.StartError
		if err == nil || errors.As(err, &start) {
			return err
		}
		return fmt.Errorf("start sandbox %s: %w", s.spec.ID, err)
	case <-ctx.Done():
		return fmt.Errorf("start sandbox %s: %w", s.spec.ID, ctx.Err())
	}
}

// Freeze stops every task.
func (s *Sandbox) Freeze(ctx context.Context) error {
	s.frozen.Store(true)
	return s.group.Freeze(ctx)
}

// Thaw lets the tasks go on.
func (s *Sandbox) Thaw(context.Context) error {
	defer s.frozen.Store(false)
	return s.group.Thaw()
}

// Wait returns once the process has ended and with it everything else in the sandbox.
func (s *Sandbox) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-s.ended:
		return s.exit, nil
	case <-ctx.Done():
		return sandbox.Exit{}, ctx.Err()
	}
}

// killPatience is how long the kernel may take to end a sandbox whose init is
// dead before the cgroup's way is tried.
const killPatience = 20 * time.Millisecond

// Kill ends every task and returns when all are gone. It does nothing after the end.
func (s *Sandbox) Kill(ctx context.Context) error {
	if err := s.kill(ctx); err != nil {
		return fmt.Errorf("kill sandbox %s: %w", s.spec.ID, err)
	}
	return nil
}

func (s *Sandbox) kill(ctx context.Context) error {
	// With its first process the kernel kills a pid namespace. It is also the way
	// to an init that is still being set up and may not have joined the group.
	err := unix.PidfdSendSignal(int(s.pidFD.Fd()), unix.SIGKILL, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EBADF) {
		return err
	}
	patience := killPatience
	if s.frozen.Load() {
		patience = 0
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(patience):
	case <-ctx.Done():
		return ctx.Err()
	}
	// Frozen tasks do not see a signal, nor does an init that waits for them.
	if err := s.group.Kill(ctx); err != nil {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Usage reads the cgroup. Cached files are left out of the peak: the first
// sandbox to read a file is charged for it, the others are not.
func (s *Sandbox) Usage() (sandbox.Usage, error) {
	u, err := s.group.Usage()
	if err != nil {
		return sandbox.Usage{}, fmt.Errorf("usage of sandbox %s: %w", s.spec.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The kernel's peak has files in it, as many as now at most unless it had to
	// take some back. Both differences are below the true peak or at it.
	s.peak = max(s.peak, u.MemoryBytes-u.FileBytes, u.MemoryPeakBytes-u.FileBytes)
	return sandbox.Usage{
		MemoryPeakBytes: s.functionPeak(),
		MemoryBytes:     u.MemoryBytes,
		CPU:             u.CPU,
	}, nil
}

// MemoryPeak implements sandbox.Sandbox. What it returns follows from the
// group's own peak, so it is as before while that is.
func (s *Sandbox) MemoryPeak() (int64, error) {
	if !s.group.PeakMoved() {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.functionPeak(), nil
	}
	u, err := s.Usage()
	return u.MemoryPeakBytes, err
}

// functionPeak is the most that the function has held: not more than its limit,
// as what a little may go beyond that is the sandbox's own. The caller holds mu.
func (s *Sandbox) functionPeak() int64 {
	return min(max(s.peak-s.baseline, 0), s.spec.Limits.MemoryBytes)
}

// Destroy kills what still runs and frees everything.
func (s *Sandbox) Destroy(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return nil
	}
	if err := s.kill(ctx); err != nil {
		return fmt.Errorf("destroy sandbox %s: %w", s.spec.ID, err)
	}
	if err := s.group.Destroy(ctx); err != nil {
		return fmt.Errorf("destroy sandbox %s: %w", s.spec.ID, err)
	}
	s.destroyed = true
	return errors.Join(s.goPipe.Close(), s.pidFD.Close())
}

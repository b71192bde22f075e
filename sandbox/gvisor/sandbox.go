package gvisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"gvisor.dev/gvisor/runsc/boot"

	"kiln/sandbox"
	"kiln/sandbox/cgroup"
)

// Sandbox is a guest kernel with one function in it. It implements sandbox.Sandbox.
type Sandbox struct {
	backend *Backend
	id      string
	entry   string // the process's Args[0]
	limits  sandbox.Limits

	group    *cgroup.Group
	sentry   *process // the guest kernel
	gofer    *process // its file server
	control  client
	listens  bool // control's socket is this sandbox's
	network  *takeover
	messages *os.File // what the two processes say themselves

	exited chan struct{} // closed when exit is set
	exit   sandbox.Exit

	killed atomic.Bool // by Kill or Destroy

	mu        sync.Mutex
	started   bool
	frozen    bool
	destroyed bool
	memory    *os.File // the function's memory, see Usage; nil once it has ended
	function  int64    // what the memory file held at the last look, in bytes
	peak      int64    // the most it has held, in bytes
}

var _ sandbox.Sandbox = (*Sandbox)(nil)

// Start implements sandbox.Sandbox.
func (s *Sandbox) Start(ctx context.Context) error {
	s.mu.Lock()
	again := s.started
	s.started = true
	s.mu.Unlock()
	if again {
		return fmt.Errorf("sandbox %s is started already", s.id)
	}
	conn, err := s.control.dial(ctx)
	if err == nil {
		if _, err = conn.call(ctx, boot.ContMgrRootContainerStart, &s.id, nil, nil); err != nil {
			conn.Close()
		}
	}
	if err == nil && s.limits.CPUMillis > 0 {
		if err = s.LimitCPU(s.limits.CPUMillis); err != nil {
			conn.Close()
		}
	}
	if err != nil {
		err = s.startError(err)
		s.sentry.kill()
		s.finish(bySignal(syscall.SIGKILL))
		return err
	}
	go s.await(conn)
	return nil
}

// startError tells an entry point that cannot be executed from a fault of ours.
func (s *Sandbox) startError(err error) error {
	var remote *remoteError
	if errors.As(err, &remote) {
		if _, why, ok := strings.Cut(remote.message, "failed to load "+s.entry+": "); ok {
			return &sandbox.StartError{Path: s.entry, Err: errors.New(why)}
		}
	}
	return fmt.Errorf("start sandbox %s: %w%s", s.id, err, s.lastWords())
}

// await asks the guest kernel for the process's end. If there is no answer the
// kernel itself has ended. It uses the connection of the start, so that the
// kernel does not go before it has answered, however short the process's life.
func (s *Sandbox) await(conn connection) {
	defer conn.Close()
	var status syscall.WaitStatus
	_, err := conn.call(context.Background(), boot.ContMgrWait, &s.id, nil, &status)
	if err != nil {
		<-s.sentry.done
		status = s.sentry.status
	}
	exit := sandbox.Exit{Code: status.ExitStatus()}
	if status.Signaled() {
		exit = bySignal(status.Signal())
	}
	s.finish(exit)
	if err != nil && !s.exit.OOM && !s.killed.Load() {
		slog.Error("guest kernel ended by itself", "sandbox", s.id, "how", describe(status), "said", s.lastWords())
	}
}

// finish sets the exit, once.
func (s *Sandbox) finish(exit sandbox.Exit) {
	if kills, err := s.group.OOMKills(); err == nil && kills > 0 && exit.Code != 0 && !s.killed.Load() {
		exit = bySignal(syscall.SIGKILL)
		exit.OOM = true
	}
	s.mu.Lock()
	// A memory file keeps its pages as long as anyone has it open.
	if s.memory != nil {
		_, _ = s.look() // it keeps what it finds
		s.memory.Close()
		s.memory = nil
	}
	s.mu.Unlock()
	s.exit = exit
	close(s.exited)
}

func bySignal(signal syscall.Signal) sandbox.Exit {
	return sandbox.Exit{Code: 128 + int(signal), Signal: int(signal)}
}

// Wait implements sandbox.Sandbox.
func (s *Sandbox) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-s.exited:
		return s.exit, nil
	case <-ctx.Done():
		return sandbox.Exit{}, ctx.Err()
	}
}

// Freeze implements sandbox.Sandbox with the cgroup's freezer, which stops the
// guest kernel with all that is in it: 166 µs, and nothing runs afterwards. The
// guest kernel's own pause takes 1.2 to 2 ms, because it interrupts every task
// and asks over the control socket, and leaves the kernel's own threads running.
func (s *Sandbox) Freeze(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return errDestroyed(s.id)
	}
	// What is killed must be left to die, which a frozen task does not on cgroup v1.
	if s.killed.Load() || s.ended() {
		return fmt.Errorf("sandbox %s has ended", s.id)
	}
	if err := s.group.Freeze(ctx); err != nil {
		return err
	}
	s.frozen = true
	return nil
}

// Thaw implements sandbox.Sandbox.
func (s *Sandbox) Thaw(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return errDestroyed(s.id)
	}
	return s.thaw()
}

func (s *Sandbox) thaw() error {
	if !s.frozen {
		return nil
	}
	if err := s.group.Thaw(); err != nil {
		return err
	}
	s.frozen = false
	return nil
}

// Kill implements sandbox.Sandbox. The guest kernel is the first process of its
// pid namespace, so that all that is in it ends with it.
func (s *Sandbox) Kill(ctx context.Context) error {
	// Before the lock, which a Freeze may hold for as long as it takes.
	s.end()
	s.mu.Lock()
	if s.destroyed {
		s.mu.Unlock()
		return errDestroyed(s.id)
	}
	err := s.thaw() // on cgroup v1 a frozen task dies only when thawed
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.gone(ctx)
}

// end sends SIGKILL to what there is of the two processes.
func (s *Sandbox) end() {
	if !s.ended() {
		s.killed.Store(true)
	}
	for _, p := range []*process{s.sentry, s.gofer} {
		if p != nil {
			p.kill()
		}
	}
}

// ended reports whether the process has ended, by itself or not.
func (s *Sandbox) ended() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// gone waits until there is none of the two processes.
func (s *Sandbox) gone(ctx context.Context) error {
	for _, p := range []*process{s.sentry, s.gofer} {
		if p == nil {
			continue
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Destroy implements sandbox.Sandbox.
func (s *Sandbox) Destroy(ctx context.Context) error {
	s.end()
	s.mu.Lock()
	if s.destroyed {
		s.mu.Unlock()
		return nil
	}
	var errs []error
	if s.group != nil {
		errs = append(errs, s.thaw())
	}
	if !s.started { // nobody else will say that it has ended
		s.started = true
		if s.memory != nil {
			s.memory.Close()
			s.memory = nil
		}
		s.exit = bySignal(syscall.SIGKILL)
		close(s.exited)
	}
	s.mu.Unlock()
	errs = append(errs, s.gone(ctx))
	if _, err := s.Wait(ctx); err != nil {
		errs = append(errs, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return nil
	}
	if s.group != nil {
		errs = append(errs, s.group.Destroy(ctx))
	}
	if s.network != nil {
		errs = append(errs, s.network.release())
	}
	if s.listens {
		errs = append(errs, s.control.remove())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("destroy sandbox %s: %w", s.id, err)
	}
	for _, p := range []*process{s.sentry, s.gofer} {
		if p != nil {
			p.close()
		}
	}
	s.messages.Close()
	s.destroyed = true
	return nil
}

func errDestroyed(id string) error { return fmt.Errorf("sandbox %s is destroyed", id) }

package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
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
	network  *takeover
	messages *os.File // what the two processes say themselves
	memory   *os.File // the function's memory, see Usage

	exited chan struct{} // closed when exit is set
	exit   sandbox.Exit

	mu        sync.Mutex
	started   bool
	frozen    bool
	killed    bool
	destroyed bool
	peak      int64 // of the function's memory, in bytes
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
	if _, err := s.control.call(ctx, boot.ContMgrRootContainerStart, &s.id, nil, nil); err != nil {
		s.sentry.kill()
		s.finish(sandbox.Exit{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL)})
		return s.startError(err)
	}
	if s.limits.CPUMillis > 0 {
		if err := s.group.SetLimits(cgroup.Limits{CPUMillis: s.limits.CPUMillis}); err != nil {
			s.sentry.kill()
			s.finish(sandbox.Exit{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL)})
			return err
		}
	}
	go s.await()
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
// kernel itself has ended.
func (s *Sandbox) await() {
	var status syscall.WaitStatus
	_, err := s.control.call(context.Background(), boot.ContMgrWait, &s.id, nil, &status)
	if err != nil {
		<-s.sentry.done
		status = s.sentry.status
	}
	exit := sandbox.Exit{Code: status.ExitStatus()}
	if status.Signaled() {
		exit.Signal = int(status.Signal())
		exit.Code = 128 + exit.Signal
	}
	s.finish(exit)
}

func (s *Sandbox) finish(exit sandbox.Exit) {
	s.mu.Lock()
	killed := s.killed
	s.mu.Unlock()
	if kills, err := s.group.OOMKills(); err == nil && kills > 0 && exit.Code != 0 && !killed {
		exit = sandbox.Exit{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL), OOM: true}
	}
	s.exit = exit
	close(s.exited)
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
	s.mu.Lock()
	if s.destroyed {
		s.mu.Unlock()
		return errDestroyed(s.id)
	}
	select {
	case <-s.exited:
	default:
		s.killed = true
	}
	s.sentry.kill()
	s.gofer.kill()
	err := s.thaw() // on cgroup v1 a frozen task dies only when thawed
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for _, p := range []*process{s.sentry, s.gofer} {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return nil
	}
	for _, p := range []*process{s.sentry, s.gofer} {
		if p != nil {
			p.kill()
		}
	}
	var errs []error
	if s.group != nil {
		errs = append(errs, s.thaw(), s.group.Destroy(ctx))
	}
	for _, p := range []*process{s.sentry, s.gofer} {
		if p == nil {
			continue
		}
		select {
		case <-p.done:
			p.close()
		case <-ctx.Done():
			return errors.Join(append(errs, ctx.Err())...)
		}
	}
	if s.network != nil {
		errs = append(errs, s.network.release())
	}
	errs = append(errs, s.control.remove())
	for _, f := range []*os.File{s.messages, s.memory} {
		if f != nil {
			f.Close()
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("destroy sandbox %s: %w", s.id, err)
	}
	s.destroyed = true
	if !s.started {
		s.started = true
		s.exit = sandbox.Exit{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL)}
		close(s.exited)
	}
	return nil
}

func errDestroyed(id string) error { return fmt.Errorf("sandbox %s is destroyed", id) }

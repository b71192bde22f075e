package gvisor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"kiln/sandbox/cgroup"
)

// spawner forks the processes of sandboxes, all from one thread that lives as
// long as the back end. That gives three things:
//   - their parent-death signal, which the kernel binds to the thread that
//     forked, fires when this process dies, however it dies, and not before;
//   - the thread stands in an empty network namespace, which all of them share,
//     so that none has to be made and taken down for each;
//   - on cgroup v1 only this thread wanders through the sandboxes' groups.
type spawner struct {
	jobs chan func()
	quit chan struct{}
}

func newSpawner() (*spawner, error) {
	s := &spawner{jobs: make(chan func()), quit: make(chan struct{})}
	ready := make(chan error)
	go s.run(ready)
	return s, <-ready
}

// run is the thread's life; ready gets how it began.
func (s *spawner) run(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread's namespaces are what /proc/self shows as the process's,
		// so it must stay where it is. While it is locked, run gets another one.
		other := make(chan error)
		go s.run(other)
		ready <- <-other
		runtime.UnlockOSThread()
		return
	}
	// Never unlocked: the thread ends with the goroutine.
	err := unix.Unshare(unix.CLONE_NEWNET)
	ready <- os.NewSyscallError("unshare", err)
	if err != nil {
		return
	}
	for {
		select {
		case job := <-s.jobs:
			job()
		case <-s.quit:
			return
		}
	}
}

// close ends the thread; what it forked and still lives is killed by the kernel.
func (s *spawner) close() { close(s.quit) }

// start runs argv in group. files are the child's descriptors from 0 on.
func (s *spawner) start(group *cgroup.Group, exe string, argv []string, files []*os.File) (*process, error) {
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = f.Fd()
	}
	everyID := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1<<32 - 1}}
	pidfd := -1
	attr := &syscall.ProcAttr{
		Env:   []string{},
		Files: fds,
		Sys: &syscall.SysProcAttr{
			Setsid:    true,
			Pdeathsig: syscall.SIGKILL,
			PidFD:     &pidfd,
			// A user namespace that maps everyone to himself: the processes have
			// the rights they need on the sandbox's files and none on the machine.
			Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID |
				unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			UidMappings: everyID,
			GidMappings: everyID,
			Credential:  &syscall.Credential{Uid: 0, Gid: 0},
		},
	}
	var pid int
	done := make(chan error, 1)
	job := func() {
		done <- group.Start(attr.Sys, func() (err error) {
			pid, _, err = syscall.StartProcess(exe, argv, attr)
			return err
		})
	}
	select {
	case s.jobs <- job:
	case <-s.quit:
		return nil, fmt.Errorf("start %s: the back end is closed", argv[0])
	}
	err := <-done
	runtime.KeepAlive(files)
	if pid == 0 {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	if pidfd < 0 {
		// Without pidfds there is no way to wait that costs no thread.
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return nil, fmt.Errorf("start %s: the kernel has no pidfds", argv[0])
	}
	p, watchErr := watch(pid, pidfd)
	if err = errors.Join(err, watchErr); err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	p.prefer()
	return p, nil
}

// process is a child. Methods are safe for concurrent use.
type process struct {
	pid   int
	pidfd *os.File
	// done is closed once the process is gone and reaped; status is set before.
	done   chan struct{}
	status syscall.WaitStatus
}

// watch reaps the child in the background, without holding a thread.
func watch(pid, pidfd int) (*process, error) {
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &process{pid: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd"), done: make(chan struct{})}
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		reap := func(uintptr) bool {
			got, err := syscall.Wait4(pid, &p.status, syscall.WNOHANG, nil)
			return got == pid || (err != nil && err != syscall.EINTR)
		}
		if conn.Read(reap) != nil {
			// Not pollable: wait the plain way.
			_, _ = syscall.Wait4(pid, &p.status, 0, nil)
		}
	}()
	return p, nil
}

// prefer lets the machine, should it run out of memory, kill this process and
// its children before those that are not functions. It is a wish: a process
// that has ended already, say, is no failure here.
func (p *process) prefer() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.pid), []byte("500"), 0)
}

// kill sends SIGKILL. It does nothing to a process that is gone.
func (p *process) kill() {
	if conn, err := p.pidfd.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _ = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	}
}

// close frees the descriptor of a process that is done.
func (p *process) close() { p.pidfd.Close() }

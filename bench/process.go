package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a child with its own process group, so that an interrupt at the
// terminal does not reach it: the benchmark ends it, and by its id only.
type process struct {
	cmd    *exec.Cmd
	output string // path of the file with what it printed
	exited chan struct{}
}

// startProcess runs cmd with its output in a file below dir. Should the
// benchmark be killed, the child gets the signal last.
func startProcess(cmd *exec.Cmd, dir string, last syscall.Signal) (*process, error) {
	f, err := os.CreateTemp(dir, filepath.Base(cmd.Path)+"-*.log")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, last
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, f.Name(), make(chan struct{})}
	go func() {
		cmd.Wait() //nolint:errcheck // how it ended is seen in its state
		close(p.exited)
	}()
	return p, nil
}

// stop ends the process with a signal, after patience with SIGKILL. It says
// so if it came to that, or if the process had ended before.
func (p *process) stop(signal syscall.Signal, patience time.Duration) error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended early, %s: %s", p.cmd.Path, p.cmd.ProcessState, p.lastOutput())
	default:
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(patience):
	}
	if err := p.killGroup(); err != nil {
		return err
	}
	<-p.exited
	return fmt.Errorf("%s did not end by %s within %s", p.cmd.Path, signal, patience)
}

// killGroup ends the process and those that it started at once.
func (p *process) killGroup() error {
	err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// lastOutput is the end of what the process has printed.
func (p *process) lastOutput() string {
	b, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return string(b[max(len(b)-2000, 0):])
}

// freePort returns a port of the loopback interface that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// startLimit is how long a process of the benchmark may take until it answers.
const startLimit = 30 * time.Second

// native is a candidate that is a process of its own: the direct server or the
// emulator. Both end with their process.
type native struct {
	// command returns what serves on a port; it may use another port besides.
	command func(port, second int) *exec.Cmd
	path    string // of the URL
	logs    string // directory for what it prints
	caller  *caller
}

func newDirect(l *language, r *root, logs string) *native {
	return &native{path: "/", logs: logs, command: func(port, _ int) *exec.Cmd {
		return r.command(l.server, "PORT="+strconv.Itoa(port))
	}}
}

// emulator is where AWS's Runtime Interface Emulator lies in a root.
const emulator = "/aws-lambda-rie"

func newEmulator(l *language, r *root, logs string) *native {
	return &native{path: "/2015-03-31/functions/function/invocations", logs: logs, command: func(port, second int) *exec.Cmd {
		args := []string{emulator, "--log-level", "error",
			"--runtime-interface-emulator-address", fmt.Sprintf("127.0.0.1:%d", port),
			"--runtime-api-address", fmt.Sprintf("127.0.0.1:%d", second)}
		args = append(append(args, r.entrypoint...), l.handler)
		return r.command(args, "_HANDLER="+l.handler, "AWS_LAMBDA_FUNCTION_NAME="+l.name,
			"AWS_LAMBDA_FUNCTION_MEMORY_SIZE="+strconv.Itoa(fullCore))
	}}
}

// start runs the process and calls it once. The time of its response is that
// from the process's start.
func (n *native) start(ctx context.Context) (*process, *caller, response, error) {
	port, err := freePort()
	if err != nil {
		return nil, nil, response{}, err
	}
	second, err := freePort()
	if err != nil {
		return nil, nil, response{}, err
	}
	begun := time.Now()
	p, err := startProcess(n.command(port, second), n.logs, syscall.SIGKILL)
	if err != nil {
		return nil, nil, response{}, err
	}
	c := newCaller(fmt.Sprintf("http://127.0.0.1:%d%s", port, n.path))
	c.header = http.Header{"Content-Type": {"application/json"}}
	r, err := c.postFirst(ctx, startLimit)
	r.took = time.Since(begun)
	if err != nil {
		last := p.lastOutput()
		p.stop(syscall.SIGKILL, startLimit) //nolint:errcheck // the first error counts
		return nil, nil, response{}, fmt.Errorf("%w; it printed: %s", err, last)
	}
	return p, c, r, nil
}

// open starts the process that invoke calls; ends stops it.
func (n *native) open(ctx context.Context, ends *cleanup) error {
	p, c, _, err := n.start(ctx)
	if err != nil {
		return err
	}
	ends.add(func() error { return p.stop(syscall.SIGKILL, startLimit) })
	n.caller = c
	return nil
}

func (n *native) invoke(ctx context.Context) (time.Duration, error) {
	r, err := n.caller.post(ctx)
	return r.took, err
}

func (n *native) coldStart(ctx context.Context) (coldStart, error) {
	p, c, r, err := n.start(ctx)
	if err != nil {
		return coldStart{}, err
	}
	c.transport.CloseIdleConnections()
	return coldStart{total: r.took}, p.stop(syscall.SIGKILL, startLimit)
}

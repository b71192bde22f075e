package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kiln/sandbox"
)

// process is one run of a function's runtime in a sandbox of its own. An
// environment whose process failed gets a new one, with the same network and
// the same /tmp.
type process struct {
	box    sandbox.Sandbox
	freeze *freezer
	exited chan struct{} // closed when exit and err are set
	exit   sandbox.Exit
	err    error
	stop   context.CancelFunc
	// fresh is true until the first invocation has reported its Init Duration.
	fresh bool
	// initTime is how long the initialization took.
	initTime time.Duration
}

// spawn creates a sandbox and starts the process in it.
func spawn(ctx context.Context, backend sandbox.Backend, spec sandbox.Spec, log *slog.Logger) (*process, error) {
	box, err := backend.Create(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("create a %s sandbox: %w", backend.Name(), err)
	}
	if err := box.Start(ctx); err != nil {
		return nil, errors.Join(err, box.Destroy(context.WithoutCancel(ctx)))
	}
	wait, stop := context.WithCancel(context.Background())
	p := &process{box: box, freeze: &freezer{box: box, log: log}, exited: make(chan struct{}), stop: stop, fresh: true}
	go func() {
		p.exit, p.err = box.Wait(wait)
		close(p.exited)
	}()
	return p, nil
}

// destroy ends the process, whatever it does, and frees its sandbox.
func (p *process) destroy(ctx context.Context) error {
	p.freeze.stop()
	err := p.box.Destroy(ctx)
	p.stop()
	<-p.exited
	return err
}

// fault is why the process ended by itself. It must have ended.
func (p *process) fault() *fault {
	if p.err != nil {
		return &fault{status: statusFailure, kind: "Runtime.ExitError", message: "The sandbox was lost"}
	}
	return exited(p.exit)
}

// memoryPeakMB is the most memory the function has used, rounded up.
func (p *process) memoryPeakMB() int {
	peak, err := p.box.MemoryPeak()
	if err != nil {
		return 0
	}
	return int((peak + 1<<20 - 1) >> 20)
}

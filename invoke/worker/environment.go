package worker

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	"kiln/lambda"
	"kiln/runtime/runtimeapi"
	"kiln/sandbox"
)

// Files is what a version's process runs on: read-only file systems that are
// mounted on this machine until Release.
type Files struct {
	Root           string          // the runtime's root file system
	Mounts         []sandbox.Mount // the function's code at /var/task and what else it has
	Entrypoint     []string
	Env            []string
	RuntimeVersion string // for INIT_START
	RuntimeARN     string
	Release        func()
}

// Endpoint is an environment's network: a namespace for its sandbox and the
// listener of its Runtime API, which only that sandbox can reach.
type Endpoint struct {
	Namespace string
	Listener  net.Listener
	// Address is the listener's as seen from inside, host:port.
	Address string
	Release func()
}

// Scratch is an environment's own /tmp.
type Scratch struct {
	Path    string
	Release func()
}

// Resources gives environments what they need of the machine. Implementations
// keep some of it made ahead; all are safe for concurrent use.
type Resources interface {
	Files(ctx context.Context, v *lambda.Version) (Files, error)
	Endpoint(ctx context.Context) (Endpoint, error)
	Scratch(ctx context.Context, sizeMB int) (Scratch, error)
}

// environment is one execution environment: everything that lives from a
// slot's start to its end. Between the invocations nothing of it runs. Its
// methods are not safe for concurrent use; the slot's lock sees to that.
type environment struct {
	w       *Worker
	v       *lambda.Version
	log     *slog.Logger
	files   Files
	net     Endpoint
	scratch Scratch
	api     *runtimeapi.Server
	out     *output
	journal *journal
	// turn is held by whoever uses the environment: an invocation may be taken on
	// while the runtime is still on its way from the last answer to idleness.
	turn chan struct{}
	// peakMB is the most memory that the present process, or the last, has used.
	peakMB int
	// lost is set, under turn, when the environment has been released.
	lost bool
	// lingers says that the runtime took its time to become idle the last time.
	lingers bool
	// began is when the last process started, or could not be.
	began time.Time
	// proc is nil when none runs: never started, or reset. Only the owner sets
	// it, under mu, since kill reads it from outside.
	proc   *process
	killed bool // no process may run any more; guarded by mu
	mu     sync.Mutex
}

func (w *Worker) newEnvironment(ctx context.Context, v *lambda.Version, log *slog.Logger) (_ *environment, err error) {
	e := &environment{w: w, v: v, log: log, turn: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			e.release()
		}
	}()
	if e.files, err = w.cfg.Resources.Files(ctx, v); err != nil {
		return nil, fmt.Errorf("files of %s: %w", v.Key, err)
	}
	if e.net, err = w.cfg.Resources.Endpoint(ctx); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	if e.scratch, err = w.cfg.Resources.Scratch(ctx, v.Config.EphemeralStorageMB); err != nil {
		return nil, fmt.Errorf("/tmp: %w", err)
	}
	e.journal = &journal{sink: w.cfg.Logs, logging: v.Config.Logging, stream: streamName(time.Now(), v.Key.Number, w.random)}
	if e.out, err = newOutput(e.journal.function); err != nil {
		return nil, err
	}
	e.api = runtimeapi.Serve(e.net.Listener, lambda.MaxSyncResponseBytes+100, log)
	return e, nil
}

// turnWait is how long an invocation waits for the runtime to be done with the
// one before.
const turnWait = 100 * time.Millisecond

// enter takes the environment, waiting at most so long; 0 waits for ever.
func (e *environment) enter(wait time.Duration) bool {
	select {
	case e.turn <- struct{}{}:
		return true
	default:
	}
	var limit <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		limit = timer.C
	}
	select {
	case e.turn <- struct{}{}:
		return true
	case <-limit:
		return false
	}
}

// leave gives the environment back.
func (e *environment) leave() { <-e.turn }

// streamName is AWS's: 2026/11/22/[$LATEST]<32 hex digits>.
func streamName(now time.Time, version string, random func([]byte)) string {
	var id [16]byte
	random(id[:])
	return now.UTC().Format("2006/01/02") + "/[" + version + "]" + hex.EncodeToString(id[:])
}

// boot starts the process and waits until its runtime asks for its first event.
// It returns a fault when the function is to blame and an error when the
// platform is; in both cases no process is left. limit is how long it may take.
func (e *environment) boot(ctx context.Context, limit time.Duration) (*fault, error) {
	begun := time.Now()
	e.api.Reset()
	e.journal.initStart(e.v, e.files.RuntimeVersion, e.files.RuntimeARN)
	idle, failed := e.api.Idle(), e.api.InitError()
	l := e.launch(ctx)
	e.began = time.Now()
	if l.err != nil || l.fault != nil {
		if l.fault != nil {
			e.journal.initReport(time.Since(begun), l.fault)
		}
		return l.fault, l.err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var f *fault
	select {
	case <-idle:
	case r := <-failed:
		f = reported(r)
	case <-e.proc.exited:
		select { // an error that was reported before the exit says more
		case r := <-failed:
			f = reported(r)
		default:
			f = e.proc.fault()
		}
	case <-timer.C:
		f = timedOut(limit)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), e.reset())
	}
	e.proc.initTime = time.Since(e.began)
	if f == nil {
		if err := e.proc.box.LimitCPU(lambda.CPUMillis(e.v.Config.MemoryMB)); err != nil {
			return nil, errors.Join(fmt.Errorf("limit the CPU: %w", err), e.reset())
		}
	}
	e.out.sync()
	e.journal.initReport(e.proc.initTime, f)
	e.log.Debug("environment initialized", "sandbox", e.began.Sub(begun), "init", e.proc.initTime, "fault", f != nil)
	if f != nil {
		return f, e.reset()
	}
	return nil, nil
}

type launched struct {
	fault *fault
	err   error
}

// initCPUMillis is what every function may use while it initializes, as on AWS:
// its share of the CPU by memory holds from its first invocation on.
const initCPUMillis = 2000

// launch starts the process. Starts are limited: many at once only slow each
// other down.
func (e *environment) launch(ctx context.Context) launched {
	if len(e.files.Entrypoint) > 0 && !path.IsAbs(e.files.Entrypoint[0]) { // a wrapper of the function's
		return launched{fault: badEntrypoint("fork/exec " + e.files.Entrypoint[0] + ": no such file or directory")}
	}
	if len(e.files.Entrypoint) == 0 {
		return launched{fault: badEntrypoint("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")}
	}
	select {
	case e.w.starts <- struct{}{}:
		defer func() { <-e.w.starts }()
	case <-ctx.Done():
		return launched{err: ctx.Err()}
	}
	p, err := spawn(ctx, e.w.cfg.Backend, e.spec(), e.log)
	var bad *sandbox.StartError
	switch {
	case errors.As(err, &bad):
		return launched{fault: badEntrypoint("fork/exec " + bad.Path + ": " + bad.Err.Error())}
	case err != nil:
		return launched{err: err}
	}
	e.setProcess(p)
	e.peakMB = 0
	return launched{}
}

func (e *environment) spec() sandbox.Spec {
	c := e.v.Config
	return sandbox.Spec{
		ID:       e.w.sandboxID(),
		Root:     e.files.Root,
		Mounts:   append(e.files.Mounts[:len(e.files.Mounts):len(e.files.Mounts)], sandbox.Mount{Source: e.scratch.Path, Target: "/tmp", Writable: true}),
		Hostname: "localhost",
		Network:  e.net.Namespace,
		Process: sandbox.Process{
			Args: e.files.Entrypoint,
			Env:  environ(e.v, e.files.Env, e.net.Address, e.journal.stream),
			Dir:  "/var/task",
			UID:  SandboxUID,
			GID:  SandboxGID,
		},
		Limits: sandbox.Limits{
			MemoryBytes: int64(c.MemoryMB) << 20,
			CPUMillis:   max(initCPUMillis, lambda.CPUMillis(c.MemoryMB)),
			Processes:   lambda.MaxProcesses,
			Files:       lambda.MaxFileDescriptors,
		},
		Stdout: e.out.w,
		Stderr: e.out.w,
	}
}

// reset ends the process. /tmp, the network and the log stream stay.
func (e *environment) reset() error {
	p := e.proc
	if p == nil {
		return nil
	}
	e.setProcess(nil)
	e.peakMB = max(e.peakMB, p.memoryPeakMB())
	err := p.destroy(context.Background())
	e.out.sync()
	return err
}

// release ends the environment and gives back all that it took, once.
func (e *environment) release() {
	if e.lost {
		return
	}
	e.lost = true
	if err := e.reset(); err != nil {
		e.log.Error("a sandbox could not be removed", "err", err)
	}
	switch {
	case e.api != nil:
		e.api.Close() //nolint:errcheck // a listener
	case e.net.Listener != nil:
		e.net.Listener.Close()
	}
	if e.out != nil {
		e.out.close()
	}
	for _, release := range []func(){e.scratch.Release, e.net.Release, e.files.Release} {
		if release != nil {
			release()
		}
	}
}

// sandboxID returns a name for a sandbox that no other of this machine has.
func (w *Worker) sandboxID() string {
	return fmt.Sprintf("%s-%d", strings.ToLower(w.name), w.sandboxes.Add(1))
}

func (e *environment) setProcess(p *process) {
	e.mu.Lock()
	e.proc = p
	killed := e.killed
	e.mu.Unlock()
	if killed {
		e.kill()
	}
}

// rest has the process frozen soon, if one runs.
func (e *environment) rest() {
	if e.proc != nil {
		e.proc.freeze.freezeSoon()
	}
}

func (e *environment) wasKilled() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.killed
}

// kill ends the process of an environment that is busy, also one that is about
// to start; whoever runs the invocation sees it exit.
func (e *environment) kill() {
	e.mu.Lock()
	e.killed = true
	p := e.proc
	e.mu.Unlock()
	if p != nil {
		p.freeze.stop()
		if err := p.box.Kill(context.Background()); err != nil {
			e.log.Error("a sandbox could not be killed", "err", err)
		}
	}
}

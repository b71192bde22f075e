package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kiln/invoke"
	"kiln/runtime/runtimeapi"
)

// run is one invocation's way through an environment:
//
//	thaw → (boot, if no process runs) → deliver → answer → runtime idle again
//
// The answer goes to the caller as soon as it is there; the environment is
// given back when the runtime asks for the next event, or has been reset. The
// slot is idle for others from the answer on, so that a caller that invokes
// again at once finds it, unless the runtime is known to linger.
type run struct {
	e   *environment
	inv *invoke.Invocation
	// answer takes the one outcome for the caller; it is buffered.
	answer chan outcome
	// idle gives the slot back; early is set when that was at the answer. retake
	// undoes that unless the slot has been used since.
	idle   func()
	retake func() bool
	early  bool

	started time.Time
	thaw    time.Duration
	init    time.Duration
}

// lingering is how long after its answer a runtime may take to become idle
// without being suspected of working on.
const lingering = 20 * time.Millisecond

// errCutOff is the answer to an invocation that the worker's end has ended.
var errCutOff = errors.New("the worker was closed during the invocation")

type outcome struct {
	result invoke.Result
	err    error
}

// do performs the invocation and returns once the environment is idle or reset.
// An error means that the platform has failed and the environment is lost.
func (r *run) do(ctx context.Context) error {
	e, limit := r.e, r.e.v.Config.Timeout
	e.journal.beginTail(r.inv.Tail)
	r.started = time.Now()
	if e.proc != nil {
		if err := e.proc.freeze.thaw(ctx); err != nil {
			r.answer <- outcome{err: fmt.Errorf("thaw: %w", err)}
			return err
		}
		r.thaw = time.Since(r.started)
	}
	r.started = time.Now()
	deadline := r.started.Add(limit)
	e.journal.start(r.inv.RequestID, e.v.Key.Number)

	if e.proc == nil { // its initialization failed, or it was reset
		f, err := e.boot(ctx, limit)
		r.started = e.began // what the platform took is not the function's
		deadline = r.started.Add(limit)
		if err != nil {
			r.answer <- outcome{err: err}
			return err
		}
		if f != nil {
			if f.status == statusTimeout {
				f = timedOut(limit)
			}
			return r.fail(f, limit)
		}
		e.proc.fresh = false // a suppressed initialization is part of the invocation's duration
	}
	if e.proc.fresh {
		r.init = e.proc.initTime
		e.proc.fresh = false
	}
	return r.exchange(deadline, limit)
}

func (r *run) exchange(deadline time.Time, limit time.Duration) error {
	e := r.e
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	answers, err := e.api.Deliver(r.event(deadline), r.inv.Stream)
	if err != nil { // the runtime broke off its poll: as good as gone
		select {
		case <-e.proc.exited:
			return r.fail(e.proc.fault(), limit)
		case <-timer.C:
			return r.fail(timedOut(limit), limit)
		}
	}
	idle := e.api.Idle()
	var resp runtimeapi.Response
	select {
	case resp = <-answers:
	case <-e.proc.exited:
		select {
		case resp = <-answers: // it answered with its last breath
		default:
			return r.fail(e.proc.fault(), limit)
		}
	case <-timer.C:
		return r.fail(timedOut(limit), limit)
	}
	return r.complete(resp, idle, timer, limit)
}

// complete passes the answer on and waits until the runtime is idle again.
func (r *run) complete(resp runtimeapi.Response, idle <-chan struct{}, timer *time.Timer, limit time.Duration) error {
	e := r.e
	duration := resp.At.Sub(r.started)
	res := invoke.Result{Payload: resp.Payload, Timing: invoke.Timing{Thaw: r.thaw, Duration: duration, Init: r.init}}
	rep := report{requestID: r.inv.RequestID, duration: duration, init: r.init, memoryMB: e.v.Config.MemoryMB, status: statusSuccess}
	if resp.Failed {
		res.FunctionError = "Unhandled"
		rep.status, rep.errorType = statusError, resp.ErrorType
	}
	if !r.inv.Tail { // the tail ends with the REPORT line, which must wait
		if !e.lingers {
			r.early = true
			r.idle()
		}
		r.answer <- outcome{result: res}
	}
	f, late := r.awaitIdle(idle, timer, limit)
	e.lingers = late || time.Since(resp.At) > lingering
	if f != nil && f.status == statusTimeout {
		rep.duration = limit
	}
	if f != nil {
		rep.status, rep.errorType = f.status, f.kind
	}
	err := r.settle(rep, f != nil)
	if r.inv.Tail {
		res.LogTail = e.journal.endTail()
		r.answer <- outcome{result: res}
	}
	return err
}

// awaitIdle returns when the runtime, which has answered, is idle, or with the
// fault by which it ended instead. A slot that was given back early is taken
// back after a while, rather than have others wait behind a runtime that works on.
func (r *run) awaitIdle(idle <-chan struct{}, timer *time.Timer, limit time.Duration) (f *fault, late bool) {
	var suspect <-chan time.Time
	if r.early {
		t := time.NewTimer(lingering)
		defer t.Stop()
		suspect = t.C
	}
	for {
		select {
		case <-idle:
			return nil, late
		case <-r.e.proc.exited:
			return r.e.proc.fault(), true
		case <-timer.C:
			return timedOut(limit), true
		case <-suspect:
			late = true
			if r.retake() {
				r.early = false
			}
		}
	}
}

// fail ends an invocation without an answer of the function's; the environment
// is reset.
func (r *run) fail(f *fault, limit time.Duration) error {
	e := r.e
	rep := report{requestID: r.inv.RequestID, duration: min(time.Since(r.started), limit), init: r.init,
		memoryMB: e.v.Config.MemoryMB, status: f.status, errorType: f.kind}
	if f.status == statusTimeout {
		rep.duration = limit
	}
	err := r.settle(rep, true)
	if e.wasKilled() { // not the function's fault
		r.answer <- outcome{err: errCutOff}
		return err
	}
	res := f.result(r.inv.RequestID)
	res.Timing = invoke.Timing{Thaw: r.thaw, Duration: rep.duration, Init: r.init}
	res.LogTail = e.journal.endTail()
	r.answer <- outcome{result: res}
	return err
}

// settle writes the end of the invocation's log and brings the environment to
// rest: frozen soon, or reset.
func (r *run) settle(rep report, reset bool) error {
	e := r.e
	e.out.sync()
	if e.proc != nil {
		e.peakMB = max(e.peakMB, e.proc.memoryPeakMB())
	}
	rep.maxMemoryMB = e.peakMB
	var err error
	if reset {
		err = e.reset()
	}
	e.journal.report(rep)
	e.rest()
	return err
}

func (r *run) event(deadline time.Time) *runtimeapi.Event {
	return &runtimeapi.Event{
		RequestID:       r.inv.RequestID,
		InvocationID:    r.e.w.invocationID(),
		FunctionARN:     r.inv.FunctionARN,
		TraceID:         r.inv.TraceID,
		ClientContext:   r.inv.ClientContext,
		CognitoIdentity: r.inv.CognitoIdentity,
		TenantID:        r.inv.TenantID,
		Deadline:        deadline,
		Payload:         r.inv.Payload,
	}
}

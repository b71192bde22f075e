package frontend

import (
	"context"
	"errors"

	"kiln/invoke"
	"kiln/lambda"
)

// step is what the front end does next with an invoke.
type step uint8

const (
	reserve step = iota // ask the manager for a slot
	send                // send the invocation to the slot's worker
	succeed             // pass the result on
	fail                // pass the error on
)

// attempt decides how an invoke goes on after each answer. It retries only what
// has certainly not begun to run, and only so often. It does no I/O; the
// Service performs its steps.
type attempt struct {
	refusals int // reservations that a worker did not accept
	err      error
}

// maxRefusals is how many stale reservations one invoke puts up with. More than
// a few mean that manager and workers do not agree, which waiting will not mend.
const maxRefusals = 5

// reserved is the manager's answer.
func (a *attempt) reserved(err error) step {
	if err == nil {
		return send
	}
	a.err = reserveError(err)
	return fail
}

// answered is the worker's answer.
func (a *attempt) answered(err error) step {
	switch {
	case err == nil:
		return succeed
	case notBegun(err): // another slot will do
		if a.refusals++; a.refusals <= maxRefusals {
			return reserve
		}
		a.err = lambda.Errorf(lambda.CodeUnavailable, "No execution environment accepted the invocation: %w", err)
	default:
		a.err = lambda.Errorf(lambda.CodeInternal, "The execution environment was lost: %w", err)
	}
	return fail
}

// notBegun reports whether a worker's error means that no code has begun to run.
func notBegun(err error) bool {
	return errors.Is(err, invoke.ErrStaleReservation) || errors.Is(err, invoke.ErrUnknownSlot)
}

func reserveError(err error) error {
	var coded *lambda.Error
	switch {
	case errors.As(err, &coded):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, invoke.ErrNoRoom):
		return lambda.Errorf(lambda.CodeUnavailable, "No worker has room for the function: %w", err)
	}
	return lambda.Errorf(lambda.CodeInternal, "No execution environment could be had: %w", err)
}

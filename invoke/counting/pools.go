package counting

import (
	"time"

	"kiln/lambda"
)

// The refusals are immutable and shared: a throttled caller may come back very often.
var (
	errConcurrency         = lambda.Throttled(lambda.ReasonConcurrentInvocations)
	errRate                = lambda.Throttled(lambda.ReasonFunctionInvocationRate)
	errReservedConcurrency = lambda.Throttled(lambda.ReasonReservedConcurrentInvocations)
	errReservedRate        = lambda.Throttled(lambda.ReasonReservedInvocationRate)
	errRecovering          = lambda.Errorf(lambda.CodeUnavailable, "Concurrency is being recounted after a change of owner.")
	errLapsed              = lambda.Errorf(lambda.CodeUnavailable, "The front end's lease has lapsed; it must list what it has in flight.")
)

// account is one account's limit and use.
// Invariants: inFlight is the sum over its functions, unreserved the sum over
// those without a reservation, reserved the sum of the reservations.
type account struct {
	limit      int
	reserved   int
	inFlight   int
	unreserved int
	rate       meter // requests of the unreserved pool
}

// unreservedLimit is what the reservations leave.
func (a *account) unreservedLimit() int { return max(a.limit-a.reserved, 0) }

// none marks a function without a reservation.
const none = -1

// function is one function's use, over all its versions.
type function struct {
	key      lambda.FunctionKey
	account  *account
	reserved int // none for no reservation
	inFlight int
	rate     meter // requests, of a reserved function
	growth   meter // environments
	warm     warmLevel
}

// admit decides on one more request at now and spends what it costs, or
// refuses and spends nothing.
func (f *function) admit(now time.Time, cfg *Config) *lambda.Error {
	a := f.account
	limit, rate, errFull, errFast := a.limit, &a.rate, errConcurrency, errRate
	if f.reserved != none {
		limit, rate, errFull, errFast = f.reserved, &f.rate, errReservedConcurrency, errReservedRate
		if f.inFlight >= f.reserved {
			return errFull
		}
	} else if a.unreserved >= a.unreservedLimit() {
		return errFull
	}
	// Moving a reservation can leave the two pools together over the account's
	// limit for a while; the account's own limit holds even then.
	if a.inFlight >= a.limit {
		return errConcurrency
	}
	var request time.Duration
	if cfg.RequestRate > 0 {
		request = time.Second / time.Duration(cfg.RequestRate*limit)
		if !rate.allows(now, request, time.Second) {
			return errFast
		}
	}
	f.warm.roll(now, f.inFlight, cfg.IdleTimeout)
	if f.inFlight >= f.warm.level() {
		environment := cfg.RampPeriod / time.Duration(cfg.RampEnvironments)
		if !f.growth.allows(now, environment, cfg.RampPeriod) {
			return errFast
		}
		f.growth.spend(now, environment)
	}
	if cfg.RequestRate > 0 {
		rate.spend(now, request)
	}
	return nil
}

// add counts n more requests in flight, or fewer when n is negative.
func (f *function) add(now time.Time, n int, cfg *Config) {
	f.warm.roll(now, f.inFlight, cfg.IdleTimeout)
	f.inFlight += n
	f.account.inFlight += n
	if f.reserved == none {
		f.account.unreserved += n
	}
	f.warm.reach(f.inFlight)
}

// reserve moves the function and what it has in flight between the pools.
func (f *function) reserve(n int) {
	a := f.account
	if f.reserved == none {
		a.unreserved -= f.inFlight
	} else {
		a.reserved -= f.reserved
	}
	f.reserved = n
	if n == none {
		a.unreserved += f.inFlight
	} else {
		a.reserved += n
	}
}

// quiet reports whether the function can be forgotten without a difference.
func (f *function) quiet(now time.Time, cfg *Config) bool {
	if f.inFlight > 0 || f.reserved != none {
		return false
	}
	f.warm.roll(now, 0, cfg.IdleTimeout)
	return f.warm.level() == 0 && !now.Before(f.growth.whole) && !now.Before(f.rate.whole)
}

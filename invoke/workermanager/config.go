package workermanager

import "time"

// Config tunes a Core; zero fields take their defaults.
type Config struct {
	// IdleTimeout is how long a slot stays without work before it is ended (10 min).
	IdleTimeout time.Duration
	// MaxWait is how long a request waits for room when no start is under way for it (10 s).
	MaxWait time.Duration
	// MaxAttempts is how often a start is tried, on different workers where there are some (3).
	MaxAttempts int
	// StartTimeout is how long a start may take before the slot is given up (3 min).
	// It exceeds the longest initialization that a function may have.
	StartTimeout time.Duration
	// RenewBefore is how long before its lease expires a slot's lease is renewed, or else
	// the slot takes no more work (30 min). It exceeds the longest invocation.
	RenewBefore time.Duration
	// RenewRetry is how long after an unanswered renewal the next is tried (1 min).
	RenewRetry time.Duration
	// AskInterval is how often each worker is asked for its slots, which makes
	// good what reports were lost (10 s).
	AskInterval time.Duration
	// ReservationGrace is how long a reservation may go unused before the slot is
	// taken back, provided that its worker still says it is idle (10 s).
	ReservationGrace time.Duration
	// Remember is how long ended slots are known, so that a late report does not
	// bring one back (30 s).
	Remember time.Duration
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.IdleTimeout, 10 * time.Minute},
		{&c.MaxWait, 10 * time.Second},
		{&c.StartTimeout, 3 * time.Minute},
		{&c.RenewBefore, 30 * time.Minute},
		{&c.RenewRetry, time.Minute},
		{&c.AskInterval, 10 * time.Second},
		{&c.ReservationGrace, 10 * time.Second},
		{&c.Remember, 30 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = 3
	}
	return c
}

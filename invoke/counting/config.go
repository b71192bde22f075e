package counting

import (
	"time"

	"kiln/lambda"
)

// Config tunes a Core; zero fields take their defaults.
type Config struct {
	// AccountLimit is the limit of accounts that SetAccountLimit has not named (1,000).
	AccountLimit int
	// RampEnvironments may be added to a function in each RampPeriod (1,000 in 10 s).
	// The allowance refills continuously and never exceeds RampEnvironments.
	RampEnvironments int
	RampPeriod       time.Duration
	// IdleTimeout is how long an unused environment is kept, which is how long a
	// function remembers the level it has reached (10 min).
	IdleTimeout time.Duration
	// RequestRate is how many requests a second each unit of a pool's limit allows
	// (10, as AWS documents). A negative value turns the check off.
	RequestRate int
	// FrontEndTimeout is how long a front end under a lease may be silent before
	// what it holds is given back (3 s).
	FrontEndTimeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.AccountLimit == 0 {
		c.AccountLimit = lambda.DefaultAccountConcurrency
	}
	if c.RampEnvironments == 0 {
		c.RampEnvironments = lambda.RampEnvironments
	}
	if c.RampPeriod == 0 {
		c.RampPeriod = lambda.RampPeriod
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = 10 * time.Minute
	}
	if c.RequestRate == 0 {
		c.RequestRate = 10
	}
	if c.FrontEndTimeout == 0 {
		c.FrontEndTimeout = 3 * time.Second
	}
	return c
}

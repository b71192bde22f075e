package counting

import "kiln/lambda"

// Stats are totals since the core began, and what is in flight now.
type Stats struct {
	Granted   uint64
	Throttled uint64
	Reclaimed uint64 // given back for front ends that fell silent
	InFlight  int
	FrontEnds int
	Functions int
}

// Stats returns the figures of the partition.
func (c *Core) Stats() Stats {
	s := c.stats
	s.InFlight, s.FrontEnds, s.Functions = c.units.live, len(c.fronts), len(c.functions)
	return s
}

// Usage is one account's or function's concurrency.
type Usage struct {
	Limit    int
	InFlight int
	// Unreserved is how much of an account's limit no function has reserved.
	Unreserved int
}

// AccountUsage returns an account's concurrency.
func (c *Core) AccountUsage(id string) Usage {
	a := c.accounts[id]
	if a == nil {
		a = &account{limit: c.cfg.AccountLimit}
	}
	return Usage{Limit: a.limit, InFlight: a.inFlight, Unreserved: a.unreservedLimit()}
}

// FunctionUsage returns a function's concurrency; its Limit is that of the pool
// it draws on.
func (c *Core) FunctionUsage(fn lambda.FunctionKey) Usage {
	f := c.functions[fn]
	if f == nil {
		u := c.AccountUsage(fn.Account)
		return Usage{Limit: u.Unreserved}
	}
	if f.reserved != none {
		return Usage{Limit: f.reserved, InFlight: f.inFlight}
	}
	return Usage{Limit: f.account.unreservedLimit(), InFlight: f.inFlight}
}

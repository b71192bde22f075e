package counting

import (
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// Core is the state machine of one partition of the counting service. Every
// method takes the time of its event; time must not go back. A Core is not safe
// for concurrent use.
type Core struct {
	cfg       Config
	epoch     invoke.Epoch
	accounts  map[string]*account
	functions map[lambda.FunctionKey]*function
	fronts    map[invoke.FrontEndID]*front
	units     ledger
	recovery  recovery
	ticked    time.Time // last Tick
	sweepAt   time.Time
	stats     Stats
}

// New returns a core with nothing in flight that grants at once. A core that
// succeeds another must Recover first.
func New(cfg Config, epoch invoke.Epoch) *Core {
	return &Core{
		cfg:       cfg.withDefaults(),
		epoch:     epoch,
		accounts:  map[string]*account{},
		functions: map[lambda.FunctionKey]*function{},
		fronts:    map[invoke.FrontEndID]*front{},
	}
}

// Acquire takes one unit of concurrency for a request of fn that came to front.
// The pools are asked in the order reserved, then unreserved: a function with
// a reservation draws on that alone. The error is a throttle with its Reason, or
// CodeUnavailable when this owner cannot decide now.
func (c *Core) Acquire(now time.Time, front invoke.FrontEndID, fn lambda.FunctionKey) (invoke.Unit, error) {
	if c.recovery.waiting != nil {
		return invoke.Unit{}, errRecovering
	}
	fe := c.front(front)
	if fe.lapsed {
		return invoke.Unit{}, errLapsed
	}
	f := c.function(fn, now)
	if err := f.admit(now, &c.cfg); err != nil {
		c.stats.Throttled++
		return invoke.Unit{}, err
	}
	f.add(now, 1, &c.cfg)
	c.stats.Granted++
	return invoke.Unit{ID: c.units.add(f, fe), Epoch: c.epoch, Function: fn}, nil
}

// Release gives a unit back and reports whether it was held. Releasing a unit
// twice, or one that was given back for its dead front end, changes nothing.
func (c *Core) Release(now time.Time, u invoke.Unit) bool {
	i, ok := c.units.find(u, c.epoch)
	if !ok {
		c.recovery.bury(now, u)
		return false
	}
	c.free(now, i)
	return true
}

// free gives unit i back.
func (c *Core) free(now time.Time, i uint32) {
	f := c.units.records[i].fn
	c.units.remove(i)
	f.add(now, -1, &c.cfg)
}

// SetAccountLimit sets an account's limit. A limit below what is in flight
// stops grants until enough has ended.
func (c *Core) SetAccountLimit(id string, n int) { c.account(id).limit = max(n, 0) }

// SetReserved sets a function's reserved concurrency, nil for none. What it has
// in flight counts against the new pool at once.
func (c *Core) SetReserved(now time.Time, fn lambda.FunctionKey, n *int) {
	if n == nil {
		if f := c.functions[fn]; f != nil {
			f.reserve(none)
		}
		return
	}
	c.function(fn, now).reserve(max(*n, 0))
}

// Tick does what is due: it gives back what silent front ends hold, ends a
// recovery whose time is over and forgets what no longer matters. Call it about
// every second.
func (c *Core) Tick(now time.Time) {
	c.forgivePause(now)
	c.expireFronts(now)
	c.endRecovery(now)
	c.recovery.forget(now, c.cfg.FrontEndTimeout)
	if now.Before(c.sweepAt) {
		return
	}
	c.sweepAt = now.Add(c.cfg.IdleTimeout / 2)
	for key, f := range c.functions {
		if f.quiet(now, &c.cfg) {
			delete(c.functions, key)
		}
	}
}

func (c *Core) account(id string) *account {
	a := c.accounts[id]
	if a == nil {
		a = &account{limit: c.cfg.AccountLimit}
		c.accounts[id] = a
	}
	return a
}

func (c *Core) function(key lambda.FunctionKey, now time.Time) *function {
	f := c.functions[key]
	if f == nil {
		f = &function{key: key, account: c.account(key.Account), reserved: none, warm: warmLevel{start: now}}
		c.functions[key] = f
	}
	return f
}

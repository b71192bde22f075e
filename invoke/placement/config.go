package placement

import "time"

// Config tunes a Core; zero fields take their defaults.
type Config struct {
	// LeaseTime is how long a slot is leased for (4 h).
	LeaseTime time.Duration
	// DeadAfter is the silence after which a worker is declared dead (2 s).
	DeadAfter time.Duration
	// Overcommit is how many times a worker's capacity its slots may claim in all.
	Overcommit Overcommit
	// Choices is how many workers are drawn at random for a decision (8).
	Choices int
	// FunctionShare and AccountShare are the shares of a worker up to which one
	// function (0.1) or one account (0.5) may grow there before other workers
	// are preferred.
	FunctionShare float64
	AccountShare  float64
	// MaxAge is the age at which a worker is drained; 0 is never, which is right
	// where nothing replaces it. AgingShare bounds how many drain at once (0.1).
	MaxAge     time.Duration
	AgingShare float64
	// PackTo is the load, as a share of what the active workers have, that the fleet
	// is packed to: workers beyond that get slots only when all others are full
	// (0.6). A negative value leaves all workers active.
	PackTo float64
	// Instance begins the names of slots. It must differ for each core there ever
	// is in a region, so that no slot's name is used twice.
	Instance string
	// Seed determines the draws.
	Seed uint64
}

// Overcommit has a factor for each resource that slots do not use up at the same
// time. Network slots are never overcommitted.
type Overcommit struct {
	Memory  float64 // 8: environments touch a fraction of their size, and workers refuse when memory is short
	CPU     float64 // 64: most slots are frozen
	Storage float64 // 16
}

func (c Config) withDefaults() Config {
	if c.LeaseTime == 0 {
		c.LeaseTime = 4 * time.Hour
	}
	if c.DeadAfter == 0 {
		c.DeadAfter = 2 * time.Second
	}
	if c.Choices == 0 {
		c.Choices = 8
	}
	for _, f := range []struct {
		field *float64
		value float64
	}{
		{&c.Overcommit.Memory, 8},
		{&c.Overcommit.CPU, 64},
		{&c.Overcommit.Storage, 16},
		{&c.FunctionShare, 0.1},
		{&c.AccountShare, 0.5},
		{&c.AgingShare, 0.1},
		{&c.PackTo, 0.6},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return c
}

package workermanager

import "kiln/lambda"

// Stats are totals since the core began, and how things stand now.
type Stats struct {
	Warm         uint64 // requests that found an idle slot
	Waited       uint64 // requests that were given a slot after a wait
	Failed       uint64 // requests that were not
	Started      uint64 // starts that placement found room for
	StartsFailed uint64 // attempts that failed
	Evicted      uint64
	Adopted      uint64 // slots that workers made known
	Lost         uint64 // slots that went with a worker, or unreported

	Starting int
	Idle     int
	Busy     int
	Ending   int
	Waiting  int // requests
	Blocked  int // starts that wait for room
	Versions int
	Workers  int
}

// Stats returns the figures of the partition.
func (c *Core) Stats() Stats {
	st := c.stats
	st.Starting, st.Idle, st.Blocked, st.Versions = c.starting.n, c.idle.n, c.nBlocked, len(c.pools)
	for _, s := range c.slots {
		switch s.state {
		case busy:
			st.Busy++
		case ending:
			st.Ending++
		}
	}
	for _, p := range c.pools {
		st.Waiting += p.waiting.n
	}
	for _, w := range c.roster {
		if w.slots.n > 0 {
			st.Workers++
		}
	}
	return st
}

// VersionStats is how one version stands.
type VersionStats struct {
	Slots    int // in any state
	Starting int
	Idle     int
	Waiting  int
	Workers  int
}

// VersionStats returns the figures of one version.
func (c *Core) VersionStats(key lambda.VersionKey) VersionStats {
	p := c.pools[key]
	if p == nil {
		return VersionStats{}
	}
	st := VersionStats{Slots: p.slots, Starting: p.starting, Waiting: p.waiting.n, Workers: len(p.hosts)}
	for _, h := range p.ready {
		st.Idle += h.idle.n
	}
	return st
}

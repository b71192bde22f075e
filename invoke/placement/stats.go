package placement

// Stats are totals since the core began, and how things stand now.
type Stats struct {
	Placed  uint64
	NoRoom  uint64
	Refused uint64 // bookings that a worker did not take
	Expired uint64
	Lost    uint64 // workers
	Workers int
	Resting int // workers that are not needed
	Slots   int
	// Needed is how many workers the present load needs, with a zone to spare.
	Needed int
	Zones  map[string]Zone
}

// Zone is one zone's share.
type Zone struct {
	Workers int
	Slots   int
	// Load is the mean load of the workers' scarcest resources, 1 for full.
	Load float64
}

// Stats returns the figures of the service.
func (c *Core) Stats() Stats {
	s := c.stats
	s.Workers, s.Slots, s.Zones = len(c.alive), len(c.slots), map[string]Zone{}
	total := 0.0
	for _, n := range c.alive {
		peak := c.load(n, claim{}, 0).peak()
		total += peak
		z := s.Zones[n.status.Zone]
		z.Workers++
		z.Slots += int(n.slots)
		z.Load += peak
		s.Zones[n.status.Zone] = z
		if n.resting {
			s.Resting++
		}
	}
	for name, z := range s.Zones {
		z.Load /= float64(z.Workers)
		s.Zones[name] = z
	}
	s.Needed = c.needed(total)
	return s
}

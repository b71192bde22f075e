package counting

import (
	"time"

	"kiln/invoke"
)

// front is what one front end holds. A front end is under a lease from its
// first Renew on; one in the owner's own process cannot die alone and needs none.
type front struct {
	first   uint32    // of its units in the ledger, end for none
	held    int       // length of that list
	expires time.Time // zero without a lease
	// lapsed front ends get nothing until they list what they have in flight: it
	// was given back, but may be running still.
	lapsed bool
}

// forgetLapsed is how long a lapsed front end is remembered. Identities are not
// used again, so nothing is lost by forgetting one that is really dead.
const forgetLapsed = time.Hour

func (c *Core) front(id invoke.FrontEndID) *front {
	fe := c.fronts[id]
	if fe == nil {
		fe = &front{first: end}
		c.fronts[id] = fe
	}
	return fe
}

// Renew extends a front end's lease. It reports false when this owner does not
// know what the front end has in flight: the front end must then Rebuild.
func (c *Core) Renew(now time.Time, id invoke.FrontEndID) bool {
	fe := c.fronts[id]
	if fe == nil || fe.lapsed || c.recovery.expects(id) {
		return false
	}
	fe.expires = now.Add(c.cfg.FrontEndTimeout)
	return true
}

// forgivePause prolongs the leases by a time in which this owner itself was not
// running, since it could not hear the front ends then.
func (c *Core) forgivePause(now time.Time) {
	pause := now.Sub(c.ticked)
	if !c.ticked.IsZero() && pause > c.cfg.FrontEndTimeout/2 {
		for _, fe := range c.fronts {
			if !fe.lapsed && !fe.expires.IsZero() {
				fe.expires = fe.expires.Add(pause)
			}
		}
	}
	c.ticked = now
}

// expireFronts gives back what front ends hold that have been silent too long.
func (c *Core) expireFronts(now time.Time) {
	for id, fe := range c.fronts {
		switch {
		case fe.expires.IsZero() || now.Before(fe.expires):
		case !fe.lapsed:
			c.stats.Reclaimed += uint64(fe.held)
			for fe.first != end {
				c.free(now, fe.first)
			}
			fe.lapsed = true
			fe.expires = now.Add(forgetLapsed)
		default:
			delete(c.fronts, id)
		}
	}
}

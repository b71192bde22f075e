package counting

import (
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// recovery is a new owner's way to knowing what is in flight.
type recovery struct {
	// waiting are the front ends that have not yet said what they hold; nil when
	// nothing is being recovered.
	waiting  map[invoke.FrontEndID]bool
	deadline time.Time
	// buried are units that were released before they were known, so that a list
	// which was made earlier and arrives later does not bring them back.
	buried map[invoke.Unit]time.Time
}

func (r *recovery) expects(id invoke.FrontEndID) bool { return r.waiting[id] }

func (r *recovery) bury(now time.Time, u invoke.Unit) {
	if r.buried == nil {
		r.buried = map[invoke.Unit]time.Time{}
	}
	r.buried[u] = now
}

func (r *recovery) forget(now time.Time, timeout time.Duration) {
	for u, at := range r.buried {
		if now.Sub(at) >= timeout {
			delete(r.buried, u)
		}
	}
}

// Recover begins the tenure of an owner that succeeds another. Nothing is
// granted until each of fronts, the front ends that may hold units, has called
// Rebuild, or until the lease of any front end that does not has run out.
func (c *Core) Recover(now time.Time, fronts []invoke.FrontEndID) {
	if len(fronts) == 0 {
		return
	}
	c.recovery.waiting = make(map[invoke.FrontEndID]bool, len(fronts))
	for _, id := range fronts {
		c.recovery.waiting[id] = true
	}
	c.recovery.deadline = now.Add(c.cfg.FrontEndTimeout)
}

// endRecovery gives up on the front ends that have not been heard of in time;
// they are as lapsed as those that fall silent later.
func (c *Core) endRecovery(now time.Time) {
	if c.recovery.waiting == nil || now.Before(c.recovery.deadline) {
		return
	}
	for id := range c.recovery.waiting {
		fe := c.front(id)
		fe.lapsed = true
		fe.expires = now.Add(forgetLapsed)
	}
	c.recovery.waiting = nil
}

// Rebuild tells the owner of the given epoch the units that a front end has in
// flight, after a change of owner or a lapsed lease. They count even where that
// exceeds a limit, since they are running. Units known already are not counted
// twice. Only the current owner takes the list: any other epoch is refused with
// CodeUnavailable.
func (c *Core) Rebuild(now time.Time, epoch invoke.Epoch, id invoke.FrontEndID, units []invoke.Unit) error {
	if epoch != c.epoch {
		return lambda.Errorf(lambda.CodeUnavailable, "Epoch %d of the counting service is not in office.", epoch)
	}
	fe := c.front(id)
	fe.lapsed = false
	fe.expires = now.Add(c.cfg.FrontEndTimeout)
	for _, u := range units {
		if _, known := c.units.find(u, c.epoch); known {
			continue
		}
		if _, released := c.recovery.buried[u]; released {
			continue
		}
		f := c.function(u.Function, now)
		f.add(now, 1, &c.cfg)
		c.units.adopt(u, f, fe)
	}
	delete(c.recovery.waiting, id)
	if len(c.recovery.waiting) == 0 {
		c.recovery.waiting = nil
	}
	return nil
}

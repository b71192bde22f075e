package network

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// A slot is removed in two steps. Detaching it ends its traffic at once: its
// gateway loses its address, so no packet of the slot's has an acceptable
// source any more, and its namespace is let go. The kernel then removes
// namespaces and links by itself, many in one go, which is ten times cheaper
// than removing one link after the other. An address is used again when its
// link is seen to be gone.

const (
	// removalQueue is how many released slots may wait before Release waits too.
	removalQueue = 256
	// removalCheck is the time between looks at what the kernel has removed.
	removalCheck = 100 * time.Millisecond
	// removalPatience is how long a link may stay, as it does while a process is
	// left in the namespace, until it is removed by request.
	removalPatience = 3 * time.Second
)

// dying is a slot that has been detached.
type dying struct {
	slot  *Slot
	since time.Time
}

// remove removes released slots until Close.
func (n *Network) remove() {
	defer n.tasks.Done()
	var left []dying
	check := time.NewTicker(removalCheck)
	defer check.Stop()
	for {
		tick := check.C
		if len(left) == 0 {
			tick = nil
		}
		select {
		case <-n.stop:
			return
		case s := <-n.removals:
			if err := n.detach(s); err != nil {
				n.config.Log.Warn("cannot remove a network slot", "error", err)
			}
			left = append(left, dying{s, time.Now()})
		case now := <-tick:
			left = n.bury(left, now)
		}
	}
}

// detach ends a slot's traffic and lets its namespace go.
func (n *Network) detach(s *Slot) error {
	return errors.Join(
		n.links.do(deleteAddress(routerLinks+s.index, s.Gateway)),
		letGo(s.Path))
}

// bury forgets the slots whose links are gone and returns the others.
func (n *Network) bury(slots []dying, now time.Time) []dying {
	var left []dying
	for _, d := range slots {
		link := routerLinks + d.slot.index
		err := n.links.do(findLink(link))
		if err == nil && now.Sub(d.since) > removalPatience {
			err = n.links.do(deleteLink(link))
			if err == nil {
				err = unix.ENODEV
			}
		}
		if !errors.Is(err, unix.ENODEV) {
			left = append(left, d)
			continue
		}
		n.mu.Lock()
		n.indexes.give(d.slot.index)
		n.mu.Unlock()
	}
	if len(left) < len(slots) {
		n.wantSpare()
	}
	return left
}

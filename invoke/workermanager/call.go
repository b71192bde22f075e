package workermanager

import "time"

// event tells the core of something and sees to what it wants done.
func (s *Service) event(tell func(now time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tell(time.Now())
	s.dispatch()
}

// dispatch hands out the core's actions; s.mu is held. Answers are delivered at
// once, calls go their own ways.
func (s *Service) dispatch() {
	if s.closed {
		s.core.Take()
		return
	}
	for _, a := range s.core.Take() {
		if a, ok := a.(Answer); ok {
			s.waiting[a.Ticket] <- a // has room for its one answer
			delete(s.waiting, a.Ticket)
			continue
		}
		s.calls.Go(func() { s.call(a) })
	}
}

// call makes one call and tells the core what came of it.
func (s *Service) call(a Action) {
	switch a := a.(type) {
	case Place:
		lease, err := s.placer.Place(s.ctx, a.Placement)
		s.event(func(now time.Time) { s.core.Placed(now, a.Start, lease, err) })
	case Begin:
		if err := s.workers.StartSlot(s.ctx, a.Worker, a.Slot, a.Version, a.Epoch); err != nil {
			s.event(func(now time.Time) { s.core.BeginFailed(now, a.Slot, err) })
		}
	case End:
		err := s.workers.EndSlot(s.ctx, a.Worker, a.Slot, a.Epoch, a.Sequence, a.Reason)
		s.event(func(now time.Time) { s.core.Ended(now, a.Slot, a.Sequence, err) })
	case Release:
		// A lease that placement could not be told of expires by itself.
		if err := s.placer.Release(s.ctx, a.Slot); err == nil {
			s.event(func(time.Time) { s.core.Released() })
		}
	case Renew:
		lease, err := s.placer.Renew(s.ctx, a.Slot)
		s.event(func(time.Time) { s.core.Renewed(a.Slot, lease, err) })
	case Ask:
		slots, err := s.workers.Slots(s.ctx, a.Worker)
		s.event(func(now time.Time) { s.core.Observe(now, a.Worker, a.Mark, slots, err) })
	}
}

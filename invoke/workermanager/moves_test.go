package workermanager

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"kiln/invoke"
	"kiln/lambda"
)

var versions = []*lambda.Version{version("f"), version("g"), version("h")}

// one does something with one of the things, if there are any.
func one[T any](t *rapid.T, things []T, do func(T)) {
	if len(things) > 0 {
		do(things[rapid.IntRange(0, len(things)-1).Draw(t, "which")])
	}
}

// unsent and running are the holders of reservations.
func (w *world) unsent() (hs []*holder)  { return w.holding(false) }
func (w *world) running() (hs []*holder) { return w.holding(true) }

func (w *world) holding(sent bool) (hs []*holder) {
	for _, h := range w.holders {
		if !h.gone && h.sent == sent {
			hs = append(hs, h)
		}
	}
	return hs
}

// begun are the slots in a state that their workers have begun to start.
func (w *world) begun(states ...invoke.SlotState) (ss []*truth) {
	for _, s := range w.order {
		if !s.created && slices.Contains(states, s.State) {
			ss = append(ss, s)
		}
	}
	return ss
}

// moves are all that can happen, each with its share of what does.
var moves = []struct {
	weight int
	name   string
	do     func(*rapid.T, *world)
}{
	{6, "reserve", func(t *rapid.T, w *world) { w.reserve(t, rapid.SampledFrom(versions).Draw(t, "version")) }},
	{1, "leave", func(t *rapid.T, w *world) {
		one(t, w.queue, func(ticket *Ticket) {
			if !w.core.Leave(ticket) || w.core.Leave(ticket) {
				t.Fatal("a ticket must be able to leave, once")
			}
			delete(w.waiting, ticket)
			w.queue = slices.DeleteFunc(w.queue, func(q *Ticket) bool { return q == ticket })
		})
	}},
	{14, "call", func(t *rapid.T, w *world) {
		if len(w.calls) > 0 {
			i := rapid.IntRange(0, len(w.calls)-1).Draw(t, "which")
			a := w.calls[i]
			w.calls = slices.Delete(w.calls, i, i+1)
			w.call(t, a)
		}
	}},
	{8, "report", func(t *rapid.T, w *world) {
		one(t, w.reports, func(m *message) {
			w.core.Report(w.now, m.SlotReport)
			if rapid.IntRange(0, 3).Draw(t, "again") > 0 {
				w.lose(m)
			}
		})
	}},
	{1, "lose report", func(t *rapid.T, w *world) { one(t, w.reports, w.lose) }},
	{5, "started", func(t *rapid.T, w *world) {
		one(t, w.begun(invoke.SlotStarting), func(s *truth) {
			s.State = invoke.SlotIdle
			w.report(s)
		})
	}},
	{1, "start failed", func(t *rapid.T, w *world) {
		one(t, w.begun(invoke.SlotStarting), func(s *truth) {
			w.drop(s)
			s.State = invoke.SlotEnded
			w.tell(invoke.SlotReport{Slot: s.Slot, Reason: invoke.EndStartFailed, Err: errors.New("no sandbox")})
		})
	}},
	{6, "send", func(t *rapid.T, w *world) { one(t, w.unsent(), func(h *holder) { w.send(t, h) }) }},
	{1, "return", func(t *rapid.T, w *world) {
		one(t, w.unsent(), func(h *holder) {
			h.gone = true
			w.giveUp(h.Reservation)
		})
	}},
	{1, "take back", func(t *rapid.T, w *world) {
		one(t, w.unsent(), func(h *holder) {
			// The shell does this at once or never.
			if w.now.Sub(h.since) < w.cfg.ReservationGrace {
				h.gone, h.given = true, true
				w.core.TakeBack(w.now, h.Reservation)
			}
		})
	}},
	{1, "front end crashes", func(t *rapid.T, w *world) {
		one(t, w.unsent(), func(h *holder) { h.gone = true })
	}},
	{6, "finish", func(t *rapid.T, w *world) { one(t, w.running(), w.finish) }},
	{1, "sandbox dies", func(t *rapid.T, w *world) {
		one(t, w.begun(invoke.SlotStarting, invoke.SlotIdle, invoke.SlotBusy), func(s *truth) {
			w.drop(s)
			s.State = invoke.SlotEnded
			w.tell(invoke.SlotReport{Slot: s.Slot, Reason: invoke.EndFailed})
		})
	}},
	{1, "worker dies", func(t *rapid.T, w *world) {
		var alive []invoke.WorkerID
		for i := range w.lastID + 1 {
			if id := invoke.WorkerID(fmt.Sprintf("w%d", i)); w.room[id] > 0 {
				alive = append(alive, id)
			}
		}
		one(t, alive, func(id invoke.WorkerID) {
			delete(w.room, id)
			for _, s := range slices.Clone(w.order) {
				if s.Worker == id {
					w.drop(s)
				}
			}
			maps.DeleteFunc(w.leases, func(_ invoke.SlotID, l invoke.Lease) bool { return l.Worker == id })
			w.core.WorkerLost(w.now, id)
			w.newWorker()
		})
	}},
	{1, "outdate", func(t *rapid.T, w *world) {
		v, keep := rapid.SampledFrom(versions).Draw(t, "version"), rapid.Bool().Draw(t, "keep")
		w.core.Outdate(v.Key.FunctionKey, func(lambda.VersionKey) bool { return keep })
	}},
	{1, "worker drains", func(t *rapid.T, w *world) {
		w.core.DrainWorker(invoke.WorkerID(fmt.Sprintf("w%d", rapid.IntRange(1, w.lastID).Draw(t, "worker"))))
	}},
	{1, "new owner", func(t *rapid.T, w *world) { w.succeed() }},
	{2, "time", func(t *rapid.T, w *world) {
		w.now = w.now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Second,
			11 * time.Second, 11 * time.Second, 4 * time.Minute, 11 * time.Minute, 3 * time.Hour}).Draw(t, "time"))
		w.expire()
		w.core.Tick(w.now)
	}},
}

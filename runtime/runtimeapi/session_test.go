package runtimeapi

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSessionProtocol drives a session with every call in any order and holds
// it against a model that knows only what has been delivered and answered.
func TestSessionProtocol(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s session
		s.reset()
		var (
			polling  chan *Event // the runtime's open poll
			pending  bool        // current has not reached the runtime
			answer   <-chan Response
			current  *Event
			open     *exchange
			booted   bool
			failed   bool
			n        int
			answered int
		)
		isIdle := func() bool {
			select {
			case <-s.idle:
				return true
			default:
				return false
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"poll": func(t *rapid.T) {
				ch, err := s.poll()
				allowed := (current == nil || pending) && polling == nil
				if (err == nil) != allowed {
					t.Fatalf("poll: err %v, allowed %v", err, allowed)
				}
				if err == nil {
					polling, booted = ch, true
				}
			},
			// The poll's connection breaks, before or after the event was taken.
			"abandon": func(t *rapid.T) {
				if polling == nil {
					return
				}
				var ev *Event
				if pending && rapid.Bool().Draw(t, "taken") {
					ev = <-polling
				}
				s.abandon(polling, ev)
				polling = nil
			},
			"take": func(t *rapid.T) {
				if polling == nil || !pending {
					return
				}
				if got := <-polling; got != current {
					t.Fatalf("the poll got %v, want %v", got, current)
				}
				polling, pending = nil, false
			},
			"deliver": func(t *rapid.T) {
				n++
				ev := &Event{RequestID: string(rune('a' + n%26)), InvocationID: string(rune('A' + n%26))}
				allowed := booted && current == nil && isIdle()
				ch, err := s.deliver(ev, nil)
				if (err == nil) != allowed {
					t.Fatalf("deliver: err %v, allowed %v", err, allowed)
				}
				if err == nil {
					current, answer, pending = ev, ch, true
				}
			},
			"begin": func(t *rapid.T) {
				if pending {
					return // nobody knows its ID yet
				}
				id := rapid.SampledFrom([]string{"right", "wrong"}).Draw(t, "id")
				attempt := rapid.SampledFrom([]string{"", "right", "wrong"}).Draw(t, "attempt")
				requestID, invocationID := "?", attempt
				if current != nil && id == "right" {
					requestID = current.RequestID
				}
				if current != nil && attempt == "right" {
					invocationID = current.InvocationID
				}
				x, err := s.begin(requestID, invocationID)
				allowed := current != nil && open == nil && id == "right" && attempt != "wrong"
				if (err == nil) != allowed {
					t.Fatalf("begin: err %v, allowed %v", err, allowed)
				}
				if err == nil {
					open = x
				}
			},
			"finish": func(t *rapid.T) {
				if open == nil {
					return
				}
				s.finish(open, Response{ErrorType: current.RequestID})
				if got := (<-answer).ErrorType; got != current.RequestID {
					t.Fatalf("answer of %q, want %q", got, current.RequestID)
				}
				answered++
				open, current = nil, nil
			},
			"initError": func(t *rapid.T) {
				_, err := s.beginInitError()
				if allowed := !booted && !failed; (err == nil) != allowed {
					t.Fatalf("an initialization error: %v, allowed %v", err, allowed)
				}
				failed = failed || err == nil
			},
			"reset": func(t *rapid.T) {
				s.reset()
				if polling != nil && !pending {
					if ev, ok := <-polling; ok {
						t.Fatalf("reset gave the poll %v", ev)
					}
				}
				polling, current, open, booted, failed, pending = nil, nil, nil, false, false, false
			},
			"": func(t *rapid.T) {
				if polling != nil && current == nil && !isIdle() {
					t.Fatal("polls, but is not idle")
				}
				if current != nil && isIdle() {
					t.Fatal("idle with an invocation in progress")
				}
			},
		})
	})
}

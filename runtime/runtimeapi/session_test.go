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
			answer   <-chan Response
			current  *Event
			open     *exchange
			booted   bool
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
				allowed := current == nil && polling == nil
				if (err == nil) != allowed {
					t.Fatalf("poll: err %v, allowed %v", err, allowed)
				}
				if err == nil {
					polling, booted = ch, true
				}
			},
			"abandon": func(*rapid.T) {
				if polling != nil {
					s.abandon(polling)
					polling = nil
				}
			},
			"deliver": func(t *rapid.T) {
				n++
				ev := &Event{RequestID: string(rune('a' + n%26)), InvocationID: string(rune('A' + n%26))}
				ch, err := s.deliver(ev, nil)
				allowed := polling != nil && current == nil
				if (err == nil) != allowed {
					t.Fatalf("deliver: err %v, allowed %v", err, allowed)
				}
				if err == nil {
					if got := <-polling; got != ev {
						t.Fatalf("the poll got %v, want %v", got, ev)
					}
					polling, current, answer = nil, ev, ch
				}
			},
			"begin": func(t *rapid.T) {
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
				if err := s.initFailed(Response{}); err == nil && booted {
					t.Fatal("an initialization error after the initialization was taken")
				}
			},
			"reset": func(t *rapid.T) {
				s.reset()
				if polling != nil {
					if ev, ok := <-polling; ok {
						t.Fatalf("reset gave the poll %v", ev)
					}
				}
				polling, current, open, booted = nil, nil, nil, false
			},
			"": func(t *rapid.T) {
				if polling != nil && !isIdle() {
					t.Fatal("polls, but is not idle")
				}
				if current != nil && isIdle() {
					t.Fatal("idle with an invocation in progress")
				}
			},
		})
	})
}

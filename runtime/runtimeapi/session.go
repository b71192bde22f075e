package runtimeapi

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// Event is one invocation as the runtime sees it. Empty fields are not sent.
type Event struct {
	RequestID string
	// InvocationID is unique for each attempt; a runtime that echoes it proves
	// that its answer belongs to this attempt.
	InvocationID    string
	FunctionARN     string
	TraceID         string
	ClientContext   string
	CognitoIdentity string
	TenantID        string
	Deadline        time.Time
	Payload         []byte
}

// Response is the runtime's answer to an Event, or its report of a failed
// initialization.
type Response struct {
	Payload   []byte
	Failed    bool   // answered with …/error, or the answer was not acceptable
	ErrorType string // as the runtime named it, may be empty
	At        time.Time
}

// session is the state of the protocol between one environment and its
// runtime. It does no I/O and is not safe for concurrent use. Phases:
//
//	booting → idle → invoking → answering → answered → idle → …
//
// The runtime moves from booting and answered to idle by polling.
type session struct {
	phase phase
	// parked is where the runtime's poll waits for its event; nil when it does not poll.
	parked chan *Event
	// current is the invocation that has been delivered and not been answered.
	current *exchange
	// pending is current's event while it waits for the runtime to poll again.
	pending *Event
	// idle is closed on entering the phase of that name.
	idle chan struct{}
	// initError receives the runtime's report of a failed initialization.
	initError chan Response
	// failing is set while and after the runtime reports that.
	failing bool
}

type phase uint8

const (
	booting phase = iota
	idle
	invoking
	answering
	answered
)

// exchange is one event and the place for its answer.
type exchange struct {
	event  *Event
	stream io.Writer
	answer chan Response // buffered: one answer, never blocks
}

var (
	errNotIdle       = errors.New("the runtime is not idle")
	errAlreadyPolls  = errors.New("another call of next is waiting")
	errNotResponding = errors.New("an invocation is in progress: it must be answered before the next one is asked for")
	errNotBooting    = errors.New("the initialization is over")
)

// protocolError is a refusal of a runtime's call.
type protocolError struct {
	status int
	kind   string
	text   string
}

func (e *protocolError) Error() string { return e.text }

func (s *session) reset() {
	if s.parked != nil {
		close(s.parked)
	}
	*s = session{idle: make(chan struct{}), initError: make(chan Response, 1)}
}

// poll is the runtime's call of next. The event arrives on the channel; a
// closed channel says that the environment was reset.
func (s *session) poll() (chan *Event, error) {
	switch s.phase {
	case invoking, answering:
		if s.pending == nil {
			return nil, errNotResponding
		}
		events := make(chan *Event, 1)
		events <- s.pending
		s.pending = nil
		return events, nil
	case idle:
		if s.parked != nil {
			return nil, errAlreadyPolls
		}
	case booting, answered:
		s.phase = idle
		close(s.idle)
	}
	s.parked = make(chan *Event, 1)
	return s.parked, nil
}

// abandon is the end of a poll's connection before its event was written to it;
// ev is the event if it has been taken from events. The runtime stays as it is:
// a client may poll again after a broken connection, and gets the event then.
func (s *session) abandon(events chan *Event, ev *Event) {
	if s.parked == events {
		s.parked = nil
		return
	}
	if ev == nil {
		select {
		case ev = <-events:
		default:
		}
	}
	if ev != nil && s.phase == invoking && s.current.event == ev {
		s.pending = ev
	}
}

func (s *session) deliver(ev *Event, stream io.Writer) (<-chan Response, error) {
	if s.phase != idle {
		return nil, errNotIdle
	}
	s.current = &exchange{event: ev, stream: stream, answer: make(chan Response, 1)}
	s.phase = invoking
	s.idle = make(chan struct{})
	if s.parked == nil {
		s.pending = ev
		return s.current.answer, nil
	}
	s.parked <- ev
	s.parked = nil
	return s.current.answer, nil
}

// begin is the arrival of an answer's head. The attempt's ID may be missing,
// but must not be another's.
func (s *session) begin(requestID, invocationID string) (*exchange, *protocolError) {
	x := s.current
	if x == nil || x.event.RequestID != requestID {
		return nil, &protocolError{http.StatusBadRequest, "InvalidRequestID", "Invalid request ID"}
	}
	if invocationID != "" && invocationID != x.event.InvocationID {
		return nil, &protocolError{http.StatusBadRequest, "InvalidInvocationId", "Invalid invocation ID"}
	}
	if s.phase != invoking {
		return nil, &protocolError{http.StatusForbidden, "InvalidStateTransition", "The invocation has been answered already"}
	}
	s.phase, s.pending = answering, nil
	return x, nil
}

// finish is the arrival of the whole answer.
func (s *session) finish(x *exchange, resp Response) {
	if s.current != x || s.phase != answering { // reset meanwhile
		return
	}
	s.phase = answered
	s.current = nil
	x.answer <- resp
}

// beginInitError is the arrival of the head of a failed initialization's report;
// the whole of it goes to the channel, which has room for it.
func (s *session) beginInitError() (chan<- Response, error) {
	if s.phase != booting || s.failing {
		return nil, errNotBooting
	}
	s.failing = true
	return s.initError, nil
}

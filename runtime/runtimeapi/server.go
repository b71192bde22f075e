// Package runtimeapi serves the Lambda Runtime API, version 2018-06-01, to the
// one runtime of one execution environment.
//
// A Server lives as long as its environment and outlives the runtime's process:
// Reset prepares it for the next one. The worker delivers one invocation at a
// time; the runtime takes it with GET …/invocation/next, answers it with
// …/response or …/error, and asks for the next, which is the sign that it is
// idle. The protocol's state is in session, which does no I/O.
package runtimeapi

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const prefix = "/2018-06-01/runtime/"

// What a function can make this process spend is bounded: so many connections,
// so much for the head of a request on each, and so much time for each call that
// makes no sense, of which a function could send any number at little cost.
const (
	maxConnections = 32
	maxHeaderBytes = 128 << 10
	refusalPause   = 10 * time.Millisecond
)

// Server is the Runtime API of one environment. It is safe for concurrent use.
type Server struct {
	http        http.Server
	maxResponse int64

	mu    sync.Mutex
	s     session
	conns map[net.Conn]bool // open ones
}

// Serve starts to serve on l, which Close closes. maxResponse is the largest
// response that is accepted, in bytes.
func Serve(l net.Listener, maxResponse int64, logger *slog.Logger) *Server {
	s := &Server{maxResponse: maxResponse, conns: map[net.Conn]bool{}}
	s.s.reset()
	s.http.Handler = http.HandlerFunc(s.handle)
	s.http.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	s.http.ReadHeaderTimeout = 0 // the peer is frozen between invocations, for as long as it takes
	s.http.MaxHeaderBytes = maxHeaderBytes
	s.http.ConnState = s.track
	go s.http.Serve(l) //nolint:errcheck // always ErrServerClosed or the listener's end
	return s
}

// Close ends every connection and the listener.
func (s *Server) Close() error {
	s.mu.Lock()
	s.s.reset()
	s.mu.Unlock()
	return s.http.Close()
}

// Reset forgets the runtime's process, which is gone: a new one is about to
// start. What the old one had sent is not heard any more.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.reset()
	for c := range s.conns { // a guest kernel that was killed did not say goodbye
		c.Close()
	}
	clear(s.conns)
}

// track follows the connections, of which there may be only so many.
func (s *Server) track(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if tcp, ok := c.(*net.TCPConn); ok {
			// A frozen guest kernel answers no probes, and is to be found alive.
			tcp.SetKeepAlive(false) //nolint:errcheck // a connection that is gone shows so when it is read
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.conns) >= maxConnections {
			c.Close()
			return
		}
		s.conns[c] = true
	case http.StateClosed, http.StateHijacked:
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	}
}

// Idle returns a channel that is closed once the runtime waits for an event it
// has not been given: after its initialization, and after every invocation.
func (s *Server) Idle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s.idle
}

// InitError returns a channel with the error that the runtime reported instead
// of becoming idle.
func (s *Server) InitError() <-chan Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s.initError
}

// Deliver hands ev to the runtime and returns the channel on which its answer
// arrives, once. The runtime must be idle; one whose poll broke off gets ev when
// it polls again. stream may be nil.
func (s *Server) Deliver(ev *Event, stream io.Writer) (<-chan Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s.deliver(ev, stream)
}

func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, prefix)
	switch {
	case ok && path == "invocation/next" && r.Method == http.MethodGet:
		s.next(w, r)
	case ok && path == "init/error" && r.Method == http.MethodPost:
		s.initFailed(w, r)
	case ok && r.Method == http.MethodPost && strings.HasPrefix(path, "invocation/"):
		id, verb, _ := strings.Cut(strings.TrimPrefix(path, "invocation/"), "/")
		switch verb {
		case "response":
			s.respond(w, r, id, false)
		case "error":
			s.respond(w, r, id, true)
		default:
			notFound(w, r)
		}
	default:
		notFound(w, r)
	}
}

func (s *Server) next(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	events, err := s.s.poll()
	s.mu.Unlock()
	if err != nil {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", err.Error())
		return
	}
	var ev *Event
	select {
	case ev = <-events:
	case <-r.Context().Done():
	}
	if r.Context().Err() != nil {
		s.mu.Lock()
		s.s.abandon(events, ev)
		s.mu.Unlock()
		return
	}
	if ev == nil { // the environment was reset
		refuse(w, http.StatusGone, "Reset", "The execution environment is being reset.")
		return
	}
	writeEvent(w, ev)
}

func writeEvent(w http.ResponseWriter, ev *Event) {
	h := w.Header()
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{value}
		}
	}
	set("Content-Type", "application/json")
	set("Content-Length", strconv.Itoa(len(ev.Payload)))
	set("Lambda-Runtime-Aws-Request-Id", ev.RequestID)
	set("Lambda-Runtime-Invocation-Id", ev.InvocationID)
	set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(ev.Deadline.UnixMilli(), 10))
	set("Lambda-Runtime-Invoked-Function-Arn", ev.FunctionARN)
	set("Lambda-Runtime-Trace-Id", ev.TraceID)
	set("Lambda-Runtime-Client-Context", ev.ClientContext)
	set("Lambda-Runtime-Cognito-Identity", ev.CognitoIdentity)
	set("Lambda-Runtime-Aws-Tenant-Id", ev.TenantID)
	w.WriteHeader(http.StatusOK)
	w.Write(ev.Payload) //nolint:errcheck // a runtime that is gone is noticed by its exit
}

func (s *Server) respond(w http.ResponseWriter, r *http.Request, id string, failed bool) {
	s.mu.Lock()
	x, err := s.s.begin(id, r.Header.Get("Lambda-Runtime-Invocation-Id"))
	s.mu.Unlock()
	if err != nil {
		refuse(w, err.status, err.kind, err.Error())
		return
	}
	resp := Response{Failed: failed, ErrorType: r.Header.Get("Lambda-Runtime-Function-Error-Type")}
	streaming := !failed && strings.EqualFold(r.Header.Get("Lambda-Runtime-Function-Response-Mode"), "streaming")
	var readErr error
	if streaming && x.stream != nil {
		_, readErr = io.Copy(x.stream, r.Body)
	} else {
		resp.Payload, readErr = readLimited(r, s.maxResponse)
	}
	if streaming && r.Trailer.Get("Lambda-Runtime-Function-Error-Type") != "" {
		resp.Failed = true
		resp.ErrorType = r.Trailer.Get("Lambda-Runtime-Function-Error-Type")
		resp.Payload = decodeTrailer(r.Trailer.Get("Lambda-Runtime-Function-Error-Body"), resp.ErrorType)
	}
	resp.At = time.Now()
	switch {
	case errors.Is(readErr, errTooLarge):
		resp = tooLarge(s.maxResponse, resp.At)
		s.finish(x, resp)
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge",
			"Exceeded maximum allowed payload size ("+strconv.FormatInt(s.maxResponse, 10)+" bytes).")
	case readErr != nil: // truncated: the runtime died or gave up
		resp = truncated(resp.At)
		s.finish(x, resp)
		refuse(w, http.StatusBadRequest, "InvalidResponse", "The response was truncated.")
	default:
		s.finish(x, resp)
		accept(w)
	}
}

func (s *Server) finish(x *exchange, resp Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.finish(x, resp)
}

func (s *Server) initFailed(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	report, err := s.s.beginInitError()
	s.mu.Unlock()
	if err != nil {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", err.Error())
		return
	}
	resp := Response{Failed: true, ErrorType: r.Header.Get("Lambda-Runtime-Function-Error-Type")}
	resp.Payload, err = readLimited(r, s.maxResponse)
	resp.At = time.Now()
	if err != nil { // its type says enough
		resp.Payload = nil
		report <- resp
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The error is too large.")
		return
	}
	report <- resp
	accept(w)
}

package runtimeapi

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func start(t *testing.T, limit int64) (*Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(l, limit, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { s.Close() })
	return s, "http://" + l.Addr().String() + prefix
}

func post(t *testing.T, url string, body io.Reader, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// next polls in the background and returns the response when it has come.
func next(t *testing.T, base string) <-chan *http.Response {
	t.Helper()
	ch := make(chan *http.Response, 1)
	go func() {
		resp, err := http.Get(base + "invocation/next")
		if err != nil {
			t.Error(err)
			close(ch)
			return
		}
		ch <- resp
	}()
	return ch
}

func TestInvocationRoundTrip(t *testing.T) {
	s, base := start(t, 100)
	poll := next(t, base)
	<-s.Idle()
	deadline := time.UnixMilli(1700000000123)
	answer, err := s.Deliver(&Event{RequestID: "r1", InvocationID: "i1", FunctionARN: "arn:f", TraceID: "Root=1",
		Deadline: deadline, Payload: []byte(`{"a":1}`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp := <-poll
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != `{"a":1}` {
		t.Errorf("event %q", body)
	}
	for name, want := range map[string]string{
		"Lambda-Runtime-Aws-Request-Id":       "r1",
		"Lambda-Runtime-Invocation-Id":        "i1",
		"Lambda-Runtime-Deadline-Ms":          "1700000000123",
		"Lambda-Runtime-Invoked-Function-Arn": "arn:f",
		"Lambda-Runtime-Trace-Id":             "Root=1",
		"Lambda-Runtime-Client-Context":       "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if status, body := post(t, base+"invocation/other/response", strings.NewReader("{}")); status != 400 || !strings.Contains(body, "InvalidRequestID") {
		t.Errorf("a wrong request ID: %d %s", status, body)
	}
	if status, body := post(t, base+"invocation/r1/response", strings.NewReader("{}"), "Lambda-Runtime-Invocation-Id", "x"); status != 400 || !strings.Contains(body, "InvalidInvocationId") {
		t.Errorf("a wrong attempt: %d %s", status, body)
	}
	if status, _ := post(t, base+"invocation/r1/response", strings.NewReader(`"ok"`), "Lambda-Runtime-Invocation-Id", "i1"); status != 202 {
		t.Errorf("response: status %d", status)
	}
	if got := <-answer; string(got.Payload) != `"ok"` || got.Failed {
		t.Errorf("answer %+v", got)
	}
	if status, _ := post(t, base+"invocation/r1/response", strings.NewReader(`"again"`)); status != 400 {
		t.Errorf("a second answer: status %d", status)
	}
}

func TestResponsesThatAreNotAcceptable(t *testing.T) {
	for _, test := range []struct {
		name, body string
		chunked    bool
		status     int
		errorType  string
	}{
		{"at the limit", strings.Repeat("x", 100), false, 202, ""},
		{"too large", strings.Repeat("x", 101), false, 413, "Function.ResponseSizeTooLarge"},
		{"too large in chunks", strings.Repeat("x", 101), true, 413, "Function.ResponseSizeTooLarge"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, base := start(t, 100)
			poll := next(t, base)
			<-s.Idle()
			answer, err := s.Deliver(&Event{RequestID: "r"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			(<-poll).Body.Close()
			var body io.Reader = strings.NewReader(test.body)
			if test.chunked {
				body = io.MultiReader(body)
			}
			if status, _ := post(t, base+"invocation/r/response", body); status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			got := <-answer
			if got.ErrorType != test.errorType || got.Failed != (test.errorType != "") {
				t.Errorf("answer %+v", got)
			}
			// The environment is as good as before.
			poll = next(t, base)
			<-s.Idle()
			if _, err := s.Deliver(&Event{RequestID: "r2"}, nil); err != nil {
				t.Error(err)
			}
			(<-poll).Body.Close()
		})
	}
}

func TestInitErrorAndReset(t *testing.T) {
	s, base := start(t, 1000)
	failed := s.InitError()
	if status, _ := post(t, base+"init/error", strings.NewReader(`{"errorType":"X"}`), "Lambda-Runtime-Function-Error-Type", "Runtime.X"); status != 202 {
		t.Fatalf("status %d", status)
	}
	if got := <-failed; got.ErrorType != "Runtime.X" || !bytes.Equal(got.Payload, []byte(`{"errorType":"X"}`)) {
		t.Errorf("init error %+v", got)
	}
	s.Reset()
	dial(t, base, pollRequest)
	<-s.Idle()
	s.Reset()
	if _, err := s.Deliver(&Event{RequestID: "r"}, nil); err == nil {
		t.Error("delivered to a runtime that has not been heard of")
	}
}

// dial opens a connection and sends the beginning of a request.
func dial(t *testing.T, base, request string) net.Conn {
	t.Helper()
	address, _, _ := strings.Cut(strings.TrimPrefix(base, "http://"), "/")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

const pollRequest = "GET " + prefix + "invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"

// awaitConnections returns once the server has so many.
func awaitConnections(s *Server, n int) {
	for open := -1; open != n; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		open = len(s.conns)
		s.mu.Unlock()
	}
}

// A process that is gone may not have closed its connections: a guest kernel
// that is killed says nothing. Reset closes them, so that they neither pile up
// nor speak for the next process.
func TestResetClosesTheConnections(t *testing.T) {
	s, base := start(t, 100)
	c := dial(t, base, pollRequest)
	<-s.Idle()
	s.Reset()
	if _, err := io.ReadAll(c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the old process's connection: %v", err)
	}
}

// A function that opens connections without end finds them closed beyond a
// number, and its environment works again after a reset.
func TestConnectionsAreLimited(t *testing.T) {
	s, base := start(t, 100)
	for range maxConnections {
		dial(t, base, "GET ")
	}
	awaitConnections(s, maxConnections)
	if b, _ := io.ReadAll(dial(t, base, pollRequest)); len(b) != 0 {
		t.Errorf("one connection too many was answered: %q", b)
	}
	s.Reset()
	dial(t, base, pollRequest)
	<-s.Idle()
}

// A runtime whose poll broke off while nothing happened gets the next event when
// it polls again.
func TestPollThatBreaksOff(t *testing.T) {
	s, base := start(t, 100)
	c := dial(t, base, pollRequest)
	<-s.Idle()
	c.Close()
	awaitConnections(s, 0)
	answer, err := s.Deliver(&Event{RequestID: "r"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	(<-next(t, base)).Body.Close()
	if status, body := post(t, base+"invocation/r/response", strings.NewReader(`1`)); status != 202 {
		t.Fatalf("%d %s", status, body)
	}
	if got := <-answer; string(got.Payload) != "1" {
		t.Errorf("answer %+v", got)
	}
}

// Between invocations a sandbox is frozen, its network stack with it if that is
// its own, for longer than any probe of the connection would wait.
func TestConnectionsAreNotProbed(t *testing.T) {
	s, base := start(t, 100)
	dial(t, base, pollRequest)
	<-s.Idle()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		probes := -1
		raw.Control(func(fd uintptr) { probes, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE) })
		if err != nil || probes != 0 {
			t.Errorf("SO_KEEPALIVE is %d, %v", probes, err)
		}
	}
}

// Only one report of a failed initialization is read.
func TestSecondInitError(t *testing.T) {
	_, base := start(t, 100)
	post(t, base+"init/error", strings.NewReader("{}"))
	if status, _ := post(t, base+"init/error", strings.NewReader("{}")); status != http.StatusForbidden {
		t.Errorf("status %d", status)
	}
}

// A head of megabytes is refused.
func TestLargeHead(t *testing.T) {
	_, base := start(t, 100)
	if status, _ := post(t, base+"init/error", strings.NewReader("{}"), "X", strings.Repeat("x", 2*maxHeaderBytes)); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", status)
	}
}

package bootstrap

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait, so that a bootstrap that hangs fails its test.
const patience = 20 * time.Second

// runtimeAPI is a small Runtime API: it hands out events and records what the
// bootstrap reports.
type runtimeAPI struct {
	listener net.Listener
	events   chan event
	reports  chan report
	mu       sync.Mutex
	conns    map[net.Conn]bool // whether each serves a request
	polling  int
}

// event is what the next poll is answered with.
type event struct {
	id      string
	body    string
	headers map[string]string
}

// report is what the bootstrap posted.
type report struct {
	path    string // "response", "error" or "init/error"
	id      string
	header  http.Header
	body    string
	trailer http.Header
}

// failure decodes the body of an error report.
func (r report) failure(t *testing.T) (f struct {
	ErrorType, ErrorMessage, RequestID string
	Trace, StackTrace                  []string
}) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &f); err != nil {
		t.Fatalf("error body %q: %v", r.body, err)
	}
	if got := r.header.Get("Lambda-Runtime-Function-Error-Type"); got != f.ErrorType {
		t.Errorf("error type header %q, body says %q", got, f.ErrorType)
	}
	return f
}

func newRuntimeAPI(t testing.TB) *runtimeAPI {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	api := &runtimeAPI{listener: l, conns: map[net.Conn]bool{}, events: make(chan event, 16), reports: make(chan report, 16)}
	server := &http.Server{Handler: api, ConnState: func(c net.Conn, s http.ConnState) {
		api.mu.Lock()
		defer api.mu.Unlock()
		api.conns[c] = s == http.StateActive
	}}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return api
}

func (a *runtimeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const base = "/2018-06-01/runtime/"
	path := strings.TrimPrefix(r.URL.Path, base)
	if path == "invocation/next" {
		a.poll(1)
		defer a.poll(-1)
		select {
		case e := <-a.events:
			h := w.Header()
			h.Set("Content-Type", "application/json")
			h.Set("Lambda-Runtime-Aws-Request-Id", e.id)
			h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(3*time.Second).UnixMilli(), 10))
			h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:f")
			for k, v := range e.headers {
				h.Set(k, v)
			}
			io.WriteString(w, e.body)
		case <-r.Context().Done():
		}
		return
	}
	body, _ := io.ReadAll(r.Body)
	rep := report{path: path, header: r.Header, body: string(body), trailer: r.Trailer}
	if rest, ok := strings.CutPrefix(path, "invocation/"); ok {
		rep.id, rep.path, _ = strings.Cut(rest, "/")
	}
	a.reports <- rep
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"status":"OK"}`)
}

func (a *runtimeAPI) poll(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.polling += n
}

// dropConnections waits until a poll is being served and closes its connection.
func (a *runtimeAPI) dropConnections() {
	for dropped := false; !dropped; time.Sleep(time.Millisecond) {
		a.mu.Lock()
		for c, active := range a.conns {
			if active && a.polling == 1 {
				c.Close()
				dropped = true
			}
		}
		a.mu.Unlock()
	}
}

// function is a running bootstrap with its output.
type function struct {
	t    testing.TB
	api  *runtimeAPI
	cmd  *exec.Cmd
	out  output
	done chan struct{}
	n    int
}

// output collects what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start unpacks the family's bootstrap and runs args followed by its entry
// point on the given files.
func start(t testing.TB, family, handler string, files map[string]string, env []string, args ...string) *function {
	t.Helper()
	runtimeDir, task := t.TempDir(), t.TempDir()
	src, ok := Files(family)
	if !ok {
		t.Fatalf("no bootstrap for %s", family)
	}
	if err := os.CopyFS(runtimeDir, src); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(task, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	entry := map[string]string{"nodejs": "index.js", "python": "bootstrap.py"}[family]
	f := &function{t: t, api: newRuntimeAPI(t), done: make(chan struct{})}
	f.cmd = exec.Command(args[0], append(args[1:], filepath.Join(runtimeDir, entry))...)
	f.cmd.Dir = task
	f.cmd.Stdout, f.cmd.Stderr = &f.out, &f.out
	f.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=/tmp",
		"AWS_LAMBDA_RUNTIME_API=" + f.api.listener.Addr().String(),
		"_HANDLER=" + handler, "LAMBDA_TASK_ROOT=" + task, "LAMBDA_RUNTIME_DIR=" + runtimeDir,
		"AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/f", "AWS_LAMBDA_LOG_STREAM_NAME=2026/01/01/[$LATEST]0",
		"PYTHONDONTWRITEBYTECODE=1",
	}, env...)
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		f.cmd.Wait()
		close(f.done)
	}()
	t.Cleanup(func() {
		f.cmd.Process.Kill()
		<-f.done
		if t.Failed() {
			t.Logf("output:\n%s", f.out.String())
		}
	})
	return f
}

// invoke sends an event and returns what was reported for it.
func (f *function) invoke(body string) report {
	return f.invokeWith(body, nil)
}

func (f *function) invokeWith(body string, headers map[string]string) report {
	f.t.Helper()
	f.n++
	id := "request-" + strconv.Itoa(f.n)
	f.api.events <- event{id: id, body: body, headers: headers}
	r := f.report()
	if r.id != id {
		f.t.Fatalf("reported %q for %q, want %q", r.path, r.id, id)
	}
	return r
}

// report waits for the next report.
func (f *function) report() report {
	f.t.Helper()
	select {
	case r := <-f.api.reports:
		return r
	case <-time.After(patience):
		f.t.Fatalf("nothing reported within %v; output:\n%s", patience, f.out.String())
		panic("unreachable")
	}
}

// exit waits for the process to end and returns its exit code.
func (f *function) exit() int {
	f.t.Helper()
	select {
	case <-f.done:
		return f.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		f.t.Fatalf("still running after %v", patience)
		panic("unreachable")
	}
}

// logged waits until the output contains every one of the texts.
func (f *function) logged(texts ...string) {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	for _, text := range texts {
		for !strings.Contains(f.out.String(), text) {
			if time.Now().After(deadline) {
				f.t.Fatalf("output has no %q:\n%s", text, f.out.String())
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func TestFiles(t *testing.T) {
	for family, entry := range map[string]string{"nodejs": "index.js", "python": "bootstrap.py"} {
		files, ok := Files(family)
		if !ok {
			t.Fatalf("no bootstrap for %s", family)
		}
		if _, err := fs.Stat(files, entry); err != nil {
			t.Error(err)
		}
	}
	if _, ok := Files("provided"); ok {
		t.Error("provided functions bring their own bootstrap")
	}
}

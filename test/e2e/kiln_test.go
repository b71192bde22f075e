// Package e2e tests Kiln from outside: the real binary, real sandboxes, and
// clients that Kiln's authors did not write.
//
// It needs root, Linux, and bin/kiln (or the binary that KILN_BIN names).
// Runtime images are built once and kept in KILN_TEST_RUNTIMES.
package e2e

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// isolations are the back ends that every test of functions runs on.
var isolations = []string{"gvisor", "container"}

const role = "arn:aws:iam::000000000000:role/test"

// server is one running "kiln up".
type server struct {
	t        testing.TB
	data     string
	endpoint string
	args     []string
	cmd      *exec.Cmd
	log      *logBuffer
	lambda   *lambda.Client
}

// logBuffer is what the server has logged; it is shown when a test fails.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("KILN_BIN")
	if path == "" {
		path = "../../bin/kiln"
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(abs); err != nil {
		t.Fatalf("%v: run 'make kiln' first", err)
	}
	return abs
}

// newServer makes a data directory with the shared runtimes and starts Kiln.
// At the test's end Kiln is stopped, and must have left nothing behind.
func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("needs root and time")
	}
	s := &server{t: t, data: t.TempDir(), args: args}
	runtimes := os.Getenv("KILN_TEST_RUNTIMES")
	if runtimes == "" {
		runtimes = "/var/cache/kiln-test/runtimes"
	}
	if err := os.MkdirAll(runtimes, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(runtimes, filepath.Join(s.data, "runtimes")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.terminate()
		if t.Failed() {
			t.Logf("kiln's log:\n%s", tail(s.log.String(), 8000))
		}
		for _, left := range traces(t, s.data) {
			t.Errorf("left behind: %s", left)
		}
	})
	s.start()
	s.leavesTraces()
	return s
}

// leavesTraces fails the test if a running Kiln's traces are not found, for then
// those that it leaves would not be found either.
func (s *server) leavesTraces() {
	s.t.Helper()
	found := traces(s.t, s.data)
	for _, kind := range []string{"process", "mount", "cgroup", "interface", "table"} {
		if !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, kind+" ") }) {
			s.t.Errorf("of a running Kiln, no %s is found among %q", kind, found)
		}
	}
}

// start runs Kiln on the data directory and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	s.endpoint = "http://" + address
	s.log = &logBuffer{}
	s.cmd = exec.Command(binary(s.t), append([]string{"up", "--data", s.data, "--listen", address}, s.args...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 300 {
		resp, err := http.Get(s.endpoint + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				s.lambda = s.client()
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("kiln up is not ready:\n%s", s.log)
}

// client is a client of the SDK with the credentials that Kiln wrote.
func (s *server) client() *lambda.Client {
	cfg, err := config.LoadDefaultConfig(context.Background(),
		config.WithBaseEndpoint(s.endpoint), config.WithRegion("us-east-1"),
		config.WithSharedCredentialsFiles([]string{filepath.Join(s.data, "credentials")}),
		config.WithSharedConfigFiles(nil), config.WithSharedConfigProfile("default"),
		config.WithRetryMaxAttempts(1),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 300, 300
		})))
	if err != nil {
		s.t.Fatal(err)
	}
	return lambda.NewFromConfig(cfg)
}

// terminate stops Kiln as an operator does.
func (s *server) terminate() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			s.t.Errorf("kiln up ended with %v", err)
		}
	case <-time.After(60 * time.Second):
		s.t.Error("kiln up did not stop")
		s.cmd.Process.Kill()
		<-done
	}
	s.cmd = nil
}

// kill ends Kiln without a chance to clean up.
func (s *server) kill() {
	s.t.Helper()
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}

// files is a deployment package: names and contents. A name that ends with "*"
// is executable.
type files map[string]string

func (f files) zip(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for name, content := range f {
		h := &zip.FileHeader{Name: strings.TrimSuffix(name, "*"), Method: zip.Deflate}
		h.SetMode(0o644)
		if strings.HasSuffix(name, "*") {
			h.SetMode(0o755)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(content))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// create makes a function and waits until it is active.
func (s *server) create(name, runtime, handler string, code files, change ...func(*lambda.CreateFunctionInput)) {
	s.t.Helper()
	in := &lambda.CreateFunctionInput{FunctionName: &name, Runtime: types.Runtime(runtime), Handler: &handler,
		Role: aws.String(role), Code: &types.FunctionCode{ZipFile: code.zip(s.t)}}
	for _, f := range change {
		f(in)
	}
	ctx := context.Background()
	if _, err := s.lambda.CreateFunction(ctx, in); err != nil {
		s.t.Fatalf("create %s: %v", name, err)
	}
	waiter := lambda.NewFunctionActiveV2Waiter(s.lambda, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second
	})
	if err := waiter.Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, 5*time.Minute); err != nil {
		s.t.Fatalf("%s does not become active: %v", name, err)
	}
}

// python makes a function of one Python file.
func (s *server) python(name, code string, change ...func(*lambda.CreateFunctionInput)) {
	s.t.Helper()
	s.create(name, "python3.11", "app.handler", files{"app.py": code}, append([]func(*lambda.CreateFunctionInput){func(in *lambda.CreateFunctionInput) {
		in.MemorySize, in.Timeout = aws.Int32(512), aws.Int32(10)
	}}, change...)...)
}

// answer is what an invoke gave.
type answer struct {
	payload string
	err     string // X-Amz-Function-Error
	version string
	tail    string
}

// invoke calls a function and wants an answer, which may be a function error.
func (s *server) invoke(name, payload string) answer {
	s.t.Helper()
	a, err := s.try(name, payload)
	if err != nil {
		s.t.Fatalf("invoke %s: %v", name, err)
	}
	return a
}

func (s *server) try(name, payload string) (answer, error) {
	out, err := s.lambda.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &name, Payload: []byte(payload), LogType: types.LogTypeTail})
	if err != nil {
		return answer{}, err
	}
	return answer{payload: string(out.Payload), err: aws.ToString(out.FunctionError),
		version: aws.ToString(out.ExecutedVersion), tail: decode(aws.ToString(out.LogResult))}, nil
}

// wants fails the test unless the answer is a success with the payload.
func (a answer) wants(t testing.TB, payload string) {
	t.Helper()
	if a.err != "" || a.payload != payload {
		t.Errorf("answer %s %s, want %s\n%s", a.err, a.payload, payload, a.tail)
	}
}

// fails fails the test unless the function failed with the type and the words.
func (a answer) fails(t testing.TB, errorType, words string) {
	t.Helper()
	var e struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal([]byte(a.payload), &e); err != nil {
		t.Errorf("error payload %s: %v", a.payload, err)
	}
	if a.err != "Unhandled" || e.ErrorType != errorType || !strings.Contains(e.ErrorMessage, words) {
		t.Errorf("answer %q %s, want %s with %q\n%s", a.err, a.payload, errorType, words, a.tail)
	}
}

// exception returns the name and message of an API error.
func exception(err error) string {
	var api interface {
		ErrorCode() string
		ErrorMessage() string
	}
	if errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return fmt.Sprint(err)
}

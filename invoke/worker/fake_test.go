package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kiln/invoke"
	"kiln/lambda"
	"kiln/sandbox"
)

// program is a function in these tests: a goroutine that speaks to the Runtime
// API in place of a process in a sandbox. What sandboxes do is tested with real
// ones; this is about the worker's own behaviour around them.
type program func(p *proc) sandbox.Exit

type proc struct {
	base   string // URL of the Runtime API
	stdout *os.File
	killed <-chan struct{}
	client *http.Client
}

func (p *proc) next() (id string, body []byte, err error) {
	resp, err := p.client.Get(p.base + "invocation/next")
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.Header.Get("Lambda-Runtime-Aws-Request-Id"), body, err
}

func (p *proc) post(path, body string) {
	resp, err := p.client.Post(p.base+path, "application/json", strings.NewReader(body))
	if err == nil {
		resp.Body.Close()
	}
}

type fakeBackend struct {
	program   program
	createErr error
	creating  func()                          // called by Create
	freeze    func(ctx context.Context) error // called by Freeze

	mu      sync.Mutex
	created int
	alive   int
}

func (b *fakeBackend) Name() string                { return "fake" }
func (b *fakeBackend) Sweep(context.Context) error { return nil }
func (b *fakeBackend) Close() error                { return nil }

func (b *fakeBackend) Create(_ context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if b.creating != nil {
		b.creating()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.createErr != nil {
		return nil, b.createErr
	}
	b.created++
	b.alive++
	fd, err := unix.Dup(int(spec.Stdout.Fd()))
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(int(spec.Stdout.Fd()), true); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(spec.Process.Env, func(s string) bool { return strings.HasPrefix(s, "AWS_LAMBDA_RUNTIME_API=") })
	_, address, _ := strings.Cut(spec.Process.Env[i], "=")
	return &fakeSandbox{b: b, address: address, stdout: os.NewFile(uintptr(fd), "stdout"),
		killed: make(chan struct{}), exited: make(chan struct{})}, nil
}

type fakeSandbox struct {
	b       *fakeBackend
	address string
	stdout  *os.File
	killed  chan struct{}
	kill    sync.Once
	destroy sync.Once
	exited  chan struct{}
	exit    sandbox.Exit
}

func (s *fakeSandbox) Start(context.Context) error {
	if s.b.program == nil {
		return &sandbox.StartError{Path: "/var/task/bootstrap", Err: errors.New("exec format error")}
	}
	transport := &http.Transport{}
	p := &proc{base: "http://" + s.address + "/2018-06-01/runtime/", stdout: s.stdout, killed: s.killed,
		client: &http.Client{Transport: transport}}
	done := make(chan sandbox.Exit, 1)
	go func() { done <- s.b.program(p) }()
	go func() {
		select {
		case s.exit = <-done:
		case <-s.killed:
			s.exit = sandbox.Exit{Code: 137, Signal: 9}
		}
		transport.CloseIdleConnections()
		close(s.exited)
	}()
	return nil
}

func (s *fakeSandbox) Freeze(ctx context.Context) error {
	if s.b.freeze != nil {
		return s.b.freeze(ctx)
	}
	return nil
}
func (s *fakeSandbox) Thaw(context.Context) error { return nil }
func (s *fakeSandbox) LimitCPU(int) error         { return nil }
func (s *fakeSandbox) Kill(context.Context) error {
	s.kill.Do(func() { close(s.killed) })
	return nil
}
func (s *fakeSandbox) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-s.exited:
		return s.exit, nil
	case <-ctx.Done():
		return sandbox.Exit{}, ctx.Err()
	}
}
func (s *fakeSandbox) MemoryPeak() (int64, error) { return 42 << 20, nil }
func (s *fakeSandbox) Usage() (sandbox.Usage, error) {
	return sandbox.Usage{MemoryPeakBytes: 42 << 20}, nil
}
func (s *fakeSandbox) Destroy(ctx context.Context) error {
	s.destroy.Do(func() {
		s.Kill(ctx)
		s.stdout.Close()
		s.b.mu.Lock()
		s.b.alive--
		s.b.mu.Unlock()
	})
	return nil
}

// bench is a worker with all that it needs, and what it reported.
type bench struct {
	t       *testing.T
	w       *Worker
	b       *fakeBackend
	reports chan invoke.SlotReport

	mu       sync.Mutex
	lines    []string
	acquired int
	released int

	scratchErr error
	listeners  []net.Listener
}

func newBench(t *testing.T, p program) *bench {
	b := &bench{t: t, b: &fakeBackend{program: p}, reports: make(chan invoke.SlotReport, 100)}
	b.w = New(Config{ID: "w1", Zone: "a", Backend: b.b, Resources: b, Logs: b, Reports: b,
		Logger: slog.New(slog.DiscardHandler), Capacity: invoke.Resources{MemoryMB: 1000}})
	t.Cleanup(func() {
		b.w.Close()
		if b.b.alive != 0 {
			t.Errorf("%d sandboxes are left", b.b.alive)
		}
		if b.acquired != b.released {
			t.Errorf("%d resources were taken and %d given back", b.acquired, b.released)
		}
	})
	return b
}

func (b *bench) Report(_ context.Context, r invoke.SlotReport) { b.reports <- r }

func (b *bench) Put(_, _ string, _ time.Time, line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
}

func (b *bench) log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

func (b *bench) take() func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acquired++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.released++
	}
}

func (b *bench) Files(context.Context, *lambda.Version) (Files, error) {
	return Files{Root: "/", Entrypoint: []string{"/bootstrap"}, Release: b.take()}, nil
}

func (b *bench) Endpoint(context.Context) (Endpoint, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Endpoint{}, err
	}
	b.listeners = append(b.listeners, l)
	return Endpoint{Listener: l, Address: l.Addr().String(), Release: b.take()}, nil
}

func (b *bench) Scratch(context.Context, int) (Scratch, error) {
	if b.scratchErr != nil {
		return Scratch{}, b.scratchErr
	}
	return Scratch{Path: b.t.TempDir(), Release: b.take()}, nil
}

func testVersion(timeout time.Duration) *lambda.Version {
	return &lambda.Version{Region: "us-east-1",
		Key:    lambda.VersionKey{FunctionKey: lambda.FunctionKey{Account: "000000000000", Name: "f"}, Number: "$LATEST", Generation: 1},
		Config: lambda.Config{MemoryMB: 128, Timeout: timeout, Logging: lambda.Logging{Format: lambda.LogText, Group: "/aws/lambda/f"}}}
}

// slot makes a slot and waits until it is idle.
func (b *bench) slot(v *lambda.Version) invoke.Slot {
	b.t.Helper()
	ctx := context.Background()
	if err := b.w.CreateSlot(ctx, "s1", v, time.Now().Add(time.Hour)); err != nil {
		b.t.Fatal(err)
	}
	if err := b.w.StartSlot(ctx, "s1", v, 1); err != nil {
		b.t.Fatal(err)
	}
	return (<-b.reports).Slot
}

func (b *bench) invoke(sequence uint64, payload string, tail bool) (invoke.Result, error) {
	return b.w.Invoke(context.Background(), invoke.Reservation{Slot: "s1", Worker: "w1", Sequence: sequence, Epoch: 1},
		&invoke.Invocation{RequestID: fmt.Sprintf("req-%d", sequence), Payload: []byte(payload), Tail: tail})
}

// echo is a function that answers with its event.
func echo(p *proc) sandbox.Exit {
	for {
		id, body, err := p.next()
		if err != nil || id == "" {
			return sandbox.Exit{Code: 1}
		}
		fmt.Fprintf(p.stdout, "event %s\n", bytes.TrimSpace(body))
		p.post("invocation/"+id+"/response", string(body))
	}
}

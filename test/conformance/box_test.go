package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kiln/sandbox"
)

var serial atomic.Int64

// tmpMiB is the size of a sandbox's /tmp.
const tmpMiB = 32

// spec is a sandbox that runs the probe: code, a layer and a /tmp of its own.
func (s *stage) spec(t testing.TB, args ...string) sandbox.Spec {
	t.Helper()
	return sandbox.Spec{
		ID: fmt.Sprintf("c-%d", serial.Add(1)), Root: s.root, Hostname: "inside",
		Mounts: []sandbox.Mount{
			{Source: s.code, Target: "/var/task"}, {Source: s.layer, Target: "/opt"}, {Source: s.resolv, Target: "/etc/resolv.conf"},
			{Source: newTmp(t), Target: "/tmp", Writable: true},
		},
		Process: sandbox.Process{Args: append([]string{"/probe"}, args...), Env: []string{"A=1", "B=two"},
			Dir: "/var/task", UID: testUID, GID: testGID},
		Limits: sandbox.Limits{MemoryBytes: 256 << 20, CPUMillis: 2000, Processes: 200, Files: 256},
	}
}

// newTmp mounts a small file system for a sandbox's /tmp; it goes with the test.
func newTmp(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(workDir, fmt.Sprintf("hosttmp-%d", serial.Add(1)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("size=%dm,mode=700,uid=%d,gid=%d", tmpMiB, testUID, testGID)
	if err := unix.Mount("tmp", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("/tmp's file system is held: %v", err)
		}
		os.Remove(dir)
	})
	return dir
}

// box is a sandbox under test and what it prints.
type box struct {
	sandbox.Sandbox
	spec   sandbox.Spec
	output *os.File // what out reads
	out    *bufio.Reader
	stderr func() string
}

// tryCreate makes a sandbox with pipes for its output. The caller destroys it.
func (s *stage) tryCreate(ctx context.Context, spec sandbox.Spec) (*box, error) {
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	spec.Stdout, spec.Stderr = outWrite, errWrite
	made, err := s.sandboxes.Create(ctx, spec)
	outWrite.Close()
	errWrite.Close()
	if err != nil {
		outRead.Close()
		errRead.Close()
		return nil, err
	}
	text := make(chan string, 1)
	go func() {
		data, _ := io.ReadAll(errRead)
		errRead.Close()
		text <- string(data)
	}()
	return &box{Sandbox: made, spec: spec, output: outRead, out: bufio.NewReader(outRead),
		stderr: sync.OnceValue(func() string { return <-text })}, nil
}

// create makes a sandbox that is destroyed with the test.
func (s *stage) create(t testing.TB, spec sandbox.Spec) *box {
	t.Helper()
	x, err := s.tryCreate(deadline(t), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.end(t) })
	return x
}

// end destroys the sandbox and closes its output.
func (x *box) end(t testing.TB) {
	t.Helper()
	if err := x.Destroy(deadline(t)); err != nil {
		t.Error(err)
	}
	x.output.Close()
	x.stderr()
}

// start runs a spec's process.
func (s *stage) start(t testing.TB, spec sandbox.Spec) *box {
	t.Helper()
	x := s.create(t, spec)
	if err := x.Start(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return x
}

// deadline bounds what would otherwise hang.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// result is a line of the probe's.
type result struct {
	Probe string
	Value json.RawMessage
	Error string
}

// decode reads the value, which must be there.
func (r result) decode(t testing.TB, value any) {
	t.Helper()
	if err := json.Unmarshal(r.Value, value); err != nil {
		t.Fatalf("%s: %v, value %q, error %q", r.Probe, err, r.Value, r.Error)
	}
}

// next reads the probe's next line.
func (x *box) next(t testing.TB) result {
	t.Helper()
	r, err := x.read()
	if err != nil {
		x.Kill(deadline(t))
		t.Fatalf("read a result: %v, standard error %q", err, x.stderr())
	}
	return r
}

// patience is how long the probe may take for a line.
const patience = 60 * time.Second

func (x *box) read() (r result, err error) {
	x.output.SetReadDeadline(time.Now().Add(patience))
	line, err := x.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(bytes.TrimSpace(line), &r)
	}
	if err != nil {
		err = fmt.Errorf("%w: %.200q", err, line)
	}
	return r, err
}

// wait returns how the process ended.
func (x *box) wait(t testing.TB) sandbox.Exit {
	t.Helper()
	exit, err := x.Wait(deadline(t))
	if err != nil {
		t.Fatal("wait:", err)
	}
	return exit
}

// probe runs one probe in a sandbox of its own.
func (s *stage) probe(t testing.TB, probe string) result {
	t.Helper()
	return s.start(t, s.spec(t, probe)).next(t)
}

// outcome is how an attempt ended.
type outcome struct{ Errno, Detail string }

// attempt returns the outcome of one; all are made at once, in one sandbox.
func (s *stage) attempt(t testing.TB, name string) outcome {
	t.Helper()
	if s.outcomes == nil {
		s.outcomes = map[string]outcome{}
		s.probe(t, "tries").decode(t, &s.outcomes)
	}
	o, ok := s.outcomes[name]
	if !ok {
		t.Fatal("the attempt was not made")
	}
	return o
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not so in time: " + what)
		}
	}
}

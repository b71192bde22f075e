package gvisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/runsc/config"

	"kiln/sandbox"
)

// rootDir is a root file system with nothing but the probe in it; exe hosts
// the parts of sandboxes.
var rootDir, exe string

func TestMain(m *testing.M) {
	MaybeRun()
	ownerMain()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Println("not root: no sandbox can be made")
		return 0
	}
	dir, err := os.MkdirTemp("", "gvisor-test-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	rootDir = filepath.Join(dir, "root")
	for _, d := range []string{"tmp", "proc", "dev", "sys", "var/task", "run"} {
		os.MkdirAll(filepath.Join(rootDir, d), 0o755)
	}
	if err := build(filepath.Join(rootDir, "probe"), "./testdata/probe"); err != nil {
		fmt.Println(err)
		return 1
	}
	os.WriteFile(filepath.Join(rootDir, "text"), []byte("no program"), 0o755)
	os.WriteFile(filepath.Join(rootDir, "script"), []byte("#!/missing\n"), 0o755)
	os.WriteFile(filepath.Join(rootDir, "data"), []byte("\x7fELF"), 0o644)
	if config.CgoEnabled {
		// A binary with cgo, as the race detector needs, cannot host gVisor.
		exe = filepath.Join(dir, "guest")
		if err := build(exe, "./guest"); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	return m.Run()
}

func build(out, pkg string) error {
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, text)
	}
	return nil
}

// newBackend makes a back end of the test's own and closes it afterwards.
func newBackend(t testing.TB) *Backend {
	t.Helper()
	b, err := New(Config{
		StateDir: t.TempDir(), CgroupParent: fmt.Sprintf("kiln-test/gvisor-%d-%s", os.Getpid(), testName(t)),
		Exe: exe, DebugDir: os.Getenv("GVISOR_DEBUG_DIR"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error("close:", err)
		}
	})
	return b
}

func testName(t testing.TB) string {
	return strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
}

// session is a sandbox with its output.
type session struct {
	*Sandbox
	stdout, stderr *output
}

// output collects what is written to a pipe.
type output struct {
	done  chan struct{}
	first chan struct{}
	text  bytes.Buffer
}

func collect(r *os.File) *output {
	o := &output{done: make(chan struct{}), first: make(chan struct{})}
	go func() {
		defer close(o.done)
		buffer := make([]byte, 64<<10)
		for first := true; ; first = false {
			n, err := r.Read(buffer)
			o.text.Write(buffer[:n])
			if first {
				close(o.first)
			}
			if err != nil {
				r.Close()
				return
			}
		}
	}()
	return o
}

// String waits for the pipe's end.
func (o *output) String() string { <-o.done; return o.text.String() }

func testSpec(id string, args ...string) sandbox.Spec {
	return sandbox.Spec{
		ID: id, Root: rootDir, Hostname: "guest",
		Process: sandbox.Process{
			Args: append([]string{"/probe"}, args...), Env: []string{"A=1", "B=2"}, Dir: "/var/task",
			UID: 993, GID: 990,
		},
		Limits: sandbox.Limits{MemoryBytes: 128 << 20, Processes: 1024, Files: 1024},
	}
}

// create makes a sandbox; cleaning up destroys it.
func create(t testing.TB, b *Backend, spec sandbox.Spec) *session {
	t.Helper()
	s, err := tryCreate(t, b, spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryCreate(t testing.TB, b *Backend, spec sandbox.Spec) (*session, error) {
	t.Helper()
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	spec.Stdout, spec.Stderr = outW, errW
	made, err := b.Create(t.Context(), spec)
	outW.Close()
	errW.Close()
	s := &session{stdout: collect(outR), stderr: collect(errR)}
	if err != nil {
		return nil, err
	}
	s.Sandbox = made.(*Sandbox)
	t.Cleanup(func() {
		if err := s.Destroy(context.Background()); err != nil {
			t.Error("destroy:", err)
		}
	})
	return s, nil
}

// start creates and starts.
func start(t testing.TB, b *Backend, spec sandbox.Spec) *session {
	t.Helper()
	s := create(t, b, spec)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// wait gives the process half a minute to end.
func (s *session) wait(t testing.TB) sandbox.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	exit, err := s.Wait(ctx)
	if err != nil {
		t.Fatal("wait:", err)
	}
	return exit
}

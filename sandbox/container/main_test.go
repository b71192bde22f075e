package container

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kiln/sandbox"
)

// probe is the path of the built test/sandboxprobe.
var probe string

func TestMain(m *testing.M) {
	if id := os.Getenv(orphanEnv); id != "" {
		orphanMain(id)
		return
	}
	dir, err := os.MkdirTemp("", "kiln-container-test-")
	if err != nil {
		panic(err)
	}
	// Directories that a user above 0 must be able to pass through.
	os.Chmod(dir, 0o755)
	probe = filepath.Join(dir, "sandboxprobe")
	if err := buildProbe(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// buildProbe builds the probe. On a machine without the Go tools the variable
// KILN_SANDBOXPROBE names a built one.
func buildProbe() error {
	if built := os.Getenv("KILN_SANDBOXPROBE"); built != "" {
		data, err := os.ReadFile(built)
		if err != nil {
			return err
		}
		return os.WriteFile(probe, data, 0o755)
	}
	build := exec.Command("go", "build", "-o", probe, "kiln/test/sandboxprobe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the probe: %w\n%s", err, out)
	}
	return nil
}

// newBackend opens a back end with a cgroup parent of the test's own.
func newBackend(t testing.TB) *Backend {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	b, err := New(Config{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := b.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	return b
}

// newRoot lays out a root file system with the probe at /probe.
func newRoot(t testing.TB) string {
	t.Helper()
	root := filepath.Join(filepath.Dir(probe), fmt.Sprintf("root-%d", serial.Add(1)))
	for _, dir := range []string{"proc", "dev", "sys", "tmp", "var/task", "var/runtime", "opt", "etc", "bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(probe, filepath.Join(root, "probe")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	return root
}

var serial atomic.Int64

const (
	testUID = 990
	testGID = 991
)

// newSpec is a sandbox that runs the probe with its own /tmp.
func newSpec(t testing.TB, args ...string) sandbox.Spec {
	t.Helper()
	tmp := filepath.Join(t.TempDir(), "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(tmp, testUID, testGID); err != nil {
		t.Fatal(err)
	}
	return sandbox.Spec{
		ID: fmt.Sprintf("t-%d-%d", os.Getpid(), serial.Add(1)), Root: newRoot(t),
		Mounts:   []sandbox.Mount{{Source: tmp, Target: "/tmp", Writable: true}},
		Hostname: "inside",
		Process: sandbox.Process{Args: append([]string{"/probe"}, args...), Env: []string{"A=1", "B=two"},
			Dir: "/var/task", UID: testUID, GID: testGID},
		Limits: sandbox.Limits{MemoryBytes: 128 << 20, CPUMillis: 1000, Processes: 64, Files: 128},
	}
}

// box is a sandbox under test and what it prints.
type box struct {
	sandbox.Sandbox
	spec   sandbox.Spec
	out    *bufio.Reader
	stderr func() string
}

// create makes a sandbox that is destroyed with the test.
func create(t testing.TB, b *Backend, spec sandbox.Spec) *box {
	t.Helper()
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	spec.Stdout, spec.Stderr = outWrite, errWrite
	s, err := b.Create(deadline(t), spec)
	outWrite.Close()
	errWrite.Close()
	t.Cleanup(func() { outRead.Close(); errRead.Close() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Destroy(deadline(t)); err != nil {
			t.Error(err)
		}
	})
	return &box{Sandbox: s, spec: spec, out: bufio.NewReader(outRead), stderr: func() string {
		data, _ := io.ReadAll(errRead)
		return string(data)
	}}
}

// deadline bounds what would otherwise hang.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// start runs a spec's process.
func start(t testing.TB, b *Backend, spec sandbox.Spec) *box {
	t.Helper()
	x := create(t, b, spec)
	if err := x.Start(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return x
}

// next reads a result of the probe; the value is decoded into value.
func (x *box) next(t testing.TB, value any) (probeErr string) {
	t.Helper()
	line, err := x.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("read a result: %v, %q, standard error %q", err, line, x.stderr())
	}
	result := struct {
		Error string
		Value any
	}{Value: value}
	if err := json.Unmarshal(bytes.TrimSpace(line), &result); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return result.Error
}

// look runs one probe in a sandbox of its own.
func look(t testing.TB, b *Backend, probe string, value any) (probeErr string) {
	t.Helper()
	return start(t, b, newSpec(t, probe)).next(t, value)
}

// wait returns how the process ended.
func (x *box) wait(t testing.TB) sandbox.Exit {
	t.Helper()
	exit, err := x.Wait(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	return exit
}

// leftovers lists what there is of a sandbox: cgroups and processes.
func leftovers(t testing.TB, b *Backend) []string {
	t.Helper()
	var left []string
	filepath.WalkDir("/sys/fs/cgroup", func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.Contains(path, b.config.CgroupParent+"/") {
			left = append(left, path)
		}
		return nil
	})
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		data, err := os.ReadFile(p)
		if err == nil && bytes.Contains(data, fmt.Appendf(nil, "kiln-init\x00t-%d-", os.Getpid())) {
			left = append(left, p)
		}
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); bytes.Contains(mounts, []byte(filepath.Dir(probe))) {
		left = append(left, "mounts")
	}
	return left
}

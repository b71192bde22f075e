package container

import (
	"os"
	"os/exec"
	"testing"

	"kiln/sandbox"
)

// BenchmarkSandbox is a sandbox from nothing to its first output and away again.
func BenchmarkSandbox(b *testing.B) {
	backend := newBackend(b)
	base := newSpec(b, "echo=up", "sleep=1h")
	for b.Loop() {
		benchOne(b, backend, base)
	}
}

// BenchmarkSandboxInNetwork is the same in a network namespace made before, as
// a worker's slots have it.
func BenchmarkSandboxInNetwork(b *testing.B) {
	backend := newBackend(b)
	base := newSpec(b, "echo=up", "sleep=1h")
	path, listener := newNetwork(b)
	listener.Close()
	base.Network = path
	for b.Loop() {
		benchOne(b, backend, base)
	}
}

// BenchmarkStart is what is left to do for a sandbox that was created ahead.
func BenchmarkStart(b *testing.B) {
	backend := newBackend(b)
	spec := newSpec(b, "echo=up", "sleep=1h")
	buf := make([]byte, 256)
	for b.Loop() {
		b.StopTimer()
		s, out := benchCreate(b, backend, spec)
		b.StartTimer()
		if err := s.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		if _, err := out.Read(buf); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		benchDestroy(b, s, out)
		b.StartTimer()
	}
}

// BenchmarkCreate is the set-up alone.
func BenchmarkCreate(b *testing.B) {
	backend := newBackend(b)
	spec := newSpec(b, "echo=up")
	for b.Loop() {
		s, out := benchCreate(b, backend, spec)
		b.StopTimer()
		benchDestroy(b, s, out)
		b.StartTimer()
	}
}

// BenchmarkFreezeThaw is the pair around every invocation.
func BenchmarkFreezeThaw(b *testing.B) {
	backend := newBackend(b)
	s, out := benchCreate(b, backend, newSpec(b, "echo=up", "sleep=1h"))
	if err := s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 256)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := s.Freeze(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := s.Thaw(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	benchDestroy(b, s, out)
}

// BenchmarkForkExec is the same program without a sandbox.
func BenchmarkForkExec(b *testing.B) {
	buf := make([]byte, 256)
	for b.Loop() {
		cmd := exec.Command(probe, "echo=up", "sleep=1h")
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		if _, err := out.Read(buf); err != nil {
			b.Fatal(err)
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func benchCreate(b *testing.B, backend *Backend, spec sandbox.Spec) (sandbox.Sandbox, *os.File) {
	read, write, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	spec.Stdout, spec.Stderr = write, write
	s, err := backend.Create(b.Context(), spec)
	if err != nil {
		b.Fatal(err)
	}
	write.Close()
	return s, read
}

func benchDestroy(b *testing.B, s sandbox.Sandbox, out *os.File) {
	if err := s.Destroy(b.Context()); err != nil {
		b.Fatal(err)
	}
	out.Close()
}

func benchOne(b *testing.B, backend *Backend, spec sandbox.Spec) {
	s, out := benchCreate(b, backend, spec)
	if err := s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 256)); err != nil {
		b.Fatal(err)
	}
	benchDestroy(b, s, out)
}

package gvisor

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kiln/sandbox"
)

// BenchmarkStart is a sandbox's life from nothing to its first output and away.
func BenchmarkStart(b *testing.B) { benchmarkStart(b, testSpec("", "hello")) }

// BenchmarkStartProgram does the same with a program of a root file system of
// the caller's: GVISOR_BENCH_ROOT and GVISOR_BENCH_ARGS.
func BenchmarkStartProgram(b *testing.B) {
	spec := testSpec("")
	spec.Root, spec.Process.Args = os.Getenv("GVISOR_BENCH_ROOT"), strings.Fields(os.Getenv("GVISOR_BENCH_ARGS"))
	if spec.Root == "" {
		b.Skip("GVISOR_BENCH_ROOT is not set")
	}
	spec.Process.Dir = "/"
	spec.Limits.MemoryBytes = 512 << 20
	benchmarkStart(b, spec)
}

func benchmarkStart(b *testing.B, spec sandbox.Spec) {
	backend := newBackend(b)
	var creating, starting, destroying time.Duration
	var before, after unix.Rusage
	unix.Getrusage(unix.RUSAGE_CHILDREN, &before)
	for i := 0; b.Loop(); i++ {
		begin := time.Now()
		spec.ID = fmt.Sprint("bench-", i)
		s := create(b, backend, spec)
		created := time.Now()
		if err := s.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		<-s.stdout.first
		output := time.Now()
		if exit := s.wait(b); exit.Code != 0 {
			b.Fatalf("exit %+v: %s", exit, s.stderr)
		}
		ended := time.Now()
		if err := s.Destroy(context.Background()); err != nil {
			b.Fatal(err)
		}
		creating += created.Sub(begin)
		starting += output.Sub(created)
		destroying += time.Since(ended)
	}
	unix.Getrusage(unix.RUSAGE_CHILDREN, &after)
	cpu := time.Duration(unix.TimevalToNsec(after.Utime) - unix.TimevalToNsec(before.Utime) +
		unix.TimevalToNsec(after.Stime) - unix.TimevalToNsec(before.Stime))
	for name, d := range map[string]time.Duration{
		"create": creating, "output": starting, "destroy": destroying, "cpu": cpu,
	} {
		b.ReportMetric(float64(d.Microseconds())/1000/float64(b.N), "ms-"+name)
	}
}

// BenchmarkFreeze is a freeze and a thaw of an idle sandbox.
func BenchmarkFreeze(b *testing.B) {
	s := start(b, newBackend(b), testSpec("freeze", "sleep"))
	<-s.stdout.first
	for b.Loop() {
		if err := s.Freeze(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := s.Thaw(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

package gvisor

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkStart is a sandbox's life from nothing to its first output and away.
func BenchmarkStart(b *testing.B) {
	backend := newBackend(b)
	var creating, starting, destroying time.Duration
	var before, after unix.Rusage
	unix.Getrusage(unix.RUSAGE_CHILDREN, &before)
	for i := 0; b.Loop(); i++ {
		begin := time.Now()
		s := create(b, backend, testSpec(fmt.Sprint("bench-", i), "hello"))
		created := time.Now()
		if err := s.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		<-s.stdout.first
		output := time.Now()
		s.wait(b)
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

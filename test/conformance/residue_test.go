package conformance

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// residueCases are about two sandboxes that must know nothing of each other.
var residueCases = []testCase{
	{"the probe finds it", "leaves traces and looks for them in the same sandbox: they are found, so that the cases below can fail", residueInside},
	{"one after the other", "leaves traces, ends, and looks for them in the next sandbox: there is none", residueAfter},
	{"one beside the other", "leaves traces, goes on, and looks for them in another sandbox: there is none", residueBeside},
	{"on the host", "leaves traces and looks for them on the host: only /tmp's file, in its directory", residueHost},
	{"after a reset", "ends, and is made again with the same /tmp, as a worker does after a crash: /tmp's file is there, nothing else", residueReset},
}

const residueWord = "residue-of-another"

// places are where the probe leaves traces.
var places = []string{"tmp", "shared", "abstract", "segment", "semaphore", "queue", "posix queue", "port", "environment", "process"}

// leaver is a sandbox that has left traces and goes on.
func (s *stage) leaver(t *testing.T, more ...string) *box {
	t.Helper()
	x := s.start(t, s.spec(t, append([]string{"leave=" + residueWord}, more...)...))
	var got map[string]string
	x.next(t).decode(t, &got)
	for _, place := range places {
		if problem, ok := got[place]; !ok || problem != "" {
			t.Errorf("cannot leave anything in %s: %q", place, problem)
		}
	}
	return x
}

// remains are the places where a sandbox finds traces.
func (x *box) remains(t *testing.T) (found []string) {
	t.Helper()
	x.next(t).decode(t, &found)
	slices.Sort(found)
	return slices.Compact(found)
}

func residueInside(t *testing.T, s *stage) {
	got := s.leaver(t, "remains="+residueWord).remains(t)
	for _, place := range places {
		if !slices.Contains(got, place) {
			t.Errorf("what was left in %s is not found: %v", place, got)
		}
	}
}

func residueAfter(t *testing.T, s *stage) {
	x := s.leaver(t)
	x.wait(t)
	if err := x.Destroy(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if got := s.start(t, s.spec(t, "remains="+residueWord)).remains(t); len(got) > 0 {
		t.Errorf("found in %v", got)
	}
}

func residueBeside(t *testing.T, s *stage) {
	s.leaver(t, "sleep=1h")
	if got := s.start(t, s.spec(t, "remains="+residueWord)).remains(t); len(got) > 0 {
		t.Errorf("found in %v", got)
	}
}

func residueHost(t *testing.T, s *stage) {
	x := s.leaver(t, "sleep=1h")
	for _, path := range []string{"/proc/net/unix", "/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg", "/proc/keys"} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// The keys of System V are numbers, 0x6b696c6e here.
		for _, word := range []string{residueWord, "1802071150"} {
			if strings.Contains(string(data), word) {
				t.Errorf("%s has %s", path, word)
			}
		}
	}
	for _, dir := range []string{"/tmp", "/dev/shm", s.root + "/tmp"} {
		if _, err := os.Stat(dir + "/" + residueWord); err == nil {
			t.Errorf("%s has the file", dir)
		}
	}
	tmp := x.spec.Mounts[len(x.spec.Mounts)-1].Source
	if entries, err := os.ReadDir(tmp); err != nil || len(entries) != 1 || entries[0].Name() != residueWord {
		t.Errorf("the sandbox's /tmp has %v, %v", entries, err)
	}
}

func residueReset(t *testing.T, s *stage) {
	x := s.leaver(t, "exit=1")
	x.wait(t)
	if err := x.Destroy(deadline(t)); err != nil {
		t.Fatal(err)
	}
	spec := x.spec
	spec.Process.Args = []string{"/probe", "remains=" + residueWord}
	if got := s.start(t, spec).remains(t); !slices.Equal(got, []string{"tmp"}) {
		t.Errorf("found in %v", got)
	}
}

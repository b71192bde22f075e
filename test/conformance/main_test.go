// Package conformance is the suite that every isolation back end must pass.
// Its tests are tables of named cases, run for each back end as
// TestConformance/BACKEND/AREA/CASE; with -v every case says what it tries and
// what must happen. What runs inside the sandboxes is kiln/test/sandboxprobe.
//
// The suite runs in namespaces of its own (pid, mount, network, IPC, UTS): there
// the machine holds nothing but the suite, so that whatever is left over is a
// back end's, and what gets out of a sandbox does not get far.
package conformance

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kiln/sandbox/gvisor"
)

// roleVariable says which process of the suite this is; empty is the one that
// the user started.
const roleVariable = "KILN_CONFORMANCE_ROLE"

// workDir is everything of this run; probePath is the built program.
var workDir, probePath string

func TestMain(m *testing.M) {
	gvisor.MaybeRun()
	flag.Parse()
	switch os.Getenv(roleVariable) {
	case "":
		if os.Geteuid() != 0 || testing.Short() {
			os.Exit(m.Run()) // all tests skip
		}
		os.Exit(enclose())
	case roleFirst:
		os.Exit(firstProcess())
	case roleOwner:
		os.Exit(ownerMain())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kiln-conformance-")
	if err == nil {
		defer os.RemoveAll(dir)
		// A user above 0 must be able to pass through.
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		workDir, probePath = dir, filepath.Join(dir, "sandboxprobe")
		build := exec.Command("go", "build", "-o", probePath, "kiln/test/sandboxprobe")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err == nil {
		err = startLoopback()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// TestConformance runs all cases for every back end.
func TestConformance(t *testing.T) {
	if os.Getenv(roleVariable) != roleTest {
		t.Skip("sandboxes need root, and more time than a short test has")
	}
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			if b.missing != nil {
				if why := b.missing(); why != "" {
					t.Skip(why)
				}
			}
			s := newStage(t, b)
			var report []string
			for _, a := range areas {
				passed, ran := 0, 0
				t.Run(a.name, func(t *testing.T) {
					for _, c := range a.cases {
						before := ran // a filter may leave the case out
						ok := t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
							ran++
							t.Log(c.tries)
							c.run(t, s)
						})
						if ok && ran > before {
							passed++
						}
					}
				})
				if ran > 0 {
					report = append(report, fmt.Sprintf("%s %d/%d", a.name, passed, ran))
				}
			}
			t.Logf("%s: cases passed: %s", b.name, strings.Join(report, ", "))
			for _, what := range b.weak {
				t.Logf("%s: known weakness: %s", b.name, what)
			}
		})
	}
}

// testCase is one thing that every back end must get right.
type testCase struct {
	name string
	// tries says what the case does and, after a colon, what must happen.
	tries string
	run   func(*testing.T, *stage)
}

// areas are all cases, in the order in which they run.
var areas = []struct {
	name  string
	cases []testCase
}{
	{"view", viewCases},
	{"files", fileCases},
	{"escape", escapeCases},
	{"limits", limitCases},
	{"life", lifeCases},
	{"network", networkCases},
	{"residue", residueCases},
	{"leaks", leakCases},
}

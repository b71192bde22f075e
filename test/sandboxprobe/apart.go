package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// More probes: "apart=PROBE" runs one in a process of its own, so that what
// kills it or changes it is its own affair; "try=NAME" makes one attempt;
// "tries=NAME,NAME" makes many, each apart; "as=PATH PROBE" runs a probe by
// another copy of this program.
func init() {
	probes["apart"] = apart
	probes["try"] = try
	probes["tries"] = tries
	probes["as"] = as
}

// apartPatience is how long a probe apart may take.
const apartPatience = 10 * time.Second

func apart(arg string) (any, error) { return runApart(self(arg)) }

func as(arg string) (any, error) {
	path, probe, _ := strings.Cut(arg, " ")
	return runApart(exec.Command(path, probe))
}

// runApart runs this program as a command and takes over its last result.
func runApart(cmd *exec.Cmd) (any, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.WaitDelay = &out, time.Second // children of its own may keep the pipe
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	timer := time.AfterFunc(apartPatience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	ended := cmd.Wait()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var result Result
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &result); err != nil {
		return nil, fmt.Errorf("no result, but %.200q: %w", out.String(), errors.Join(err, ended))
	}
	if result.Error != "" {
		return result.Value, errors.New(result.Error)
	}
	return result.Value, nil
}

// Outcome says how an attempt ended.
type Outcome struct {
	// Errno is the name of the kernel's refusal, "worked" if there was none, or
	// the text of an error that is not the kernel's.
	Errno string `json:"errno"`
	// Detail is what the attempt got hold of, or where it failed.
	Detail string `json:"detail,omitempty"`
}

// attempt does what should be impossible; it says what it got hold of.
type attempt func() (detail string, err error)

// attempts are all there are, by name; the files try_*.go fill it.
var attempts = map[string]attempt{}

func try(name string) (any, error) {
	a, ok := attempts[name]
	if !ok {
		return nil, fmt.Errorf("there is no attempt %q", name)
	}
	detail, err := a()
	return outcomeOf(detail, err), nil
}

func outcomeOf(detail string, err error) Outcome {
	var errno syscall.Errno
	switch {
	case err == nil:
		return Outcome{Errno: "worked", Detail: detail}
	case !errors.As(err, &errno):
		return Outcome{Errno: err.Error(), Detail: detail}
	case unix.ErrnoName(errno) == "":
		return Outcome{Errno: fmt.Sprintf("error %d", int(errno)), Detail: err.Error()}
	}
	return Outcome{Errno: unix.ErrnoName(errno), Detail: err.Error()}
}

// tries makes attempts, or all there are, each in a process of its own:
// name → outcome.
func tries(arg string) (any, error) {
	names := slices.Sorted(maps.Keys(attempts))
	if arg != "" {
		names = strings.Split(arg, ",")
	}
	result := map[string]any{}
	for _, name := range names {
		value, err := apart("try=" + name)
		if err != nil {
			value = Outcome{Errno: "lost: " + err.Error()}
		}
		result[name] = value
	}
	return result, nil
}

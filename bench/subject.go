package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// candidate is one way of running one handler. Its methods are called one at a
// time.
type candidate interface {
	// invoke calls the handler once, in an environment that is there, and
	// returns how long the caller waited.
	invoke(ctx context.Context) (time.Duration, error)
	// coldStart makes a new environment and calls the handler in it once.
	coldStart(ctx context.Context) (coldStart, error)
}

// coldStart is what the first invocation of an environment took.
type coldStart struct {
	// total is what the caller waited, from request to response. Where the caller
	// starts the process itself, it begins there.
	total time.Duration
	// init and handler are the function's own parts by the REPORT line: until
	// the runtime asked for its first event, and from then to the answer. Zero
	// where nobody reports them.
	init, handler time.Duration
	// cpu is the processor time of all of Kiln, sandboxes included, for one
	// whole cycle: ending the environment before, a new one, its invocation.
	// Zero where it is not known.
	cpu time.Duration
}

// subject is a candidate with what was measured of it.
type subject struct {
	language string
	name     string // of the candidate
	memoryMB int    // 0 where memory is not limited
	// share is the part of the usual number of samples that is taken.
	share float64
	candidate

	warm []time.Duration
	// rested are those of warm that came after a pause.
	rested []time.Duration
	// signing is what the client's signatures took, which is in none of the others.
	signing func() time.Duration
	cold    []coldStart
	// failures are the errors that invocations ended with; they are in no times.
	failures []error
}

// tolerated is how many invocations of a candidate may fail before the
// measuring is given up: a rare failure is a result, a common one is none.
const tolerated = 5

// failed takes note of an error and returns it if the run cannot go on.
func (s *subject) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.failures = append(s.failures, err)
	if len(s.failures) > tolerated {
		return fmt.Errorf("%s, %s: %w", s.language, s.name, errors.Join(s.failures...))
	}
	note("%s, %s: %v", s.language, s.name, err)
	return nil
}

func (s *subject) samples(of int) int { return max(int(float64(of)*s.share), 1) }

// kind describes the candidates that there are for every language.
type kind struct {
	name      string
	isolation string // of Kiln; empty for others
	memoryMB  int
	share     float64
}

// fullCore is the memory with which AWS gives a function one whole processor.
const fullCore = 1769

// kinds are measured in this order; the first is what others are compared with.
var kinds = []kind{
	{"direct", "", 0, 1},
	{"rie", "", 0, 1},
	{"container", "container", fullCore, 1},
	{"gvisor", "gvisor", fullCore, 1},
	{"container-128", "container", 128, 0.25},
	{"gvisor-128", "gvisor", 128, 0.25},
}

func candidateNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// Command bench measures warm and cold invocations of the same handlers in one
// run: called directly over HTTP, by AWS's Runtime Interface Emulator, and by
// Kiln with each of its back ends. README.md says how to read the result.
//
// It needs root, as Kiln does, and is run from the root of the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type options struct {
	quick      bool
	only       string
	languages  string
	warm, cold int
	kiln       string
	runtimes   string
	out        string
}

func parseOptions() (options, error) {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "a tenth of the invocations: a look, not a result")
	flag.StringVar(&o.only, "only", "", "measure only these `candidates`, such as direct,container ("+strings.Join(candidateNames(), ", ")+")")
	flag.StringVar(&o.languages, "languages", "go,node,python", "measure handlers in these `languages`")
	flag.IntVar(&o.warm, "warm", 1000, "warm invocations of each candidate")
	flag.IntVar(&o.cold, "cold", 20, "cold starts of each candidate")
	flag.StringVar(&o.kiln, "kiln", "bin/kiln", "the `binary` to measure")
	flag.StringVar(&o.runtimes, "runtimes", ".kiln/runtimes", "where runtime images are kept; missing ones are built there")
	flag.StringVar(&o.out, "out", "bench/out", "where results and downloads go")
	flag.Parse()
	if flag.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if o.quick {
		o.warm, o.cold = max(o.warm/10, 1), max(o.cold/6, 1)
	}
	for _, path := range []*string{&o.kiln, &o.runtimes, &o.out} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return o, err
		}
		*path = abs
	}
	if filepath.Base(o.runtimes) != "runtimes" {
		return o, fmt.Errorf("%s: kiln keeps images in a folder named runtimes", o.runtimes)
	}
	return o, nil
}

func main() {
	o, err := parseOptions()
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("the benchmark starts kiln, which needs root: run it with sudo")
	}
	// An interrupt ends the measuring; what was started is stopped all the same.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var ends cleanup
	defer func() { err = errors.Join(err, ends.run()) }()

	subjects, err := setUp(ctx, o, &ends)
	if err != nil {
		return err
	}
	result := newResult(ctx, o)
	if err := measure(ctx, o, subjects); err != nil {
		return err
	}
	result.finish(subjects)
	result.print(os.Stdout)
	path := filepath.Join(o.out, result.Started.Format("20060102T150405Z")+".json")
	if err := result.write(path); err != nil {
		return err
	}
	fmt.Println("\nWritten to", path)
	return nil
}

func measure(ctx context.Context, o options, subjects []*subject) error {
	note("warm: %d invocations of each of %d candidates, in turn", o.warm, len(subjects))
	if err := warm(ctx, o.warm, subjects); err != nil {
		return err
	}
	note("cold: %d starts of each, in turn", o.cold)
	return cold(ctx, o.cold, subjects)
}

// note tells of progress, on standard error.
func note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// cleanup undoes what was set up, last made first.
type cleanup struct{ steps []func() error }

func (c *cleanup) add(step func() error) { c.steps = append(c.steps, step) }

func (c *cleanup) run() error {
	var errs []error
	for len(c.steps) > 0 {
		last := c.steps[len(c.steps)-1]
		c.steps = c.steps[:len(c.steps)-1]
		errs = append(errs, last())
	}
	return errors.Join(errs...)
}

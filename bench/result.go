package main

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"time"
)

// result is a run, as it is written to the file.
type result struct {
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Quick    bool      `json:"quick"`
	Event    string    `json:"event"`
	Machine  machine   `json:"machine"`
	Rows     []row     `json:"rows"`
}

// row is one candidate in one language.
type row struct {
	Language  string `json:"language"`
	Candidate string `json:"candidate"`
	// MemoryMB is the function's memory; 0 where nothing limits it.
	MemoryMB int `json:"memory_mb"`
	// Failures are the errors of invocations that failed, which are in no figure.
	Failures []string    `json:"failures,omitempty"`
	Warm     *warmResult `json:"warm,omitempty"`
	Cold     *coldResult `json:"cold,omitempty"`
}

// warmResult describes invocations of an environment that was there.
type warmResult struct {
	All *summary `json:"all"`
	// Rested are those after a pause, whose environment may have been frozen.
	Rested *summary `json:"rested"`
	// Ratio is All.P50 divided by that of the direct call; 0 if that was not measured.
	Ratio float64 `json:"ratio_to_direct"`
	// Signing is the mean time of the client's signature, not in the others.
	Signing float64 `json:"signing_ms,omitempty"`
}

// rested is the median of Rested; 0 if there is none.
func (w *warmResult) rested() float64 {
	if w.Rested == nil {
		return 0
	}
	return w.Rested.P50
}

// coldResult describes first invocations of new environments.
type coldResult struct {
	Total *summary `json:"total"`
	// Init and Handler are the function's own parts as its REPORT line has
	// them, and Platform is the total without Init. They are missing where no
	// line tells.
	Init     *summary `json:"init,omitempty"`
	Handler  *summary `json:"handler,omitempty"`
	Platform *summary `json:"platform,omitempty"`
	// OverDirect is Total.P50 less that of the direct server's first answer,
	// which needs the same interpreter to start.
	OverDirect *float64 `json:"over_direct_ms,omitempty"`
	// CPU is the processor time of a cycle: the old environment's end, the new
	// one's start, one invocation. PerCore is how many of them a core can do in
	// a second.
	CPU     *summary `json:"cpu,omitempty"`
	PerCore float64  `json:"per_second_per_core,omitempty"`
}

func newResult(ctx context.Context, o options) *result {
	return &result{Started: time.Now().UTC().Truncate(time.Second), Quick: o.quick, Event: event, Machine: describeMachine(ctx, o.kiln)}
}

// finish takes in what was measured.
func (r *result) finish(subjects []*subject) {
	r.Finished = time.Now().UTC().Truncate(time.Second)
	r.Machine.LoadAfter = load()
	for _, s := range subjects {
		r.Rows = append(r.Rows, newRow(s))
	}
	for i := range r.Rows {
		row, direct := &r.Rows[i], r.direct(r.Rows[i].Language)
		if direct == nil {
			continue
		}
		if row.Warm != nil && direct.Warm != nil {
			row.Warm.Ratio = math.Round(row.Warm.All.P50/direct.Warm.All.P50*100) / 100
		}
		if row.Cold != nil && direct.Cold != nil && row != direct {
			over := row.Cold.Total.P50 - direct.Cold.Total.P50
			row.Cold.OverDirect = &over
		}
	}
}

// direct is the row that a language's others are compared with, if there is one.
func (r *result) direct(language string) *row {
	for i := range r.Rows {
		if r.Rows[i].Language == language && r.Rows[i].Candidate == kinds[0].name {
			return &r.Rows[i]
		}
	}
	return nil
}

func newRow(s *subject) row {
	r := row{Language: s.language, Candidate: s.name, MemoryMB: s.memoryMB}
	for _, err := range s.failures {
		r.Failures = append(r.Failures, err.Error())
	}
	if len(s.warm) > 0 {
		r.Warm = &warmResult{All: summarize(s.warm), Rested: summarize(s.rested), Signing: milliseconds(s.signing())}
	}
	if len(s.cold) > 0 {
		r.Cold = newColdResult(s.cold)
	}
	return r
}

func newColdResult(starts []coldStart) *coldResult {
	// pick returns the values that are known.
	pick := func(value func(coldStart) time.Duration) []time.Duration {
		var all []time.Duration
		for _, c := range starts {
			if v := value(c); v > 0 {
				all = append(all, v)
			}
		}
		return all
	}
	c := &coldResult{
		Total:   summarize(pick(func(c coldStart) time.Duration { return c.total })),
		Init:    summarize(pick(func(c coldStart) time.Duration { return c.init })),
		Handler: summarize(pick(func(c coldStart) time.Duration { return c.handler })),
		CPU:     summarize(pick(func(c coldStart) time.Duration { return c.cpu })),
	}
	if c.Init != nil {
		c.Platform = summarize(pick(func(c coldStart) time.Duration { return c.total - c.init }))
	}
	var cpu time.Duration
	for _, s := range starts {
		cpu += s.cpu
	}
	if cpu > 0 { // by the mean: single figures come in steps
		c.PerCore = math.Round(10*float64(len(starts))*float64(time.Second)/float64(cpu)) / 10
	}
	return c
}

func (r *result) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

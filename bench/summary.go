package main

import (
	"math"
	"slices"
	"time"
)

// percentile returns the smallest sample that at least p percent of all are
// not above. The samples must be sorted and not be empty.
func percentile(sorted []time.Duration, p float64) time.Duration {
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// summary describes samples, in milliseconds.
type summary struct {
	N   int     `json:"n"`
	Min float64 `json:"min_ms"`
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
}

// summarize returns nil if there are no samples.
func summarize(samples []time.Duration) *summary {
	if len(samples) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(samples))
	at := func(p float64) float64 { return milliseconds(percentile(sorted, p)) }
	return &summary{N: len(sorted), Min: milliseconds(sorted[0]), P50: at(50), P90: at(90), P99: at(99)}
}

// milliseconds keeps a tenth of a microsecond: the clock tells no more.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/100) / 1e4
}

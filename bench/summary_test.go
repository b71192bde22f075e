package main

import (
	"encoding/base64"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, c := range []struct {
		samples []time.Duration
		p       float64
		want    time.Duration
	}{
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {hundred, 0.1, 1},
		{[]time.Duration{7}, 50, 7}, {[]time.Duration{7}, 99, 7},
		{[]time.Duration{1, 9}, 50, 1}, {[]time.Duration{1, 9}, 51, 9},
	} {
		if got := percentile(c.samples, c.p); got != c.want {
			t.Errorf("percentile %v of %d samples: %d, want %d", c.p, len(c.samples), got, c.want)
		}
	}
}

func TestSummarizeLeavesSamplesAlone(t *testing.T) {
	samples := []time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond}
	s := summarize(samples)
	if *s != (summary{N: 3, Min: 1, P50: 2, P90: 3, P99: 3}) {
		t.Errorf("%+v", *s)
	}
	if samples[0] != 3*time.Millisecond {
		t.Error("the samples were sorted in place")
	}
	if summarize(nil) != nil {
		t.Error("a summary of nothing")
	}
}

func TestParseReport(t *testing.T) {
	tail := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	c, err := parseReport(tail("END RequestId: x\nREPORT RequestId: x\tDuration: 1.50 ms\tBilled Duration: 20 ms\tMemory Size: 128 MB\tMax Memory Used: 9 MB\tInit Duration: 18.01 ms\t\n"))
	if err != nil || c.handler != 1500*time.Microsecond || c.init != 18010*time.Microsecond {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := parseReport(tail("REPORT RequestId: x\tDuration: 1.50 ms\tBilled Duration: 2 ms\t\n")); err == nil {
		t.Error("a warm invocation passed for a cold start")
	}
}

func TestRatios(t *testing.T) {
	of := func(language, name string, ms ...int) *subject {
		s := &subject{language: language, name: name, signing: func() time.Duration { return 0 }}
		for _, v := range ms {
			s.warm = append(s.warm, time.Duration(v)*time.Millisecond)
			s.cold = append(s.cold, coldStart{total: time.Duration(v) * time.Millisecond, init: time.Millisecond})
		}
		return s
	}
	r := &result{}
	r.finish([]*subject{of("go", "gvisor", 8, 8, 8), of("go", "direct", 2, 2, 2), of("node", "direct", 4), of("node", "gvisor", 10), of("python", "gvisor", 10)})
	for i, want := range []float64{4, 1, 1, 2.5, 0} {
		if r.Rows[i].Warm.Ratio != want {
			t.Errorf("row %d: ratio %v, want %v", i, r.Rows[i].Warm.Ratio, want)
		}
	}
	if got := r.Rows[0].Cold.Platform; got == nil || got.P50 != 7 {
		t.Errorf("platform's share: %+v", got)
	}
}

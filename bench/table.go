package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes the result as a table for people.
func (r *result) print(out io.Writer) {
	m := r.Machine
	fmt.Fprintf(out, "%s, %d CPUs, Linux %s, %s, kiln %s, %s; load %s before, %s after\n",
		m.CPU, m.CPUs, m.Kernel, m.Go, m.Kiln, m.Emulator, m.LoadBefore, m.LoadAfter)
	if r.Quick {
		fmt.Fprintln(out, "A quick run: too few samples for a result.")
	}

	fmt.Fprintln(out, "\nWarm invocations, microseconds (one caller; × direct compares medians; rested: after a pause)")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "language\tcandidate\tn\tp50\tp90\tp99\t× direct\trested p50\tsigning\t")
	for _, row := range r.Rows {
		if row.Warm == nil {
			continue
		}
		a := row.Warm.All
		fmt.Fprintf(w, "%s\t%s\t%d\t%.0f\t%.0f\t%.0f\t%s\t%s\t%s\t\n", row.Language, row.Candidate, a.N,
			a.P50*1000, a.P90*1000, a.P99*1000, known("%.1f", row.Warm.Ratio), known("%.0f", row.Warm.rested()*1000), known("%.0f", row.Warm.Signing*1000))
	}
	w.Flush()

	fmt.Fprintln(out, "\nCold starts, milliseconds (platform: total without the function's init; over direct: medians;\nCPU and starts per core: Kiln with its sandboxes, init and the old environment's end included)")
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "language\tcandidate\tn\ttotal p50\tp99\tinit p50\thandler p50\tplatform p50\tp99\tover direct\tCPU\tper s and core\t")
	for _, row := range r.Rows {
		c := row.Cold
		if c == nil {
			continue
		}
		over := "–"
		if c.OverDirect != nil {
			over = fmt.Sprintf("%.1f", *c.OverDirect)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%.1f\t%.1f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", row.Language, row.Candidate, c.Total.N,
			c.Total.P50, c.Total.P99, median(c.Init), median(c.Handler), median(c.Platform), last(c.Platform), over, median(c.CPU), known("%.1f", c.PerCore))
	}
	w.Flush()
	for _, row := range r.Rows {
		for _, failure := range row.Failures {
			fmt.Fprintf(out, "\nFailed: %s, %s: %s\n", row.Language, row.Candidate, failure)
		}
	}
}

func known(format string, value float64) string {
	if value == 0 {
		return "–"
	}
	return fmt.Sprintf(format, value)
}

func median(s *summary) string {
	if s == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f", s.P50)
}

func last(s *summary) string {
	if s == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f", s.P99)
}

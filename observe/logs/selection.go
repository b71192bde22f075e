package logs

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// selection is a query made ready for comparisons.
type selection struct {
	streams    map[string]bool // nil for all
	prefix     string
	start, end int64 // ms; end is 0 for none
	pattern    Pattern
}

func newSelection(q Query) (selection, error) {
	pattern, err := ParsePattern(q.Pattern)
	if err != nil {
		return selection{}, fmt.Errorf("filter pattern: %w", err)
	}
	sel := selection{prefix: q.StreamPrefix, pattern: pattern}
	if len(q.Streams) > 0 {
		sel.streams = make(map[string]bool, len(q.Streams))
		for _, name := range q.Streams {
			sel.streams[name] = true
		}
	}
	if !q.Start.IsZero() {
		sel.start = q.Start.UnixMilli()
	}
	if !q.End.IsZero() {
		sel.end = q.End.UnixMilli()
	}
	return sel, nil
}

func (sel *selection) limitRetention(g *group, now time.Time) {
	sel.start = max(sel.start, g.oldestAllowed(now))
}

func (sel *selection) wantsTimes(first, last int64) bool {
	return last >= sel.start && (sel.end == 0 || first < sel.end)
}

func (sel *selection) wantsStream(name string) bool {
	return (sel.streams == nil || sel.streams[name]) && strings.HasPrefix(name, sel.prefix)
}

// wantsAny reports whether a segment can hold a selected event.
func (sel *selection) wantsAny(x *index) bool {
	if !sel.wantsTimes(x.All.First, x.All.Last) {
		return false
	}
	if sel.streams == nil && sel.prefix == "" {
		return true
	}
	for name := range sel.streams {
		if sp, ok := x.Streams[name]; ok && sel.wantsStream(name) && sel.wantsTimes(sp.First, sp.Last) {
			return true
		}
	}
	if sel.streams != nil {
		return false
	}
	for name, sp := range x.Streams {
		if sel.wantsStream(name) && sel.wantsTimes(sp.First, sp.Last) {
			return true
		}
	}
	return false
}

// match returns the event of a record if it is selected.
func (sel *selection) match(r record, p position) (Event, bool) {
	if !sel.wantsTimes(r.time, r.time) || !sel.wantsStream(unescape(r.stream)) {
		return Event{}, false
	}
	e := r.event(p)
	return e, sel.pattern.Match(e.Message)
}

// byTime sorts events, keeping the order of arrival for equal times.
func byTime(events []Event) {
	slices.SortStableFunc(events, func(a, b Event) int { return a.Time.Compare(b.Time) })
}

package logs

import (
	"context"
	"errors"
	"iter"
	"time"
)

// MaxPageEvents is how many events a page has at most; also the default.
const MaxPageEvents = 10_000

// A page has at most about this many bytes of messages, and at most this much
// is read to find them. A page may therefore be empty without being the last.
const (
	maxPageBytes = 1 << 20
	maxScanBytes = 32 << 20
)

// Query selects events of one group.
type Query struct {
	Group string
	// Streams, if any, are those wanted; StreamPrefix is the beginning of their names.
	Streams      []string
	StreamPrefix string
	// Start and End limit the events' times: Start ≤ time < End. Zero is no limit.
	Start, End time.Time
	// Pattern is a filter pattern, see ParsePattern.
	Pattern string
	// Limit is how many events a page has at most.
	Limit int
	// Token continues a query after an earlier page.
	Token string
}

// Page is a part of the events that a query selects, by time. Pages follow the
// order in which events arrived, so where several streams are selected, events
// of a page can be slightly older than those of the page before.
type Page struct {
	Events []Event
	// Token asks for the next page; "" if there is none yet.
	Token string
}

// Filter returns a page of the events that q selects, those put before included.
// Errors are ErrNoGroup, ErrToken, *PatternError or the disk's.
func (s *Store) Filter(ctx context.Context, q Query) (Page, error) {
	sel, err := newSelection(q)
	if err != nil {
		return Page{}, err
	}
	var from position
	if q.Token != "" {
		if from, err = parsePosition(q.Token); err != nil {
			return Page{}, ErrToken
		}
	}
	if err := s.Flush(ctx); err != nil {
		return Page{}, err
	}
	g, err := s.group(q.Group)
	if err != nil {
		return Page{}, err
	}
	sel.limitRetention(g, s.options.Now())
	found, err := g.forward(ctx, sel, from, pageLimit(q.Limit))
	if err != nil {
		return Page{}, err
	}
	page := Page{Events: found.events}
	if !found.done {
		page.Token = found.next.String()
	}
	return page, nil
}

// Follow returns the events that q selects and goes on with those to come, in
// the order of arrival, until ctx ends or the store is closed. It waits for a
// group that does not exist. Limit and Token have no meaning. After an error
// it ends.
func (s *Store) Follow(ctx context.Context, q Query) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		sel, err := newSelection(q)
		if err != nil {
			yield(Event{}, err)
			return
		}
		var current *group
		var at position
		for ctx.Err() == nil {
			changed := s.watch() // before looking, so that nothing is missed
			g, err := s.group(q.Group)
			if err == nil && g != current {
				current, at = g, position{} // also one made anew after its deletion
			}
			done := true
			if err == nil {
				var found scan
				found, err = g.forward(ctx, sel, at, MaxPageEvents)
				for _, e := range found.events {
					if !yield(e, nil) {
						return
					}
				}
				at, done = found.next, found.done
			}
			if err != nil && !errors.Is(err, ErrNoGroup) {
				if ctx.Err() == nil {
					yield(Event{}, err)
				}
				return
			}
			if !done {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
			case <-s.done:
				return
			}
		}
	}
}

func pageLimit(limit int) int {
	if limit <= 0 || limit > MaxPageEvents {
		return MaxPageEvents
	}
	return limit
}

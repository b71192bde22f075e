package logs

import (
	"context"
	"strings"
	"time"
)

// StreamQuery asks for a page of one stream in either direction, as
// GetLogEvents does.
type StreamQuery struct {
	Group, Stream string
	Start, End    time.Time // Start ≤ time < End
	Limit         int
	// FromHead begins with the oldest events; otherwise the page without a Token
	// is that of the newest. It has no meaning with a Token.
	FromHead bool
	// Token is one of an earlier page's.
	Token string
}

// StreamPage is a page of one stream, oldest event first.
type StreamPage struct {
	Events []Event
	// Forward and Backward ask for what comes after and before. At the end of the
	// stream, the token given and the one got are the same.
	Forward, Backward string
}

// Prefixes of a stream's tokens; AWS's have the same.
const (
	forwardToken  = "f/"
	backwardToken = "b/"
)

// Stream returns a page of one stream. Errors are ErrNoGroup, ErrNoStream,
// ErrToken or the disk's.
func (s *Store) Stream(ctx context.Context, q StreamQuery) (StreamPage, error) {
	at, ahead := position{}, q.FromHead
	if q.Token != "" {
		digits, isForward := strings.CutPrefix(q.Token, forwardToken)
		digits, isBackward := strings.CutPrefix(digits, backwardToken)
		var err error
		if at, err = parsePosition(digits); err != nil || isForward == isBackward {
			return StreamPage{}, ErrToken
		}
		ahead = isForward
	}
	sel, err := newSelection(Query{Streams: []string{q.Stream}, Start: q.Start, End: q.End})
	if err != nil {
		return StreamPage{}, err
	}
	if err := s.Flush(ctx); err != nil {
		return StreamPage{}, err
	}
	g, err := s.group(q.Group)
	if err != nil {
		return StreamPage{}, err
	}
	if _, ok := g.streams()[q.Stream]; !ok {
		return StreamPage{}, ErrNoStream
	}
	sel.limitRetention(g, s.options.Now())
	var found scan
	if ahead {
		found, err = g.forward(ctx, sel, at, pageLimit(q.Limit))
	} else {
		if q.Token == "" {
			at = g.end()
		}
		found, err = g.backward(ctx, sel, at, pageLimit(q.Limit))
	}
	if err != nil {
		return StreamPage{}, err
	}
	page := StreamPage{Events: found.events}
	before, after := found.bounds(at, ahead)
	page.Forward, page.Backward = forwardToken+after.String(), backwardToken+before.String()
	return page, nil
}

package logs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
)

// scan is what was found in a group.
type scan struct {
	events []Event // by time
	// first is where the first event found in the order of arrival is, next is
	// behind the last one looked at.
	first, next position
	// last is behind the last event found.
	last position
	// done is set when everything in the direction was looked at.
	done bool
}

// bounds returns where pages before and after this one begin, for a scan that
// began at a position in a direction.
func (f scan) bounds(at position, ahead bool) (before, after position) {
	switch {
	case len(f.events) > 0:
		return f.first, f.last
	case f.done:
		return at, at
	case ahead:
		return at, f.next
	default:
		return f.next, at
	}
}

// part is the readable part of a segment at one moment.
type part struct {
	number int
	size   int64
}

// parts returns the segments that can hold selected events, and where the
// group ends. Events that are written later are not in them.
func (g *group) parts(sel selection) ([]part, position) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var parts []part
	for _, s := range g.segments {
		if s.size > 0 && sel.wantsAny(&s.index) {
			parts = append(parts, part{s.number, s.size})
		}
	}
	last := g.segments[len(g.segments)-1]
	return parts, position{last.number, last.size}
}

func (g *group) end() position {
	_, end := g.parts(selection{end: 1})
	return end
}

// read returns a part's contents from an offset on; nothing if the segment has
// been deleted in the meantime.
func (g *group) read(p part, offset int64) ([]byte, error) {
	if offset >= p.size {
		return nil, nil
	}
	f, err := os.Open(g.segmentPath(p.number, "log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, p.size-offset)
	if _, err := f.ReadAt(data, offset); err != nil {
		return nil, err
	}
	return data, nil
}

// forward looks for events from a position on.
func (g *group) forward(ctx context.Context, sel selection, from position, limit int) (scan, error) {
	parts, end := g.parts(sel)
	f := scan{next: from}
	size, scanned := 0, 0
	for _, p := range parts {
		if p.number < from.segment {
			continue
		}
		var offset int64
		if p.number == from.segment {
			offset = from.offset
		}
		if err := ctx.Err(); err != nil {
			return scan{}, err
		}
		if scanned > maxScanBytes {
			f.next = position{p.number, offset}
			byTime(f.events)
			return f, nil
		}
		data, err := g.read(p, offset)
		if err != nil {
			return scan{}, err
		}
		scanned += len(data)
		for line := range bytes.Lines(data) {
			at := position{p.number, offset}
			offset += int64(len(line))
			r, err := parseRecord(bytes.TrimSuffix(line, []byte{'\n'}))
			if err != nil {
				continue // a crash of the machine may leave rubbish
			}
			e, ok := sel.match(r, at)
			if !ok {
				continue
			}
			if len(f.events) == limit || len(f.events) > 0 && size+len(e.Message) > maxPageBytes {
				f.next = at
				byTime(f.events)
				return f, nil
			}
			if len(f.events) == 0 {
				f.first = at
			}
			f.events = append(f.events, e)
			f.last = position{p.number, offset}
			size += len(e.Message)
		}
	}
	f.done = true
	if f.next.less(end) {
		f.next = end
	}
	byTime(f.events)
	return f, nil
}

// backward looks for the last events before a position.
func (g *group) backward(ctx context.Context, sel selection, before position, limit int) (scan, error) {
	parts, _ := g.parts(sel)
	f := scan{next: before}
	size, scanned := 0, 0
	for _, p := range slices.Backward(parts) {
		if p.number > before.segment {
			continue
		}
		if p.number == before.segment {
			p.size = min(p.size, before.offset)
		}
		if err := ctx.Err(); err != nil {
			return scan{}, err
		}
		if scanned > maxScanBytes {
			slices.Reverse(f.events)
			byTime(f.events)
			return f, nil
		}
		data, err := g.read(p, 0)
		if err != nil {
			return scan{}, err
		}
		scanned += len(data)
		for end := len(data); end > 0; {
			begin := bytes.LastIndexByte(data[:end-1], '\n') + 1
			at, behind := position{p.number, int64(begin)}, position{p.number, int64(end)}
			r, err := parseRecord(data[begin : end-1])
			end = begin
			if err != nil {
				continue
			}
			e, ok := sel.match(r, at)
			if !ok {
				continue
			}
			if len(f.events) == limit || len(f.events) > 0 && size+len(e.Message) > maxPageBytes {
				slices.Reverse(f.events)
				byTime(f.events)
				return f, nil
			}
			if len(f.events) == 0 {
				f.last = behind
			}
			f.events = append(f.events, e)
			f.first = at
			size += len(e.Message)
		}
		f.next = position{p.number, 0}
	}
	f.done = true
	slices.Reverse(f.events)
	byTime(f.events)
	return f, nil
}

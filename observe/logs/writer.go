package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// write is the one goroutine that changes groups and their files.
func (s *Store) write() {
	defer close(s.done)
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	for {
		select {
		case <-s.wake:
			// More will come with the same invocation, and with others.
			time.Sleep(writeDelay)
			s.drain()
		case command := <-s.commands:
			s.drain()
			command()
		case <-tick.C:
			s.enforceRetention()
		case <-s.stop:
			s.drain()
			return
		}
	}
}

// do runs f on the writer after all that was put before is written.
func (s *Store) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case s.commands <- func() { result <- f() }:
		return <-result
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain writes the queue.
func (s *Store) drain() {
	s.queueMu.Lock()
	queue := s.queue
	s.queue, s.queued = nil, 0
	s.queueMu.Unlock()
	if len(queue) == 0 {
		return
	}
	now := s.options.Now()
	byGroup := make(map[string][]Event)
	for _, q := range queue {
		for _, e := range q.events {
			e.Stream, e.Ingested, e.Message = q.stream, now, cutMessage(e.Message)
			byGroup[q.group] = append(byGroup[q.group], e)
		}
	}
	for _, name := range sortedKeys(byGroup) {
		lost, err := s.appendTo(name, byGroup[name])
		if err != nil && now.Sub(s.complained) > complaint {
			s.complained = now
			s.options.Log.Warn("cannot store logs", "group", name, "lost", lost, "error", err)
		}
		s.queueMu.Lock()
		s.dropped += uint64(lost)
		s.queueMu.Unlock()
	}
	s.announce()
}

// appendTo writes events of one group, as many at a time as fit a segment, and
// keeps the group within its size. It returns how many were lost.
func (s *Store) appendTo(name string, events []Event) (lost int, err error) {
	g, err := s.group(name)
	if errors.Is(err, ErrNoGroup) {
		g, err = s.create(name)
	}
	if err != nil {
		return len(events), err
	}
	for len(events) > 0 {
		count, size := 0, 0
		for count < len(events) && size < int(s.segment)/2 {
			size += len(events[count].Message) + len(events[count].Stream) + 32
			count++
		}
		s.buf, err = g.append(events[:count], s.buf, s.segment)
		if err != nil {
			return len(events), err
		}
		events = events[count:]
		tooMuch := func(_ *segment, bytes int64) bool { return bytes > s.options.MaxBytesPerGroup }
		if err := g.trim(tooMuch); err != nil && len(events) == 0 {
			return 0, fmt.Errorf("deleting old logs: %w", err)
		}
	}
	if cap(s.buf) > maxSegmentBytes {
		s.buf = nil
	}
	return 0, nil
}

func (s *Store) create(name string) (*group, error) {
	info := groupInfo{Name: name, Created: s.options.Now().UnixMilli(), RetentionDays: s.options.RetentionDays}
	g, err := createGroup(filepath.Join(s.dir, dirName(name)), info)
	if err != nil {
		return nil, err
	}
	s.groupsMu.Lock()
	s.groups[name] = g
	s.groupsMu.Unlock()
	return g, nil
}

// DeleteGroup deletes a group with all its events.
func (s *Store) DeleteGroup(ctx context.Context, name string) error {
	return s.do(ctx, func() error {
		g, err := s.group(name)
		if err != nil {
			return err
		}
		// Renamed first, so that a crash leaves no half of a group.
		grave := filepath.Join(s.dir, deletedPrefix+filepath.Base(g.dir))
		if err := os.RemoveAll(grave); err != nil {
			return err
		}
		if err := os.Rename(g.dir, grave); err != nil {
			return err
		}
		s.groupsMu.Lock()
		delete(s.groups, name)
		s.groupsMu.Unlock()
		s.announce()
		return os.RemoveAll(grave)
	})
}

// SetRetention says how many days a group keeps its events; 0 for ever.
func (s *Store) SetRetention(ctx context.Context, name string, days int) error {
	return s.do(ctx, func() error {
		g, err := s.group(name)
		if err != nil {
			return err
		}
		info := g.info
		info.RetentionDays = days
		if err := writeJSON(filepath.Join(g.dir, "group.json"), info); err != nil {
			return err
		}
		g.mu.Lock()
		g.info = info
		g.mu.Unlock()
		return s.expire(g)
	})
}

// enforceRetention deletes what is past its retention in all groups.
func (s *Store) enforceRetention() {
	s.groupsMu.Lock()
	names := sortedKeys(s.groups)
	s.groupsMu.Unlock()
	for _, name := range names {
		g, err := s.group(name)
		if err == nil {
			err = s.expire(g)
		}
		if err != nil {
			s.options.Log.Warn("cannot delete old logs", "group", name, "error", err)
		}
	}
}

// expire deletes the segments of which all events are past their retention.
// Queries leave out those in segments that are not.
func (s *Store) expire(g *group) error {
	oldest := g.oldestAllowed(s.options.Now())
	if oldest == 0 {
		return nil
	}
	// Only closed segments are deleted, so one that will expire soon is closed.
	if last := g.segments[len(g.segments)-1]; last.size > 0 && last.index.All.Created < oldest+(24*time.Hour).Milliseconds() {
		g.rotate()
	}
	return g.trim(func(s *segment, _ int64) bool { return s.index.All.Last < oldest })
}

// readGroupName returns the name of the group in dir.
func readGroupName(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "group.json"))
	if err != nil {
		return "", err
	}
	var info groupInfo
	if err := json.Unmarshal(b, &info); err != nil {
		return "", err
	}
	if info.Name == "" {
		return "", fmt.Errorf("%s/group.json names no group", dir)
	}
	return info.Name, nil
}

package logs

import (
	"context"
	"strings"
	"time"
)

// Group describes a log group.
type Group struct {
	Name          string
	Created       time.Time
	RetentionDays int // 0 for ever
	StoredBytes   int64
}

// Groups returns all groups whose names begin with prefix, by name.
func (s *Store) Groups(ctx context.Context, prefix string) ([]Group, error) {
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	s.groupsMu.Lock()
	names := sortedKeys(s.groups)
	s.groupsMu.Unlock()
	var groups []Group
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		g, err := s.group(name)
		if err != nil {
			return nil, err
		}
		g.mu.RLock()
		groups = append(groups, Group{
			Name: name, Created: time.UnixMilli(g.info.Created),
			RetentionDays: g.info.RetentionDays, StoredBytes: g.bytes(),
		})
		g.mu.RUnlock()
	}
	return groups, nil
}

// Stream describes a log stream. It is known by its events: when the last has
// been deleted, the stream is gone.
type Stream struct {
	Name                  string
	Created               time.Time // first arrival
	FirstEvent, LastEvent time.Time
	LastIngestion         time.Time
}

// Streams returns all streams of a group whose names begin with prefix, by name.
func (s *Store) Streams(ctx context.Context, group, prefix string) ([]Stream, error) {
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	g, err := s.group(group)
	if err != nil {
		return nil, err
	}
	spans := g.streams()
	var streams []Stream
	for _, name := range sortedKeys(spans) {
		if strings.HasPrefix(name, prefix) {
			sp := spans[name]
			streams = append(streams, Stream{
				Name: name, Created: time.UnixMilli(sp.Created),
				FirstEvent: time.UnixMilli(sp.First), LastEvent: time.UnixMilli(sp.Last),
				LastIngestion: time.UnixMilli(sp.Arrived),
			})
		}
	}
	return streams, nil
}

package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// span is what a segment knows of one stream, or a group of it, in milliseconds.
type span struct {
	First   int64 `json:"first"`   // earliest event
	Last    int64 `json:"last"`    // latest event
	Created int64 `json:"created"` // first arrival
	Arrived int64 `json:"arrived"` // last arrival
}

func (s span) add(o span) span {
	if s == (span{}) {
		return o
	}
	return span{min(s.First, o.First), max(s.Last, o.Last), min(s.Created, o.Created), max(s.Arrived, o.Arrived)}
}

// index is what a segment holds.
type index struct {
	All     span            `json:"all"`
	Streams map[string]span `json:"streams"`
}

func (x *index) add(stream string, time, ingested int64) {
	s := span{time, time, ingested, ingested}
	x.All = x.All.add(s)
	x.Streams[stream] = x.Streams[stream].add(s)
}

// segment is a file of events. Only the last of a group grows.
type segment struct {
	number int
	size   int64 // of whole records
	index  index
}

// groupInfo is the contents of group.json.
type groupInfo struct {
	Name          string `json:"name"`
	Created       int64  `json:"created"` // ms
	RetentionDays int    `json:"retentionDays,omitempty"`
}

// group is a log group. Only the store's writer changes it and its files.
type group struct {
	dir string

	mu       sync.RWMutex // guards what follows; not held during I/O
	info     groupInfo
	segments []*segment // by number; at least one
}

func (g *group) segmentPath(number int, ext string) string {
	return filepath.Join(g.dir, fmt.Sprintf("%08d.%s", number, ext))
}

// createGroup makes a group's directory.
func createGroup(dir string, info groupInfo) (*group, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	g := &group{dir: dir, info: info, segments: []*segment{newSegment(1)}}
	return g, writeJSON(filepath.Join(dir, "group.json"), info)
}

func newSegment(number int) *segment {
	return &segment{number: number, index: index{Streams: make(map[string]span)}}
}

// loadGroup reads a group's directory and repairs what a crash left: it cuts
// off a torn record and makes missing indexes.
func loadGroup(dir string) (*group, error) {
	g := &group{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, "group.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &g.info); err != nil {
		return nil, fmt.Errorf("%s/group.json: %w", dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".log")
		if n, err := strconv.Atoi(base); ok && err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for i, number := range numbers {
		s, err := g.loadSegment(number, i == len(numbers)-1)
		if err != nil {
			return nil, err
		}
		g.segments = append(g.segments, s)
	}
	if len(g.segments) == 0 {
		g.segments = []*segment{newSegment(1)}
	}
	return g, nil
}

func (g *group) loadSegment(number int, last bool) (*segment, error) {
	path := g.segmentPath(number, "log")
	s := newSegment(number)
	if b, err := os.ReadFile(g.segmentPath(number, "idx")); err == nil && json.Unmarshal(b, &s.index) == nil && s.index.Streams != nil {
		stat, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		s.size = stat.Size()
		return s, nil
	}
	s = newSegment(number)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s.size = int64(bytes.LastIndexByte(data, '\n') + 1)
	if s.size < int64(len(data)) {
		if err := os.Truncate(path, s.size); err != nil {
			return nil, err
		}
	}
	for line := range bytes.Lines(data[:s.size]) {
		if r, err := parseRecord(bytes.TrimSuffix(line, []byte{'\n'})); err == nil {
			s.index.add(unescape(r.stream), r.time, r.ingested)
		}
	}
	if last {
		return s, nil
	}
	return s, writeJSON(g.segmentPath(number, "idx"), s.index)
}

// append writes events to the last segment and starts a new one where that is
// full. On error none of the events is stored.
func (g *group) append(events []Event, buf []byte, segmentBytes int64) ([]byte, error) {
	last := g.segments[len(g.segments)-1]
	buf = buf[:0]
	for i := range events {
		buf = appendRecord(buf, &events[i])
	}
	f, err := os.OpenFile(g.segmentPath(last.number, "log"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return buf, err
	}
	if _, err := f.WriteAt(buf, last.size); err != nil {
		return buf, errors.Join(err, f.Truncate(last.size), f.Close())
	}
	if err := f.Close(); err != nil {
		return buf, err
	}
	g.mu.Lock()
	last.size += int64(len(buf))
	for _, e := range events {
		last.index.add(strings.ToValidUTF8(e.Stream, "\uFFFD"), e.Time.UnixMilli(), e.Ingested.UnixMilli())
	}
	g.mu.Unlock()
	if last.size >= segmentBytes {
		g.rotate()
	}
	return buf, nil
}

// rotate closes the last segment, if there is anything in it.
func (g *group) rotate() {
	last := g.segments[len(g.segments)-1]
	if last.size == 0 {
		return
	}
	// An index that cannot be written is made again when the group is loaded.
	_ = writeJSON(g.segmentPath(last.number, "idx"), last.index)
	g.mu.Lock()
	g.segments = append(g.segments, newSegment(last.number+1))
	g.mu.Unlock()
}

// trim deletes the oldest segments while drop says so; never the last one.
func (g *group) trim(drop func(s *segment, bytes int64) bool) error {
	var errs []error
	for len(g.segments) > 1 && drop(g.segments[0], g.bytes()) {
		oldest := g.segments[0]
		g.mu.Lock()
		g.segments = slices.Clone(g.segments[1:])
		g.mu.Unlock()
		// The index goes last: without its segment it means nothing.
		errs = append(errs, os.Remove(g.segmentPath(oldest.number, "log")))
		if err := os.Remove(g.segmentPath(oldest.number, "idx")); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (g *group) bytes() int64 {
	var sum int64
	for _, s := range g.segments {
		sum += s.size
	}
	return sum
}

// streams returns all streams of the group that have events, by name.
func (g *group) streams() map[string]span {
	g.mu.RLock()
	defer g.mu.RUnlock()
	all := make(map[string]span)
	for _, s := range g.segments {
		for name, sp := range s.index.Streams {
			all[name] = all[name].add(sp)
		}
	}
	return all
}

// oldestAllowed is the time in ms before which events are past their retention.
func (g *group) oldestAllowed(now time.Time) int64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.info.RetentionDays == 0 {
		return 0
	}
	return now.AddDate(0, 0, -g.info.RetentionDays).UnixMilli()
}

// writeJSON replaces a file by v.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// sortedKeys returns m's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options bound a store. Zero values mean the defaults.
type Options struct {
	// MaxBytesPerGroup is how much a group may take on disk, 256 MiB by default.
	// The oldest events go first.
	MaxBytesPerGroup int64
	// MaxQueueBytes is how much may wait to be written, 16 MiB by default. What
	// comes while the queue is full is dropped and counted.
	MaxQueueBytes int
	// RetentionDays is how long new groups keep events; 0, the default, for ever.
	RetentionDays int
	// Now tells the time; time.Now by default.
	Now func() time.Time
	// Log receives what goes wrong in the background; slog.Default() by default.
	Log *slog.Logger
}

// Segments are a sixteenth of a group's size, within these bounds: small ones
// make the bound exact and opening fast, large ones make few files.
const (
	minSegmentBytes = 4 << 10
	maxSegmentBytes = 4 << 20
)

// writeDelay is how long the writer waits for more to write with it.
const writeDelay = 5 * time.Millisecond

// housekeeping is the time between looks for events past their retention.
const housekeeping = time.Hour

// complaint is the least time between two logged errors of the writer.
const complaint = 10 * time.Second

// Errors of the store's methods.
var (
	// ErrNoGroup is returned for a group that does not exist.
	ErrNoGroup = errors.New("no such log group")
	// ErrNoStream is returned for a stream that does not exist.
	ErrNoStream = errors.New("no such log stream")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("log store is closed")
	// ErrToken is returned for a token that the store has not given out.
	ErrToken = errors.New("no valid token")
)

// Store keeps log events. Its methods are safe for concurrent use.
type Store struct {
	dir     string
	options Options
	segment int64

	wake     chan struct{}
	commands chan func()
	stop     chan struct{}
	done     chan struct{}
	closing  sync.Once

	queueMu sync.Mutex // guards the queue; Put takes no other lock
	queue   []queued
	queued  int // bytes
	dropped uint64
	closed  bool

	groupsMu sync.Mutex        // guards groups; held while one is loaded
	groups   map[string]*group // nil until it is used

	buf        []byte    // the writer's
	complained time.Time // the writer's: when it last logged an error

	changedMu sync.Mutex
	changed   chan struct{} // closed, and replaced, when something was written
}

// queued are events of one Put.
type queued struct {
	group, stream string
	events        []Event
	bytes         int
}

// Open opens the store in dir, which it creates if need be. One process may
// have it open.
func Open(dir string, options Options) (*Store, error) {
	if options.MaxBytesPerGroup <= 0 {
		options.MaxBytesPerGroup = 256 << 20
	}
	if options.MaxQueueBytes <= 0 {
		options.MaxQueueBytes = 16 << 20
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Log == nil {
		options.Log = slog.Default()
	}
	s := &Store{
		dir: dir, options: options,
		segment:  min(max(options.MaxBytesPerGroup/16, minSegmentBytes), maxSegmentBytes),
		wake:     make(chan struct{}, 1),
		commands: make(chan func()),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		groups:   make(map[string]*group),
		changed:  make(chan struct{}),
	}
	if err := s.findGroups(); err != nil {
		return nil, fmt.Errorf("opening log store: %w", err)
	}
	go s.write()
	return s, nil
}

// deletedPrefix begins the names of directories whose removal has begun.
const deletedPrefix = ".deleted-"

// findGroups lists the groups without loading them.
func (s *Store) findGroups() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(s.dir, e.Name())
		if strings.HasPrefix(e.Name(), deletedPrefix) {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		name, err := readGroupName(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // its creation was cut short before anything was written
		}
		if err != nil {
			s.options.Log.Warn("log group cannot be read", "dir", dir, "error", err)
			continue
		}
		s.groups[name] = nil
	}
	return nil
}

// Put stores events in a stream, in this order, creating group and stream as
// needed. It returns at once and never waits for the disk. The caller may not
// change events afterwards.
func (s *Store) Put(group, stream string, events ...Event) {
	if len(events) == 0 {
		return
	}
	size := 0
	for i := range events {
		size += len(events[i].Message) + 100
	}
	s.queueMu.Lock()
	if s.closed || s.queued+size > s.options.MaxQueueBytes {
		s.dropped += uint64(len(events))
		s.queueMu.Unlock()
		return
	}
	s.queued += size
	s.queue = append(s.queue, queued{group, stream, events, size})
	s.queueMu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Dropped returns how many events have been lost since Open, because the queue
// was full or the disk refused them.
func (s *Store) Dropped() uint64 {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	return s.dropped
}

// Flush waits until all events put before are written to their files.
func (s *Store) Flush(ctx context.Context) error {
	return s.do(ctx, func() error { return nil })
}

// Close writes what is queued and ends the store. It is idempotent.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.queueMu.Lock()
		s.closed = true
		s.queueMu.Unlock()
		close(s.stop)
	})
	<-s.done
	return nil
}

var _ io.Closer = (*Store)(nil)

// group returns a group, loading it if need be, ErrNoGroup if there is none.
func (s *Store) group(name string) (*group, error) {
	s.groupsMu.Lock()
	defer s.groupsMu.Unlock()
	g, ok := s.groups[name]
	if !ok {
		return nil, ErrNoGroup
	}
	if g == nil {
		var err error
		if g, err = loadGroup(filepath.Join(s.dir, dirName(name))); err != nil {
			return nil, fmt.Errorf("log group %s: %w", name, err)
		}
		s.groups[name] = g
	}
	return g, nil
}

// watch returns a channel that is closed when something has been written.
func (s *Store) watch() <-chan struct{} {
	s.changedMu.Lock()
	defer s.changedMu.Unlock()
	return s.changed
}

func (s *Store) announce() {
	s.changedMu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.changedMu.Unlock()
}

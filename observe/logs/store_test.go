package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const testGroup = "/aws/lambda/hello"

// base is a time that tests count from.
var base = time.UnixMilli(1_700_000_000_000)

func at(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }

func openStore(t testing.TB, dir string, options Options) *Store {
	t.Helper()
	s, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// all returns every event that q selects, page by page.
func all(t testing.TB, s *Store, q Query) []Event {
	t.Helper()
	var events []Event
	for {
		page, err := s.Filter(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, page.Events...)
		if q.Token = page.Token; q.Token == "" {
			return events
		}
	}
}

func messages(events []Event) []string {
	var list []string
	for _, e := range events {
		list = append(list, e.Message)
	}
	return list
}

func TestFilter(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	const one, two = "2026/11/22/[$LATEST]0a1b", "2026/11/23/[7]ffff"
	s.Put(testGroup, one, Event{Time: at(0), Message: "START one\n"}, Event{Time: at(10), Message: "ERROR a\tb\\n\nc\n"})
	s.Put(testGroup, two, Event{Time: at(5), Message: "START two"}, Event{Time: at(20), Message: "REPORT"})
	s.Put("other", one, Event{Time: at(0), Message: "elsewhere"})
	check := func(t *testing.T, s *Store) {
		for _, c := range []struct {
			name string
			q    Query
			want []string
		}{
			{"all, by time", Query{}, []string{"START one\n", "START two", "ERROR a\tb\\n\nc\n", "REPORT"}},
			{"stream", Query{Streams: []string{two}}, []string{"START two", "REPORT"}},
			{"streams", Query{Streams: []string{two, one, "none"}, Pattern: "START"}, []string{"START one\n", "START two"}},
			{"prefix", Query{StreamPrefix: "2026/11/22/"}, []string{"START one\n", "ERROR a\tb\\n\nc\n"}},
			{"start is included", Query{Start: at(10)}, []string{"ERROR a\tb\\n\nc\n", "REPORT"}},
			{"end is not", Query{End: at(10)}, []string{"START one\n", "START two"}},
			{"pattern", Query{Pattern: `START -"two"`}, []string{"START one\n"}},
			{"nothing", Query{Start: at(21)}, nil},
		} {
			c.q.Group = testGroup
			for _, limit := range []int{0, 1} {
				c.q.Limit = limit
				got := messages(all(t, s, c.q))
				if limit > 0 {
					// Pages of one follow the order of arrival.
					slices.Sort(got)
					c.want = slices.Sorted(slices.Values(c.want))
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("%s, limit %d: %q, want %q", c.name, limit, got, c.want)
				}
			}
		}
	}
	check(t, s)
	events := all(t, s, Query{Group: testGroup})
	if e := events[0]; e.Stream != one || !e.Time.Equal(at(0)) || e.Ingested.IsZero() || len(e.ID) != 56 {
		t.Errorf("event %+v", e)
	}
	s.Close()
	s = openStore(t, dir, Options{})
	check(t, s)
	if again := all(t, s, Query{Group: testGroup}); again[3].ID != events[3].ID {
		t.Errorf("the ID was %s, is %s after opening again", events[3].ID, again[3].ID)
	}
	groups, err := s.Groups(t.Context(), "")
	if err != nil || len(groups) != 2 || groups[0].Name != testGroup || groups[1].Name != "other" || groups[0].StoredBytes == 0 {
		t.Errorf("groups %+v, %v", groups, err)
	}
	streams, err := s.Streams(t.Context(), testGroup, "2026/11/23/")
	if err != nil || len(streams) != 1 || streams[0].Name != two || !streams[0].FirstEvent.Equal(at(5)) || !streams[0].LastEvent.Equal(at(20)) {
		t.Errorf("streams %+v, %v", streams, err)
	}
}

func TestErrors(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	s.Put(testGroup, "s", Event{Time: at(0), Message: "m"})
	ctx := t.Context()
	if _, err := s.Filter(ctx, Query{Group: "none"}); !errors.Is(err, ErrNoGroup) {
		t.Errorf("no group: %v", err)
	}
	if _, err := s.Filter(ctx, Query{Group: testGroup, Token: "x"}); !errors.Is(err, ErrToken) {
		t.Errorf("bad token: %v", err)
	}
	var p *PatternError
	if _, err := s.Filter(ctx, Query{Group: testGroup, Pattern: `"open`}); !errors.As(err, &p) {
		t.Errorf("bad pattern: %v", err)
	}
	if _, err := s.Stream(ctx, StreamQuery{Group: testGroup, Stream: "none"}); !errors.Is(err, ErrNoStream) {
		t.Errorf("no stream: %v", err)
	}
	for _, token := range []string{"x", "f/", "b/12", position{}.String(), "f/b/" + position{}.String()} {
		if _, err := s.Stream(ctx, StreamQuery{Group: testGroup, Stream: "s", Token: token}); !errors.Is(err, ErrToken) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	s.Close()
	if _, err := s.Filter(ctx, Query{Group: testGroup}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	s.Put(testGroup, "s", Event{Message: "late"})
	if s.Dropped() != 1 {
		t.Errorf("%d dropped after Close, want 1", s.Dropped())
	}
}

func TestCrash(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	s.Put(testGroup, "s", Event{Time: at(0), Message: "first"}, Event{Time: at(1), Message: "second"})
	s.Close()
	path := filepath.Join(dir, dirName(testGroup), "00000001.log")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Rubbish with a line end, then a record without one.
	fmt.Fprintf(f, "\x00\x00\x00\n%d\t%d\ts\t%s", at(2).UnixMilli(), at(2).UnixMilli(), strings.Repeat("torn ", 100))
	f.Close()
	if err := os.MkdirAll(filepath.Join(dir, deletedPrefix+"x"), 0o700); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{})
	s.Put(testGroup, "s", Event{Time: at(3), Message: "third"})
	if got := messages(all(t, s, Query{Group: testGroup})); !slices.Equal(got, []string{"first", "second", "third"}) {
		t.Errorf("after the crash: %q", got)
	}
	if b, err := os.ReadFile(path); err != nil || strings.Contains(string(b), "torn") {
		t.Errorf("the torn record is still there: %q, %v", b, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left in the directory: %v", entries)
	}
}

func TestSizeIsBounded(t *testing.T) {
	const limit = 256 << 10
	dir := t.TempDir()
	s := openStore(t, dir, Options{MaxBytesPerGroup: limit, MaxQueueBytes: 64 << 20})
	const count = 20_000
	for i := range count {
		s.Put(testGroup, fmt.Sprintf("stream%d", i/100), Event{Time: at(i), Message: fmt.Sprintf("message %d %s", i, strings.Repeat("x", 50))})
	}
	check := func(s *Store) {
		events := all(t, s, Query{Group: testGroup})
		if n := len(events); n < 1000 || n >= count {
			t.Errorf("%d of %d events are left", n, count)
		}
		for i, e := range events {
			if want := fmt.Sprintf("message %d ", count-len(events)+i); !strings.HasPrefix(e.Message, want) {
				t.Fatalf("event %d is %q, want %q", i, e.Message, want)
			}
		}
		groups, err := s.Groups(t.Context(), "")
		if err != nil || groups[0].StoredBytes > limit {
			t.Errorf("%d bytes are stored, %v", groups[0].StoredBytes, err)
		}
	}
	check(s)
	if s.Dropped() != 0 {
		t.Errorf("%d dropped", s.Dropped())
	}
	var onDisk int64
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && strings.HasSuffix(info.Name(), ".log") {
			onDisk += info.Size()
		}
		return err
	})
	if err != nil || onDisk > limit {
		t.Errorf("%d bytes on disk, %v", onDisk, err)
	}
	s.Close()
	// Indexes are made again when they are missing.
	indexes, err := filepath.Glob(filepath.Join(dir, "*", "*.idx"))
	if err != nil || len(indexes) < 2 {
		t.Fatalf("indexes %v, %v", indexes, err)
	}
	os.Remove(indexes[0])
	os.WriteFile(indexes[1], []byte("{"), 0o600)
	check(openStore(t, dir, Options{MaxBytesPerGroup: limit}))
}

func TestRetention(t *testing.T) {
	var mu sync.Mutex
	now := base
	s := openStore(t, t.TempDir(), Options{RetentionDays: 3, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	day := func(d int) time.Time { return base.AddDate(0, 0, d) }
	for d := range 5 {
		s.Put(testGroup, "s", Event{Time: day(d), Message: fmt.Sprint("day ", d)})
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		now = day(d)
		mu.Unlock()
	}
	if got := messages(all(t, s, Query{Group: testGroup})); !slices.Equal(got, []string{"day 1", "day 2", "day 3", "day 4"}) {
		t.Errorf("at day 4: %q", got)
	}
	mu.Lock()
	now = day(30)
	mu.Unlock()
	// Twice: an old segment is closed first, then deleted.
	for range 2 {
		if err := s.SetRetention(t.Context(), testGroup, 1); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := s.Groups(t.Context(), "")
	if err != nil || len(groups) != 1 || groups[0].StoredBytes != 0 || groups[0].RetentionDays != 1 {
		t.Errorf("groups at day 30: %+v, %v", groups, err)
	}
	s.Put(testGroup, "s", Event{Time: day(30), Message: "day 30"})
	if got := messages(all(t, s, Query{Group: testGroup})); !slices.Equal(got, []string{"day 30"}) {
		t.Errorf("at day 30: %q", got)
	}
}

func TestDrops(t *testing.T) {
	dir := t.TempDir()
	// Where the group's directory should be there is a file.
	if err := os.WriteFile(filepath.Join(dir, dirName("broken")), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir, Options{MaxQueueBytes: 1000})
	s.Put(testGroup, "s", Event{Time: at(0), Message: strings.Repeat("x", 1000)})
	if s.Dropped() != 1 {
		t.Errorf("%d dropped by a full queue, want 1", s.Dropped())
	}
	s.Put("broken", "s", Event{Time: at(0), Message: "a"}, Event{Time: at(0), Message: "b"})
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Dropped() != 3 {
		t.Errorf("%d dropped when the disk refuses, want 3", s.Dropped())
	}
	s.Put(testGroup, "s", Event{Time: at(0), Message: "c"})
	if got := messages(all(t, s, Query{Group: testGroup})); !slices.Equal(got, []string{"c"}) {
		t.Errorf("afterwards: %q", got)
	}
}

func TestLongAndBadMessages(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	s.Put(testGroup, "s", Event{Time: at(0), Message: "x" + strings.Repeat("ü", MaxMessageBytes)}, Event{Time: at(1), Message: "a\xffb"})
	got := messages(all(t, s, Query{Group: testGroup}))
	if len(got) != 2 || len(got[0]) != MaxMessageBytes-1 || strings.ContainsRune(got[0], '\uFFFD') {
		t.Errorf("long message has %d bytes", len(got[0]))
	}
	if got[1] != "a\uFFFDb" {
		t.Errorf("bad message became %q", got[1])
	}
}

func TestFollow(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := make(chan string)
	go func() {
		defer close(got)
		for e, err := range s.Follow(ctx, Query{Group: testGroup, Start: at(5), Pattern: "-noise"}) {
			if err != nil {
				t.Error(err)
			}
			got <- e.Message
		}
	}()
	expect := func(want string) {
		t.Helper()
		if m, ok := <-got; m != want || !ok {
			t.Fatalf("got %q, %v, want %q", m, ok, want)
		}
	}
	s.Put(testGroup, "s", Event{Time: at(0), Message: "too early"}, Event{Time: at(5), Message: "a"}, Event{Time: at(6), Message: "noise"})
	s.Put("other", "s", Event{Time: at(7), Message: "other"})
	expect("a")
	s.Put(testGroup, "t", Event{Time: at(8), Message: "b"})
	expect("b")
	if err := s.DeleteGroup(ctx, testGroup); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Filter(ctx, Query{Group: testGroup}); !errors.Is(err, ErrNoGroup) {
		t.Errorf("deleted group: %v", err)
	}
	s.Put(testGroup, "t", Event{Time: at(9), Message: "after its deletion"})
	expect("after its deletion")
	cancel()
	if m, ok := <-got; ok {
		t.Errorf("got %q after the end", m)
	}
}

func TestFollowEndsWithStore(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range s.Follow(context.Background(), Query{Group: testGroup}) {
			t.Error("an event from nowhere")
		}
	}()
	s.Close()
	<-ended
}

func TestConcurrentPuts(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxQueueBytes: 64 << 20})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 500 {
				s.Put(testGroup, fmt.Sprint("s", i), Event{Time: at(k), Message: fmt.Sprint(k)})
			}
			if _, err := s.Filter(context.Background(), Query{Group: testGroup, Limit: 10}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 8 {
		events := all(t, s, Query{Group: testGroup, Streams: []string{fmt.Sprint("s", i)}, Limit: 77})
		if len(events) != 500 {
			t.Fatalf("stream %d has %d events", i, len(events))
		}
		for k, e := range events {
			if e.Message != fmt.Sprint(k) {
				t.Fatalf("stream %d: event %d is %s", i, k, e.Message)
			}
		}
	}
}

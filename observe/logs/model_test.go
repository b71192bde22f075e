package logs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestModel does random things to a store of tiny segments and compares what
// it returns with a list of all events.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir := t.TempDir()
		options := Options{MaxBytesPerGroup: 1 << 30}
		open := func() *Store {
			s, err := Open(dir, options)
			if err != nil {
				r.Fatal(err)
			}
			s.segment = 300
			return s
		}
		s := open()
		defer func() { s.Close() }()
		var events []Event
		streams := []string{"a", "ab", "b/[$LATEST]1"}
		clock := 0
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				stream := rapid.SampledFrom(streams).Draw(r, "stream")
				var batch []Event
				for range rapid.IntRange(1, 5).Draw(r, "count") {
					clock += rapid.IntRange(0, 3).Draw(r, "pause")
					batch = append(batch, Event{Time: at(clock), Stream: stream, Message: rapid.StringN(0, 40, 80).Draw(r, "message")})
				}
				s.Put(testGroup, stream, slices.Clone(batch)...)
				events = append(events, batch...)
			},
			"reopen": func(r *rapid.T) {
				s.Close()
				s = open()
			},
			"filter": func(r *rapid.T) {
				if len(events) == 0 {
					return
				}
				q := Query{Group: testGroup, Limit: rapid.IntRange(1, 7).Draw(r, "limit")}
				q.StreamPrefix = rapid.SampledFrom([]string{"", "a", "b/", "none"}).Draw(r, "prefix")
				from, to := rapid.IntRange(0, clock+1).Draw(r, "from"), rapid.IntRange(0, clock+1).Draw(r, "to")
				q.Start, q.End = at(from), at(to)
				var want []string
				for _, e := range events {
					if strings.HasPrefix(e.Stream, q.StreamPrefix) && !e.Time.Before(q.Start) && e.Time.Before(q.End) {
						want = append(want, describe(e))
					}
				}
				var got []string
				for _, e := range all(t, s, q) {
					got = append(got, describe(e))
				}
				if !slices.Equal(got, want) {
					r.Fatalf("got %q\nwant %q", got, want)
				}
			},
			"page through a stream": func(r *rapid.T) {
				stream := rapid.SampledFrom(streams).Draw(r, "stream")
				var want []string
				for _, e := range events {
					if e.Stream == stream {
						want = append(want, describe(e))
					}
				}
				if len(want) == 0 {
					return
				}
				q := StreamQuery{Group: testGroup, Stream: stream, Limit: rapid.IntRange(1, 7).Draw(r, "limit")}
				if got := walk(r, s, q, false); !slices.Equal(got, want) {
					r.Fatalf("backward: got %q\nwant %q", got, want)
				}
				q.FromHead = true
				if got := walk(r, s, q, true); !slices.Equal(got, want) {
					r.Fatalf("forward: got %q\nwant %q", got, want)
				}
			},
		})
	})
}

func describe(e Event) string { return fmt.Sprint(e.Time.UnixMilli(), e.Stream, e.Message) }

// walk reads a stream page by page in a direction until the token stays the
// same, and turns round once on the way.
func walk(r *rapid.T, s *Store, q StreamQuery, ahead bool) []string {
	var got []string
	for turned := false; ; {
		page, err := s.Stream(r.Context(), q)
		if err != nil {
			r.Fatal(err)
		}
		var list []string
		for _, e := range page.Events {
			list = append(list, describe(e))
		}
		next, back := page.Forward, page.Backward
		if ahead {
			got = append(got, list...)
		} else {
			got = slices.Concat(list, got)
			next, back = back, next
		}
		if next == q.Token {
			return got
		}
		if !turned && len(got) > len(list) && len(list) > 0 {
			turned = true
			opposite, err := s.Stream(r.Context(), StreamQuery{Group: q.Group, Stream: q.Stream, Limit: q.Limit, Token: back})
			if err != nil {
				r.Fatal(err)
			}
			for _, e := range opposite.Events {
				if slices.Contains(page.Events, e) {
					r.Fatalf("turning round gave %q again", describe(e))
				}
			}
			if len(opposite.Events) == 0 {
				r.Fatal("turning round gave nothing")
			}
		}
		q.Token = next
	}
}

func TestRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Event{
			Time: at(rapid.IntRange(-1e12, 1e12).Draw(t, "time")), Ingested: at(7),
			Stream: rapid.String().Draw(t, "stream"), Message: rapid.String().Draw(t, "message"),
		}
		line := appendRecord(nil, &e)
		if strings.Count(string(line), "\n") != 1 {
			t.Fatalf("%q is not one line", line)
		}
		r, err := parseRecord(line[:len(line)-1])
		if err != nil {
			t.Fatal(err)
		}
		p := position{rapid.IntRange(0, 1<<30).Draw(t, "segment"), rapid.Int64Range(0, 1<<60).Draw(t, "offset")}
		e.ID = p.String()
		if got := r.event(p); got != e {
			t.Fatalf("%+v became %+v", e, got)
		}
		if got, err := parsePosition(e.ID); got != p || err != nil {
			t.Fatalf("%+v became %+v, %v", p, got, err)
		}
	})
}

func TestDirName(t *testing.T) {
	long := "/" + strings.Repeat("x", 511)
	seen := make(map[string]string)
	for _, group := range []string{"a", "A", "/a", "%2Fa", "%2fa", ".", "..", ".a", "a.b", "a~b", "[$LATEST]", long, long[:511] + "y", strings.Repeat("/", 512)} {
		dir := strings.ToLower(dirName(group))
		if other, ok := seen[dir]; ok {
			t.Errorf("%.20q and %.20q have the same directory %s", group, other, dir)
		}
		seen[dir] = group
		if strings.HasPrefix(dir, ".") || strings.ContainsAny(dir, "/\x00") || len(dir) > 255 {
			t.Errorf("%.20q has the directory %q", group, dir)
		}
	}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, message string
		want             bool
	}{
		{"", "anything", true},
		{"  ", "anything", true},
		{"ERROR", "an ERROR", true},
		{"ERROR", "an error", false},
		{"ERROR a", "a then ERROR", true},
		{"ERROR b", "a then ERROR", false},
		{`"exit status"`, "exit status 1", true},
		{`"exit status"`, "status exit", false},
		{`"say \"hi\""`, `I say "hi"`, true},
		{"ERROR -health", "ERROR health", false},
		{`ERROR - "health check"`, "ERROR health", true},
		{"-DEBUG", "INFO", true},
		{"?ERROR ?WARN", "WARN", true},
		{"?ERROR ?WARN", "INFO", false},
		{"?ERROR INFO", "INFO", true},
		{"Grüße", "viele Grüße", true},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
		} else if got := p.Match(c.message); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.message, got)
		}
	}
	for _, bad := range []string{`{ $.a = "x" }`, "[a, b]", "%x%", `"open`, "a.b", "-", "?", "a -"} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// BenchmarkPut measures what it takes to log a line, the writing included.
func BenchmarkPut(b *testing.B) {
	s := openStore(b, b.TempDir(), Options{})
	for i := 0; b.Loop(); i++ {
		s.Put(testGroup, "stream", Event{Time: base, Message: "REPORT RequestId: 8f0d6bd4-5e2c-4c0e-9a70-6f0ef0f6c3a1\tDuration: 1.23 ms\n"})
		if i%10_000 == 9_999 {
			if err := s.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if s.Dropped() > 0 {
		b.Errorf("%d dropped", s.Dropped())
	}
}

package rest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var texts = []string{
	``, ` `, `{}`, `[]`, `null`, `true`, `false`, `0`, `-0`, `1.5e+10`, `01`, `-`, `1.`, `.5`, `1e`, `+1`, `nul`, `truefalse`,
	`"a"`, `"a`, `"\u00e9\ud83d\ude00"`, `"\ud83d"`, `"\x"`, `"\u12g4"`, "\"\n\"", "\"\t\"", "\"\x7f\"", "\"\xff\"", "\xef\xbb\xbf{}",
	`{"a":1}`, `{"a":1,}`, `{"a" 1}`, `{a:1}`, `{,}`, `{"a":1 "b":2}`, `[1,2,]`, `[1 2]`, `[`, `{`, `{"a"`, `{"a":`, `]`,
	` [ { "a" : [ null , true , { } ] } ] `, `{}{}`, `{} x`, "\x00", "{}\x00", `"\"`, `"\\"`, `"\/\b\f\n\r\t"`, `{"a":1,"a":2}`,
}

func checkValid(t *testing.T, data []byte) {
	t.Helper()
	want := json.Valid(data) && utf8.Valid(data)
	if err := Valid(data); (err == nil) != want && !strings.Contains(errText(err), "nested too deeply") {
		t.Errorf("Valid(%q) = %v, want valid: %t", data, err, want)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestValid(t *testing.T) {
	for _, text := range texts {
		checkValid(t, []byte(text))
		for n := range min(len(text), 1000) {
			checkValid(t, slices.Clip([]byte(text[:n])))
		}
	}
}

func TestValidBoundsNesting(t *testing.T) {
	if err := Valid([]byte(strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth))); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	if err := Valid([]byte(strings.Repeat(`{"a":[`, 1<<20))); err == nil || !strings.Contains(err.Error(), "nested too deeply") {
		t.Errorf("2 million levels: %v", err)
	}
}

func FuzzValid(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkValid(t, data)
		var want string
		if utf8.Valid(data) && json.Unmarshal(data, &want) == nil && strings.HasPrefix(strings.TrimSpace(string(data)), `"`) {
			r := reader{data: data}
			r.peek()
			raw, _, err := r.string()
			if err != nil || unescape(raw) != want {
				t.Errorf("string %q: got %q, %v; want %q", data, unescape(raw), err, want)
			}
		}
	})
}

func BenchmarkValid(b *testing.B) {
	data := []byte(`{"items":[` + strings.Repeat(`{"id":12345,"name":"a name of some length","tags":["x","y"],"ok":true},`, 1000) + `null]}`)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Valid(data); err != nil {
			b.Fatal(err)
		}
	}
}

package bootstrap

import (
	"os/exec"
	"testing"
)

// The platform's part of a warm invocation: event out, result back.
func BenchmarkWarm(b *testing.B) {
	for _, c := range []struct{ family, program, handler, file, source string }{
		{"nodejs", "node", "index.handler", "index.js", "exports.handler = async (event) => event"},
		{"python", "python3.11", "app.handler", "app.py", "def handler(event, context): return event"},
	} {
		b.Run(c.family, func(b *testing.B) {
			program, err := exec.LookPath(c.program)
			if err != nil {
				b.Skip(err)
			}
			f := start(b, c.family, c.handler, map[string]string{c.file: c.source}, nil, program)
			f.invoke(`{"n":0}`)
			for b.Loop() {
				f.invoke(`{"n":1}`)
			}
		})
	}
}

// A connection that breaks while the next event is awaited is replaced, and
// the event that comes then is handled once.
func TestReconnect(t *testing.T) {
	for _, c := range []struct{ family, program, handler, file, source string }{
		{"nodejs", "node", "index.handler", "index.js", "exports.handler = async (event) => event"},
		{"python", "python3.11", "app.handler", "app.py", "def handler(event, context): return event"},
	} {
		t.Run(c.family, func(t *testing.T) {
			program, err := exec.LookPath(c.program)
			if err != nil {
				t.Skip(err)
			}
			f := start(t, c.family, c.handler, map[string]string{c.file: c.source}, nil, program)
			if r := f.invoke("1"); r.body != "1" {
				t.Fatalf("%+v", r)
			}
			f.api.dropConnections()
			if r := f.invoke("2"); r.body != "2" {
				t.Errorf("%+v", r)
			}
		})
	}
}

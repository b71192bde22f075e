package gvisor

import (
	"testing"

	"kiln/sandbox"
)

func TestHello(t *testing.T) {
	b := newBackend(t)
	s := start(t, b, testSpec("hello", "hello"))
	if exit := s.wait(t); exit != (sandbox.Exit{}) {
		t.Errorf("exit %+v, want 0", exit)
	}
	if got := s.stdout.String(); got != "hello\n" {
		t.Errorf("stdout %q; stderr %q; messages %s", got, s.stderr, s.lastWords())
	}
}

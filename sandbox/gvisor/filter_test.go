package gvisor

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	"gvisor.dev/gvisor/runsc/config"
)

func TestFilterEncoding(t *testing.T) {
	programs := []precompiledseccomp.Program{
		{Name: "first", Bytecode32: []uint32{1, 1 << 31, 3}, VarOffsets: map[string][]int{"a": {0, 2}, "b": nil}},
		{Name: "second", VarOffsets: map[string][]int{}},
	}
	data := encodeFilters(programs)
	got, err := decodeFilters(data)
	if err != nil || !reflect.DeepEqual(got, programs) {
		t.Errorf("got %v, %v", got, err)
	}
	for n := range data {
		if _, err := decodeFilters(data[:n]); err == nil {
			t.Errorf("%d of %d bytes decode without an error", n, len(data))
		}
	}
}

// TestFiltersAreUsed reads in the processes' logs that they had no filter to
// compile: the options that the back end compiles for must be those it starts with.
func TestFiltersAreUsed(t *testing.T) {
	if config.CgoEnabled {
		t.Skip("this binary compiles other filters than the processes need")
	}
	logs := t.TempDir()
	t.Setenv("GVISOR_DEBUG_DIR", logs)
	b := newBackend(t)
	for i, network := range []string{"", newTestNetwork(t).path} {
		spec := testSpec(fmt.Sprint("filters-", i), "hello")
		spec.Network = network
		s := start(t, b, spec)
		s.wait(t)
		for _, part := range []string{"sentry", "gofer"} {
			data, err := os.ReadFile(filepath.Join(logs, spec.ID+"."+part+".log"))
			if err != nil {
				t.Fatal(err)
			}
			text := string(data)
			if !strings.Contains(text, "Loaded precompiled seccomp") || strings.Contains(text, "No precompiled program") {
				t.Errorf("the %s compiled its own filter", part)
			}
		}
	}
}

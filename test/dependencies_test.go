package test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	cell   = regexp.MustCompile("(?m)^\\| `([^`]+)`(.*?) \\|") // a row's first cell: a module, and what else of it
	quoted = regexp.MustCompile("`([^`]+)`")
	direct = regexp.MustCompile(`(?m)^\t(\S+) v\S+$`) // indirect ones have a comment
	major  = regexp.MustCompile(`/v\d+$`)
)

// TestDependencies asks that docs/decisions/0002-dependencies.md says what each
// module that Kiln requires is for, and names none that Kiln does not require.
func TestDependencies(t *testing.T) {
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/decisions/0002-dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n|---")
	table, _, _ := strings.Cut(rest, "\n\n")
	named := map[string]bool{}
	for _, row := range cell.FindAllStringSubmatch(table, -1) {
		named[row[1]] = false
		for _, part := range quoted.FindAllStringSubmatch(row[2], -1) {
			named[row[1]+"/"+part[1]] = false
		}
	}
	required := 0
	for _, line := range direct.FindAllStringSubmatch(string(module), -1) {
		required++
		path := major.ReplaceAllString(line[1], "")
		if _, ok := named[path]; !ok {
			t.Errorf("%s is not in the table", path)
		}
		named[path] = true
	}
	if required < 10 {
		t.Errorf("only %d requirements were found", required)
	}
	for path, used := range named {
		if !used && path != "go.etcd.io/etcd" {
			t.Errorf("%s is in the table, but not required", path)
		}
	}
}

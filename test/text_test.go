package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// host is what looks like a host's name in the domains where hosts of packages are.
var host = regexp.MustCompile(`(?i)\b(?:[a-z0-9-]+\.)+(?:org|com|io|net|dev|aws)\b`)

// hosts may be named, besides those that Go modules are named after. None of
// them serves packages: which registry a machine uses is its owner's choice, and
// the package managers' configuration says it.
var hosts = []string{
	"docs.aws.amazon.com",
	"en.wikipedia.org",
	"nodejs.org", // the address of a document in one of Node's own messages
	"s3.amazonaws.com",
	"www.apache.org",
}

// notHosts look like one.
var notHosts = regexp.MustCompile(`^(?:[a-z]\.net|java\.net)$`)

// TestHosts keeps the repository free of the host names of package registries.
func TestHosts(t *testing.T) {
	known := append(moduleHosts(t), hosts...)
	checked := 0
	for _, path := range tracked(t) {
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) { // deleted, and not committed yet
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		checked++
		for _, name := range strayHosts(text, known) {
			t.Errorf("%s names the host %s", path, name)
		}
	}
	if checked < 200 {
		t.Errorf("only %d files were checked", checked)
	}
}

// TestStrayHosts shows that the check finds what it is to find.
func TestStrayHosts(t *testing.T) {
	// Put together here, or this file would fail the test itself.
	registry, mirror := "packages.kiln."+"dev", "mirror."+"io"
	text := []byte("see https://" + registry + "/x, docs.aws.amazon.com and " + mirror + ":80 in e.net")
	if got, want := strayHosts(text, hosts), []string{registry, mirror}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func strayHosts(text []byte, known []string) (stray []string) {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil // not a text
	}
	for _, match := range host.FindAll(text, -1) {
		name := strings.ToLower(string(match))
		if !slices.Contains(known, name) && !notHosts.MatchString(name) {
			stray = append(stray, name)
		}
	}
	return stray
}

// moduleHosts returns the first parts of the paths of the modules in go.sum.
func moduleHosts(t *testing.T) (names []string) {
	t.Helper()
	sums, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(sums)) {
		path, _, _ := strings.Cut(line, " ")
		name, _, _ := strings.Cut(path, "/")
		names = append(names, name)
	}
	return slices.Compact(names)
}

// tracked returns the files of the repository.
func tracked(t *testing.T) (files []string) {
	t.Helper()
	out, err := exec.Command("git", "-C", "..", "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("git ls-files: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		files = append(files, filepath.Join("..", name))
	}
	return files
}

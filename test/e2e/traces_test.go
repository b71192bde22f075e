package e2e

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// traces lists what Kiln makes on a machine, so that a test can see what is
// left: processes, mounts, cgroups, network interfaces, loop devices.
func traces(t testing.TB) []string {
	t.Helper()
	var found []string
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range processes {
		b, err := os.ReadFile(p)
		line := strings.ReplaceAll(string(b), "\x00", " ")
		if err == nil && (strings.Contains(line, "kiln") && strings.Contains(line, " up ") || strings.Contains(line, "runsc-")) {
			found = append(found, "process "+filepath.Base(filepath.Dir(p))+" "+line)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		found = append(found, "mount "+strings.Fields(line)[4])
	}
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, "/kiln/kiln-") {
			found = append(found, "cgroup "+path)
		}
		return nil
	})
	links, _ := os.ReadDir("/sys/class/net")
	for _, l := range links {
		found = append(found, "interface "+l.Name())
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, l := range loops {
		b, _ := os.ReadFile(l)
		found = append(found, "loop device "+strings.TrimSpace(string(b)))
	}
	return found
}

// added returns what is in after and not in before.
func added(before, after []string) []string {
	var more []string
	for _, a := range after {
		if !slices.Contains(before, a) {
			more = append(more, a)
		}
	}
	return more
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func decode(s string) string {
	b, _ := base64.StdEncoding.DecodeString(s)
	return string(b)
}

package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// traces lists what the Kiln of a data directory has on the machine, so that a
// test can see what is left: processes, mounts, cgroups, network interfaces,
// loop devices.
func traces(t testing.TB, data string) []string {
	t.Helper()
	var found []string
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range processes {
		b, err := os.ReadFile(p)
		if line := strings.ReplaceAll(string(b), "\x00", " "); err == nil && strings.Contains(line, data) {
			found = append(found, "process "+filepath.Base(filepath.Dir(p))+" "+line)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if target := strings.Fields(line)[4]; strings.HasPrefix(target, data) {
			found = append(found, "mount "+target)
		}
	}
	for _, group := range cgroups(data) {
		found = append(found, "cgroup "+group)
	}
	links, _ := filepath.Glob("/sys/class/net/kiln*")
	for _, l := range links {
		found = append(found, "interface "+filepath.Base(l))
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, l := range loops {
		if b, _ := os.ReadFile(l); strings.HasPrefix(string(b), data) {
			found = append(found, "loop device "+strings.TrimSpace(string(b)))
		}
	}
	return found
}

// cgroups lists the directories of all cgroups of a data directory's Kiln.
func cgroups(data string) []string {
	sum := sha256.Sum256([]byte(data))
	instance := "kiln-" + hex.EncodeToString(sum[:4])
	var found []string
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, instance) {
			found = append(found, path)
		}
		return nil
	})
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

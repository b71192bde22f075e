package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// traces lists what the Kiln of a data directory has on the machine, so that a
// test can see what is left: processes, mounts, cgroups, network interfaces,
// loop devices, firewall tables.
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
	network := digest(filepath.Join(data, "network"))
	link := "kiln" + digest(network)
	if _, err := os.Lstat("/sys/class/net/" + link); err == nil {
		found = append(found, "interface "+link)
	}
	tables, err := exec.Command("nft", "list", "tables").Output()
	if err != nil {
		t.Fatalf("nft: %v", err)
	}
	for line := range strings.Lines(string(tables)) {
		if strings.Contains(line, network) {
			found = append(found, strings.TrimSpace(line)) // "table" and its name
		}
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
	instance := "kiln-" + digest(data)
	var found []string
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, instance) {
			found = append(found, path)
		}
		return nil
	})
	return found
}

// digest is what names of one Kiln's things have in them for a directory.
func digest(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:4])
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func decode(s string) string {
	b, _ := base64.StdEncoding.DecodeString(s)
	return string(b)
}

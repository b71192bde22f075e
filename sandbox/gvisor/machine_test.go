package gvisor

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// machine describes what this process holds of the machine: children, mounts
// and descriptors.
func machine(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	children := 0
	for _, path := range tasks {
		if data, err := os.ReadFile(path); err == nil {
			children += len(strings.Fields(string(data)))
		}
	}
	fmt.Fprintln(&b, "children", children)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	// Others on the machine mount things too.
	fmt.Fprintln(&b, "mounts", strings.Count(string(mounts), rootDir)+strings.Count(string(mounts), t.Name()))
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, f := range files {
		target, err := os.Readlink("/proc/self/fd/" + f.Name())
		if err != nil || strings.HasPrefix(target, "/") {
			continue
		}
		kind, _, _ := strings.Cut(target, ":")
		kinds[kind]++
	}
	// Pipes of outputs are closed by their readers, in their own time.
	fmt.Fprintln(&b, "sockets", kinds["socket"], "anonymous", kinds["anon_inode"])
	return b.String()
}

// groupDirs are the directories of a cgroup, one per tree.
func groupDirs(parent string) []string {
	dirs, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup/*", parent))
	more, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup", parent))
	return append(dirs, more...)
}

// groupPids are the processes in the groups below parent whose names match.
func groupPids(parent, names string) []int {
	seen := map[int]bool{}
	for _, dir := range groupDirs(parent) {
		files, _ := filepath.Glob(filepath.Join(dir, names, "cgroup.procs"))
		for _, f := range files {
			data, _ := os.ReadFile(f)
			for _, field := range strings.Fields(string(data)) {
				if pid, err := strconv.Atoi(field); err == nil {
					seen[pid] = true
				}
			}
		}
	}
	return slices.Collect(maps.Keys(seen))
}

package conformance

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// groupsOf are the directories of a sandbox's control groups, in all trees.
func (s *stage) groupsOf(id string) []string {
	var found []string
	for _, tree := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup"} {
		dirs, _ := filepath.Glob(filepath.Join(tree, s.cgroupParent, id))
		found = append(found, dirs...)
	}
	return found
}

// tasksOf are the numbers of the threads in a sandbox's groups.
func (s *stage) tasksOf(id string) []string {
	seen := map[string]bool{}
	for _, dir := range s.groupsOf(id) {
		for _, name := range []string{"tasks", "cgroup.threads"} {
			data, _ := os.ReadFile(filepath.Join(dir, name))
			for _, task := range strings.Fields(string(data)) {
				seen[task] = true
			}
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// traces is what a back end may leave: kind of thing → how many there are, or a
// thing → 1.
type traces map[string]int

// traces looks for everything that this process and its back end hold: as the
// suite has namespaces of its own, that is everything there is.
func (s *stage) traces(t testing.TB) traces {
	t.Helper()
	found := traces{}
	commands, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	namespaces := map[string]bool{}
	for _, dir := range commands {
		name, err := os.ReadFile(dir + "/comm")
		if err != nil {
			continue
		}
		found["processes called "+strings.TrimSpace(string(name))]++
		threads, _ := filepath.Glob(dir + "/task/*/ns/*")
		for _, path := range threads {
			if target, err := os.Readlink(path); err == nil {
				namespaces[target] = true
			}
		}
	}
	for name := range namespaces {
		kind, _, _ := strings.Cut(name, ":")
		found["namespaces of kind "+kind]++
	}
	for _, tree := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup"} {
		groups, _ := filepath.Glob(filepath.Join(tree, s.cgroupParent+"*", "*"))
		own, _ := filepath.Glob(filepath.Join(tree, s.cgroupParent+"*"))
		for _, path := range append(groups, own...) {
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				found["cgroup "+path]++
			}
		}
	}
	for _, m := range mountsHere(t) {
		found["mount on "+m.point]++
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		found["interface "+l.Attrs().Name]++
	}
	descriptors, _ := filepath.Glob("/proc/self/fd/*")
	for _, path := range descriptors {
		if target, err := os.Readlink(path); err == nil {
			kind, _, _ := strings.Cut(target, ":[")
			found["descriptors of "+kind]++
		}
	}
	for _, dir := range []string{s.stateDir, workDir} {
		filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				found["file "+path]++
			}
			return nil
		})
	}
	found["goroutines"] = runtime.NumGoroutine()
	return found
}

// more lists what there is more of than before.
func (before traces) more(now traces) []string {
	var found []string
	for _, what := range slices.Sorted(maps.Keys(now)) {
		if now[what] > before[what] {
			found = append(found, fmt.Sprintf("%s: %d, before %d", what, now[what], before[what]))
		}
	}
	if len(found) > 0 && now["goroutines"] > before["goroutines"] {
		stacks := make([]byte, 64<<10)
		found = append(found, string(stacks[:runtime.Stack(stacks, true)]))
	}
	return found
}

// interfacesOf describes the interfaces of the namespace at path.
func interfacesOf(t testing.TB, path string) string {
	t.Helper()
	ns, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var b strings.Builder
	err = inNamespace(ns, func() error {
		handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer handle.Close()
		links, err := handle.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			addresses, err := handle.AddrList(l, netlink.FAMILY_V4)
			if err != nil {
				return err
			}
			routes, err := handle.RouteList(l, netlink.FAMILY_V4)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s up %v: %v, %v\n", l.Attrs().Name, l.Attrs().Flags&1 != 0, addresses, routes)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

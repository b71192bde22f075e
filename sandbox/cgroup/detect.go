package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// v1Controllers are what Kiln uses; cpu and cpuacct may share a tree.
var v1Controllers = []string{"memory", "cpu", "cpuacct", "pids", "freezer", "devices"}

// v2Controllers are what Kiln needs of the unified tree; freezing, killing and
// device filters are part of its core.
var v2Controllers = []string{"memory", "cpu", "pids"}

// detect chooses a driver from the text of a mountinfo file.
func detect(mountinfo, parent string) (driver, error) {
	trees := map[string]string{} // controller → mount point
	unified := ""
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(tail) < 3 {
			continue
		}
		mountPoint := unescapeMount(fields[4])
		switch tail[0] {
		case "cgroup2":
			if unified == "" {
				unified = mountPoint
			}
		case "cgroup":
			for _, option := range strings.Split(tail[2], ",") {
				if slices.Contains(v1Controllers, option) && trees[option] == "" {
					trees[option] = mountPoint
				}
			}
		}
	}
	if trees["memory"] != "" || (unified == "" && len(trees) > 0) {
		for _, controller := range v1Controllers {
			if trees[controller] == "" {
				return nil, fmt.Errorf("cgroup v1 controller %q is not mounted", controller)
			}
		}
		return &v1{trees: trees, parent: parent}, nil
	}
	if unified == "" {
		return nil, fmt.Errorf("no cgroup file system is mounted")
	}
	data, err := os.ReadFile(filepath.Join(unified, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	for _, controller := range v2Controllers {
		if !slices.Contains(strings.Fields(string(data)), controller) {
			return nil, fmt.Errorf("cgroup v2 controller %q is not available in %s", controller, unified)
		}
	}
	return newV2(unified, parent, v2Controllers), nil
}

// unescapeMount undoes mountinfo's octal escapes.
func unescapeMount(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

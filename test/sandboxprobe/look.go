package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// identity is who the process is: ids, capabilities, what it may become.
func identity(string) (any, error) {
	data, err := os.ReadFile("/proc/self/status")
	status := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			switch key {
			case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Groups":
				status[key] = strings.TrimSpace(value)
			}
		}
	}
	hostname, _ := os.Hostname()
	dir, _ := os.Getwd()
	cgroup, _ := os.ReadFile("/proc/self/cgroup")
	return map[string]any{
		"uid": os.Getuid(), "euid": os.Geteuid(), "gid": os.Getgid(), "pid": os.Getpid(), "ppid": os.Getppid(),
		"status": status, "hostname": hostname, "dir": dir, "cgroup": string(cgroup),
	}, err
}

// limits are the resource limits: name → soft and hard.
func limits(string) (any, error) {
	result := map[string][2]uint64{}
	for name, resource := range map[string]int{"files": syscall.RLIMIT_NOFILE, "core": syscall.RLIMIT_CORE, "memlock": 8} {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(resource, &l); err != nil {
			return nil, err
		}
		result[name] = [2]uint64{l.Cur, l.Max}
	}
	return result, nil
}

// environment is arguments and variables.
func environment(string) (any, error) {
	return map[string]any{"args": os.Args, "env": os.Environ()}, nil
}

// processes are those in /proc: pid → name.
func processes(string) (any, error) {
	found := map[string]string{}
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		comm, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
		found[e.Name()] = strings.TrimSpace(string(comm))
	}
	return found, err
}

// Mount is a line of mountinfo.
type Mount struct {
	Point   string `json:"point"`
	Type    string `json:"type"`
	Options string `json:"options"` // of the mount
	Source  string `json:"source"`
	Shared  bool   `json:"shared"` // it propagates
}

// mounts are all mounts that the process sees.
func mounts(string) (any, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	found := []Mount{}
	for line := range strings.Lines(string(data)) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if ok && len(fields) >= 6 && len(tail) >= 2 {
			found = append(found, Mount{Point: fields[4], Type: tail[0], Options: fields[5], Source: tail[1], Shared: len(fields) > 6})
		}
	}
	return found, err
}

// descriptors are the open ones: number → what it is.
func descriptors(string) (any, error) {
	found := map[string]string{}
	entries, err := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		// The descriptor that lists is gone by now.
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			found[e.Name()] = target
		}
	}
	return found, err
}

// network is interfaces: name → addresses.
func network(string) (any, error) {
	interfaces, err := net.Interfaces()
	found := map[string][]string{}
	for _, i := range interfaces {
		addrs, _ := i.Addrs()
		found[i.Name] = []string{}
		for _, a := range addrs {
			found[i.Name] = append(found[i.Name], a.String())
		}
	}
	return found, err
}

// list is a directory's entries: name → mode.
func list(path string) (any, error) {
	entries, err := os.ReadDir(path)
	found := map[string]string{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			found[e.Name()] = err.Error()
			continue
		}
		found[e.Name()] = info.Mode().String()
	}
	return found, err
}

// read is the beginning of a file.
func read(path string) (any, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, 4096)
	n, err := f.Read(buf)
	if n == 0 && err != nil && err.Error() == "EOF" {
		err = nil
	}
	return string(buf[:n]), err
}

// hostFiles looks for a file by a host path in every way out of the root that
// /proc offers, and says which worked.
func hostFiles(path string) (any, error) {
	found := []string{}
	roots := []string{"/", "/proc/self/cwd", "/proc/1/root", "/proc/1/cwd", "/..", "/proc/self/root/.."}
	entries, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, root := range append(roots, entries...) {
		for _, up := range []string{"", "/..", "/../../../../.."} {
			if _, err := os.Stat(root + up + path); err == nil {
				found = append(found, root+up)
			}
		}
	}
	if len(found) > 0 {
		return found, fmt.Errorf("%s is visible", path)
	}
	return found, nil
}

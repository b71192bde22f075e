package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// More probes that look around or use things up.
func init() {
	probes["kernel"] = kernel
	probes["writable"] = writable
	probes["devices"] = func(string) (any, error) { return deviceNodes("/") }
	probes["devicesin"] = deviceNodes
	probes["inotify"] = inotify
	probes["fill"] = fill
	probes["flood"] = flood
	probes["tick"] = tick
	probes["chain"] = followLinks
}

// kernel is what the kernel says of itself.
func kernel(string) (any, error) {
	var u unix.Utsname
	err := unix.Uname(&u)
	version, _ := os.ReadFile("/proc/version")
	return map[string]string{"release": unix.ByteSliceToString(u.Release[:]), "version": string(version)}, err
}

// writable lists everything below a directory that the process may write to,
// except what belongs to processes.
func writable(root string) (any, error) {
	found := []string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		parts := strings.Split(path, "/")
		if len(parts) > 2 && parts[1] == "proc" {
			if _, err := strconv.Atoi(parts[2]); err == nil || parts[2] == "self" || parts[2] == "thread-self" {
				return fs.SkipDir
			}
		}
		if err != nil || e.Type()&fs.ModeSymlink != 0 {
			return nil //nolint:nilerr // what cannot be read is passed over
		}
		if unix.Access(path, unix.W_OK) == nil {
			found = append(found, path)
			if e.IsDir() {
				return fs.SkipDir
			}
		}
		return nil
	})
	return found, err
}

// deviceNodes lists the device nodes below a directory, each as "major:minor".
// /proc and /sys are left out where they are not asked for.
func deviceNodes(root string) (any, error) {
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if path != root && (path == "/proc" || path == "/sys") {
			return fs.SkipDir
		}
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		var stat unix.Stat_t // a directory does not say that a device is mounted on its entry
		kind := uint32(0)
		if unix.Lstat(path, &stat) == nil {
			kind = stat.Mode & unix.S_IFMT
		}
		if kind == unix.S_IFCHR || kind == unix.S_IFBLK {
			found[path] = fmt.Sprintf("%d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev))
		}
		return nil
	})
	return found, err
}

// fill writes into a directory until nothing fits, frees it again, and says how
// many MiB it held; "directory most".
func fill(arg string) (any, error) {
	var dir string
	var most int
	if _, err := fmt.Sscan(arg, &dir, &most); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 1<<20)
	for written := range most {
		if _, err := f.Write(block); err != nil {
			return written, err
		}
	}
	return most, nil
}

// flood prints as fast as it can, for ever.
func flood(string) (any, error) {
	block := []byte(strings.Repeat("flood ", 10000) + "\n")
	for {
		if _, err := os.Stdout.Write(block); err != nil {
			return nil, err
		}
	}
}

// tick prints a line every so often, for ever.
func tick(arg string) (any, error) {
	d, err := time.ParseDuration(arg)
	for i := 0; err == nil; i++ {
		fmt.Printf("{\"probe\":\"tick\",\"value\":%d}\n", i)
		time.Sleep(d)
	}
	return nil, err
}

// followLinks makes symbolic links and odd paths to a file of the host's in
// /tmp and says which of them lead to something.
func followLinks(target string) (any, error) {
	found := []string{}
	for i, to := range []string{
		target, "/.." + target, "../../../../../.." + target, "/proc/self/root" + target, "/proc/self/root/.." + target,
		"/proc/self/cwd/../../.." + target, "/var/task/../../../../.." + target, "/dev/fd/../../../../../.." + target,
	} {
		link := fmt.Sprintf("/tmp/link-%d", i)
		if err := os.Symlink(to, link); err != nil {
			return nil, err
		}
		for _, path := range []string{link, to} {
			if _, err := os.ReadFile(path); err == nil {
				found = append(found, path+" → "+to)
			}
		}
	}
	// By a descriptor of each mount, without the help of names.
	for _, dir := range []string{"/", "/tmp", "/var/task", "/dev/shm", "/proc"} {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			continue
		}
		if _, err := unix.Openat(fd, strings.Repeat("../", 20)+target[1:], unix.O_RDONLY, 0); err == nil {
			found = append(found, dir+"/..")
		}
		unix.Close(fd)
	}
	return found, nil
}

// inotify takes so many inotify instances, of which the kernel gives each user
// a number, and says how many it got.
func inotify(arg string) (any, error) {
	most, err := strconv.Atoi(arg)
	for i := range most {
		if _, err := unix.InotifyInit1(unix.IN_CLOEXEC); err != nil {
			return i, err
		}
	}
	return most, err
}

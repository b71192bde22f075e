package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpu is the processor time that the server and all its sandboxes have taken,
// also those that are gone. It is not known where the control groups are not
// where this Kiln makes them.
func (s *server) cpu() (time.Duration, bool) {
	self, ok := processCPU(s.pid)
	if !ok {
		return 0, false
	}
	sum := sha256.Sum256([]byte(s.data))
	group := "kiln/kiln-" + hex.EncodeToString(sum[:4]) + "*"
	for _, meter := range []struct {
		file, format string
		unit         time.Duration
	}{
		{"/sys/fs/cgroup/cpuacct/" + group + "/cpuacct.usage", "%d", time.Nanosecond},
		{"/sys/fs/cgroup/cpu,cpuacct/" + group + "/cpuacct.usage", "%d", time.Nanosecond},
		{"/sys/fs/cgroup/" + group + "/cpu.stat", "usage_usec %d", time.Microsecond},
	} {
		paths, err := filepath.Glob(meter.file)
		if err != nil || len(paths) != 1 {
			continue
		}
		var used time.Duration
		_, err = fmt.Sscanf(readLine(paths[0]), meter.format, &used)
		return self + used*meter.unit, err == nil
	}
	return 0, false
}

// clockTick is the unit of the times in /proc, the same on every Linux that Go
// runs on.
const clockTick = 10 * time.Millisecond

// processCPU is the processor time of a process itself, in steps of 10 ms.
func processCPU(pid int) (time.Duration, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// The name, in parentheses, may have anything in it.
	_, after, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 13 {
		return 0, false
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * clockTick, err1 == nil && err2 == nil
}

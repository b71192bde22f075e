package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// machine is what figures depend on.
type machine struct {
	CPU      string `json:"cpu"`
	CPUs     int    `json:"cpus"`
	Kernel   string `json:"kernel"`
	MemoryMB int    `json:"memory_mb"`
	Go       string `json:"go"`
	Kiln     string `json:"kiln"`
	Emulator string `json:"emulator"`
	// LoadBefore and LoadAfter are the load averages of a minute at the start
	// and the end: what else the machine was doing.
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
}

func describeMachine(ctx context.Context, kiln string) machine {
	m := machine{
		CPU:        fieldOf("/proc/cpuinfo", "model name"),
		CPUs:       runtime.NumCPU(),
		Kernel:     readLine("/proc/sys/kernel/osrelease"),
		Go:         runtime.Version(),
		Emulator:   "aws-sam-cli " + samVersion,
		LoadBefore: load(),
	}
	if kb, err := strconv.Atoi(strings.TrimSuffix(fieldOf("/proc/meminfo", "MemTotal"), " kB")); err == nil {
		m.MemoryMB = kb >> 10
	}
	if out, err := exec.CommandContext(ctx, kiln, "version").Output(); err == nil {
		m.Kiln = strings.TrimSpace(strings.TrimPrefix(string(out), "kiln "))
	}
	return m
}

// fieldOf returns the value of the first line "name: value" of a file.
func fieldOf(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func load() string {
	first, _, _ := strings.Cut(readLine("/proc/loadavg"), " ")
	return first
}

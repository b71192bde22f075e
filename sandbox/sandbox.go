// Package sandbox is the interface between a worker and what it runs code in.
//
// A Backend makes sandboxes of one isolation technology; the packages beside
// this one implement it. Life cycle of a sandbox, in the worker's hands:
//
//  1. Backend.Create: namespaces, cgroup, file systems; nothing of the
//     function's runs yet.
//  2. Sandbox.Start: the one process is started.
//  3. Freeze and Thaw, any number of times.
//  4. The process exits by itself, or Kill ends it; Wait reports how.
//  5. Destroy frees everything the sandbox took, whatever state it is in.
//
// A sandbox serves one execution environment and is never used for another.
package sandbox

import (
	"context"
	"os"
	"time"
)

// Mount is a directory or a file of the host's made visible in a sandbox.
type Mount struct {
	// Source is an absolute path of the host.
	Source string
	// Target is an absolute path inside; the root file system has a directory or a
	// file there.
	Target string
	// Writable is set for the environment's own /tmp only. Every mount is nosuid and nodev.
	Writable bool
}

// Process is the program a sandbox runs.
type Process struct {
	Args []string // Args[0] is an absolute path inside the sandbox
	Env  []string // "NAME=value"
	Dir  string
	UID  int
	GID  int
}

// Limits are a sandbox's resource limits.
type Limits struct {
	MemoryBytes int64 // of the function; a back end adds its own overhead to the cgroup
	CPUMillis   int   // thousandths of a core, as a hard quota; see LimitCPU
	Processes   int   // processes and threads
	Files       int   // open file descriptors per process
}

// Spec says what to create. All of it stays the same for a sandbox's life.
type Spec struct {
	// ID is unique among the sandboxes of this machine: letters, digits and '-', at most 40.
	ID string
	// Root is a host directory with the root file system, seen read-only inside.
	Root string
	// Mounts are bound over the root, in order.
	Mounts []Mount
	// Hostname is the name inside the UTS namespace.
	Hostname string
	// Network is the path of the network namespace that the sandbox is to use, see
	// network.Slot; "" for one with nothing but a loopback interface of its own.
	Network string
	Process Process
	Limits  Limits
	// Stdout and Stderr receive the process's output. Create duplicates what it
	// needs: the caller may close both once Create has returned.
	Stdout, Stderr *os.File
}

// Exit is how a sandbox's process ended.
type Exit struct {
	Code   int  // exit status, or 128 + signal
	Signal int  // the signal that ended it, 0 for none
	OOM    bool // the memory limit was hit and the kernel killed the process
}

// Usage is what a sandbox has consumed so far.
type Usage struct {
	// MemoryPeakBytes is the most memory that the function has held, without
	// the back end's own overhead.
	MemoryPeakBytes int64
	// MemoryBytes is what the whole sandbox holds now, overhead included.
	MemoryBytes int64
	CPU         time.Duration
}

// Backend makes sandboxes. It is safe for concurrent use.
type Backend interface {
	// Name is "gvisor", "container" or "microvm".
	Name() string
	// Create makes a sandbox ready to start. On error nothing is left behind.
	Create(ctx context.Context, spec Spec) (Sandbox, error)
	// Sweep removes whatever an earlier process with the same state directory
	// left: processes, cgroups, mounts. It must be called before the first Create.
	Sweep(ctx context.Context) error
	// Close frees what the back end itself holds. All sandboxes must be destroyed before.
	Close() error
}

// Sandbox is one isolated process tree. Methods are safe for concurrent use
// with each other, except that Start is called once and Destroy last.
type Sandbox interface {
	// Start begins the process. An entry point that cannot be executed is a
	// *StartError.
	Start(ctx context.Context) error
	// Freeze stops every task of the sandbox; it returns when they are stopped.
	Freeze(ctx context.Context) error
	// Thaw undoes Freeze. Thawing a sandbox that is not frozen does nothing.
	Thaw(ctx context.Context) error
	// Wait returns once the process has ended, or with ctx's error.
	Wait(ctx context.Context) (Exit, error)
	// Kill ends every task at once with SIGKILL, frozen or not.
	Kill(ctx context.Context) error
	// LimitCPU changes the CPU quota to so many thousandths of a core.
	LimitCPU(millis int) error
	// MemoryPeak is Usage's MemoryPeakBytes, cheap enough to be read after every
	// invocation. It works until Destroy.
	MemoryPeak() (int64, error)
	// Usage reads the counters; it works until Destroy.
	Usage() (Usage, error)
	// Destroy kills what still runs and frees everything: processes, cgroups,
	// mounts, files. It is idempotent.
	Destroy(ctx context.Context) error
}

// StartError is a failure to execute the process's entry point, as opposed to
// one of the back end.
type StartError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *StartError) Error() string { return "cannot execute " + e.Path + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

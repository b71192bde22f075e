package gvisor

import (
	"syscall"

	"kiln/sandbox"
	"kiln/sandbox/cgroup"
)

// overhead is what the cgroup may hold beyond the function's memory: the guest
// kernel's and the file server's own, in bytes. Idle, the two are charged 12 MB
// (kernel 7, server 3, page tables and the like 1 to 2); the rest is room for
// what they keep for many files, connections and tasks, and, with the
// function's size, for the page tables of its memory, which is mapped twice.
func overhead(functionBytes int64) int64 { return 32<<20 + functionBytes/64 }

// Usage implements sandbox.Sandbox. It works in any state, frozen too.
//
// The function's memory is one memory file of the guest kernel, whose blocks
// are what the function holds: heap, stacks, anonymous maps, tmpfs and the
// guest's own page cache, but not the guest kernel's heap, nor the files that
// it reads from the machine's page cache. The kernel keeps no peak of it; the
// cgroup keeps one of everything, from which what is not the function's is
// taken away: peak − (now − function's now). That is too small by what the rest
// has grown since the peak, and never less than what a call of Usage has seen.
func (s *Sandbox) Usage() (sandbox.Usage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return sandbox.Usage{}, errDestroyed(s.id)
	}
	group, err := s.look()
	if err != nil {
		return sandbox.Usage{}, err
	}
	return sandbox.Usage{MemoryPeakBytes: s.peak, MemoryBytes: group.MemoryBytes, CPU: group.CPU}, nil
}

// MemoryPeak implements sandbox.Sandbox. While the group's peak has not moved,
// the function's has not either, by Usage's reckoning.
func (s *Sandbox) MemoryPeak() (int64, error) {
	if !s.group.PeakMoved() {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.peak, nil
	}
	u, err := s.Usage()
	return u.MemoryPeakBytes, err
}

// look reads the counters and brings function and peak up to date. The caller
// holds the lock.
func (s *Sandbox) look() (cgroup.Usage, error) {
	group, err := s.group.Usage()
	if err != nil || s.memory == nil {
		return group, err
	}
	if s.function, err = blocks(s.memory); err != nil {
		return group, err
	}
	peak := s.function
	if group.MemoryPeakBytes > 0 {
		peak = max(peak, group.MemoryPeakBytes-(group.MemoryBytes-s.function))
	}
	s.peak = max(s.peak, min(peak, s.limits.MemoryBytes))
	return group, nil
}

// blocks is how much of a memory file is there, in bytes.
func blocks(f interface{ Fd() uintptr }) (int64, error) {
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		return 0, err
	}
	return stat.Blocks * 512, nil
}

package gvisor

import (
	"syscall"

	"kiln/sandbox"
)

// overheadBytes is what the cgroup may hold beyond the function's memory: the
// guest kernel's and the file server's own.
const overheadBytes = 64 << 20

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
	group, err := s.group.Usage()
	if err != nil {
		return sandbox.Usage{}, err
	}
	function, err := blocks(s.memory)
	if err != nil {
		return sandbox.Usage{}, err
	}
	peak := function
	if group.MemoryPeakBytes > 0 {
		peak = max(peak, group.MemoryPeakBytes-(group.MemoryBytes-function))
	}
	s.peak = max(s.peak, min(peak, s.limits.MemoryBytes))
	return sandbox.Usage{MemoryPeakBytes: s.peak, MemoryBytes: group.MemoryBytes, CPU: group.CPU}, nil
}

// blocks is how much of a memory file is there, in bytes.
func blocks(f interface{ Fd() uintptr }) (int64, error) {
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		return 0, err
	}
	return stat.Blocks * 512, nil
}

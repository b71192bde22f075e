package gvisor

import "kiln/sandbox/cgroup"

// guestMillis is what the guest kernel may use of the CPU beside the function.
// An invocation costs it 1.5 to 3 ms, measured for small functions, against
// 0.3 ms in the container back end; without an allowance a function of 128 MB,
// which has 1.4 ms in every 20, would wait several periods for each answer. A
// function that only computes gets the allowance too: the two share a group.
const guestMillis = 150

// LimitCPU implements sandbox.Sandbox.
func (s *Sandbox) LimitCPU(millis int) error {
	return s.group.SetLimits(cgroup.Limits{CPUMillis: millis + guestMillis})
}

package gvisor

import "kiln/sandbox/cgroup"

// LimitCPU implements sandbox.Sandbox.
func (s *Sandbox) LimitCPU(millis int) error {
	return s.group.SetLimits(cgroup.Limits{CPUMillis: millis})
}

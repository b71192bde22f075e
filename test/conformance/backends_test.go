package conformance

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gvisor.dev/gvisor/runsc/config"

	"kiln/network"
	"kiln/sandbox"
	"kiln/sandbox/container"
	"kiln/sandbox/gvisor"
)

// backend is a back end under test and what the cases must know of it.
type backend struct {
	name string
	open func(stateDir, cgroupParent string) (sandbox.Backend, error)
	// missing says why the back end cannot run here; "" or nil: it can.
	missing func() string
	// ownKernel: the function does not speak to the machine's kernel.
	ownKernel bool
	// ownCPU is what the back end's own work may use beside the function's quota,
	// in cores.
	ownCPU float64
	// firstProcess is the name of a process of the back end's that the function
	// sees beside its own; "" if there is none.
	firstProcess string
	// weak are known weaknesses: name → what is so. A case that meets one checks
	// that it is as bad as it is said to be, and no worse.
	weak map[weakness]string
	// addsEnv are variables that the back end adds where they are not given.
	addsEnv []string
	// runtimeAPI opens the listener that the worker serves the Runtime API on,
	// and says where the function finds it.
	runtimeAPI func(*network.Slot, uint16) (net.Listener, netip.Addr, error)
}

// weakness is something that not all back ends can do.
type weakness string

const (
	showsPaths       weakness = "shows paths"
	sharesUserCounts weakness = "shares user counts"
)

// backends are all there are.
var backends = []backend{
	{
		name: "container",
		open: func(dir, parent string) (sandbox.Backend, error) {
			return container.New(container.Config{StateDir: dir, CgroupParent: parent})
		},
		firstProcess: "kiln-init",
		weak: map[weakness]string{
			showsPaths:       "/proc/PID/mountinfo names the host's directories behind the mounts",
			sharesUserCounts: "sandboxes of one user share the kernel's bounds per user, such as on inotify instances",
		},
		runtimeAPI: func(s *network.Slot, port uint16) (net.Listener, netip.Addr, error) {
			l, err := s.ListenInside(port)
			return l, netip.AddrFrom4([4]byte{127, 0, 0, 1}), err
		},
	},
	{
		name: "gvisor",
		open: func(dir, parent string) (sandbox.Backend, error) {
			return gvisor.New(gvisor.Config{StateDir: dir, CgroupParent: parent})
		},
		missing: func() string {
			if config.CgoEnabled {
				return "a test binary with cgo cannot host gVisor: set CGO_ENABLED=0"
			}
			return ""
		},
		ownKernel: true,
		ownCPU:    0.15,
		addsEnv:   []string{"HOME=/"},
		runtimeAPI: func(s *network.Slot, port uint16) (net.Listener, netip.Addr, error) {
			l, err := s.ListenGateway(port)
			return l, s.Gateway, err
		},
	},
}

// stage is where the cases of one back end play.
type stage struct {
	backend
	sandboxes    sandbox.Backend
	stateDir     string
	cgroupParent string
	layout
	// What several cases ask of one sandbox, see view and attempt.
	seen     map[string]result
	outcomes map[string]outcome
	before   hostState // when the stage was set
	clock    time.Time // wallClock then
	network  *scene    // made by the network's first case
}

// newStage opens a back end; it is closed with the test.
func newStage(t *testing.T, b backend) *stage {
	t.Helper()
	dir := filepath.Join(workDir, b.name)
	// Other runs of the suite have the same pids, but not the same directory.
	s := &stage{backend: b, stateDir: filepath.Join(dir, "state"), cgroupParent: "kiln-test/" + filepath.Base(workDir) + "-" + b.name}
	var err error
	if err = os.MkdirAll(s.stateDir, 0o755); err == nil {
		s.layout, err = newLayout(dir)
	}
	if err == nil {
		s.sandboxes, err = b.open(s.stateDir, s.cgroupParent)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.network != nil {
			if err := s.network.strike(); err != nil {
				t.Error(err)
			}
		}
		if err := s.sandboxes.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.sandboxes.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.before, s.clock = lookAtHost(t), wallClock(t)
	if got := s.sandboxes.Name(); got != b.name {
		t.Errorf("the back end calls itself %q", got)
	}
	return s
}

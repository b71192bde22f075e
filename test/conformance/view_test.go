package conformance

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// viewCases are about what the function sees of itself and of the machine.
var viewCases = []testCase{
	{"user", "looks at its ids: the given user and group, really and effectively, and no other groups", viewUser},
	{"capabilities", "looks at its capabilities: none, in none of the five sets", viewCapabilities},
	{"no new privileges", "looks at no_new_privs: set, so that no program gives it any", viewNoNewPrivileges},
	{"environment", "looks at its arguments and variables: only those given", viewEnvironment},
	{"directory", "looks at its working directory: the given one", viewDirectory},
	{"host name", "looks at its host name: the given one, not the machine's", viewHostname},
	{"limits", "looks at its resource limits: the given number of files, soft and hard, and no core dumps", viewLimits},
	{"processes", "lists processes: itself and at most the sandbox's first process", viewProcesses},
	{"hidden processes", "sends signal 0 to 20,000 pids: there are only those that it sees", viewHiddenProcesses},
	{"descriptors", "lists its open descriptors: 0, 1 and 2", viewDescriptors},
	{"mounts", "lists mounts: the root read-only, the given ones, and kernel file systems; none propagates", viewMounts},
	{"writable", "looks for places that it may write to: /tmp, /dev/shm and harmless devices", viewWritable},
	{"host paths", "searches /proc and /sys for the host's directories: they are named nowhere", viewHostPaths},
	{"host name of the machine", "searches /proc and /sys for the machine's name: it is nowhere", viewMachineName},
	{"cgroup", "looks at its control groups: it seems to be in the root, or in the guest's own", viewCgroup},
	{"devices", "looks for device nodes: only those without effect outside", viewDevices},
	{"kernel", "asks for the kernel: with its own kernel it is that one; else the machine's, as documented", viewKernel},
	{"interfaces", "lists network interfaces without a network: nothing but its own loopback has an address", viewInterfaces},
	{"first process", "looks into the sandbox's first process, if it is not itself: its memory, environment, files are closed", viewFirstProcess},
}

// view returns what a probe sees; all are run at once, in one sandbox.
func (s *stage) view(t testing.TB, name string) result {
	t.Helper()
	if s.seen == nil {
		s.seen = map[string]result{}
		probes := []string{"identity", "environment", "limits", "processes", "reachable=20000", "descriptors", "mounts", "writable=/",
			"outside=" + workDir, "outside=" + machineName, "devices", "devicesin=/proc", "kernel", "network"}
		x := s.start(t, s.spec(t, probes...))
		for range probes {
			r := x.next(t)
			s.seen[r.Probe] = r
		}
	}
	r, ok := s.seen[name]
	if !ok {
		t.Fatalf("nobody looked at %s", name)
	}
	return r
}

// identity is the probe of that name.
type identity struct {
	UID, EUID, GID, PID, PPID int
	Hostname, Dir, Cgroup     string
	Status                    map[string]string
}

func (s *stage) identity(t *testing.T) (got identity) {
	t.Helper()
	s.view(t, "identity").decode(t, &got)
	return got
}

func viewUser(t *testing.T, s *stage) {
	if got := s.identity(t); got.UID != testUID || got.EUID != testUID || got.GID != testGID || got.Status["Groups"] != "" {
		t.Errorf("%+v", got)
	}
}

func viewCapabilities(t *testing.T, s *stage) {
	requireNoCapabilities(t, s.identity(t))
}

func requireNoCapabilities(t *testing.T, got identity) {
	t.Helper()
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if got.Status[set] != "0000000000000000" {
			t.Errorf("%s is %q", set, got.Status[set])
		}
	}
}

func viewNoNewPrivileges(t *testing.T, s *stage) {
	if got := s.identity(t).Status["NoNewPrivs"]; got != "1" {
		t.Errorf("NoNewPrivs is %q", got)
	}
}

func viewEnvironment(t *testing.T, s *stage) {
	var got struct{ Args, Env []string }
	s.view(t, "environment").decode(t, &got)
	slices.Sort(got.Env)
	if want := append([]string{"A=1", "B=two"}, s.addsEnv...); !slices.Equal(got.Env, want) {
		t.Errorf("variables %q, want %q", got.Env, want)
	}
	if len(got.Args) == 0 || got.Args[0] != "/probe" || got.Args[1] != "identity" {
		t.Errorf("arguments %q", got.Args)
	}
}

func viewDirectory(t *testing.T, s *stage) {
	if got := s.identity(t).Dir; got != "/var/task" {
		t.Errorf("%q", got)
	}
}

func viewHostname(t *testing.T, s *stage) {
	if got := s.identity(t).Hostname; got != "inside" {
		t.Errorf("%q", got)
	}
}

func viewLimits(t *testing.T, s *stage) {
	var got map[string][2]uint64
	s.view(t, "limits").decode(t, &got)
	if got["files"] != [2]uint64{256, 256} || got["core"] != [2]uint64{} {
		t.Errorf("%v", got)
	}
}

func viewProcesses(t *testing.T, s *stage) {
	var got map[string]string
	s.view(t, "processes").decode(t, &got)
	names := slices.Sorted(maps.Values(got))
	want := []string{"probe"}
	if s.firstProcess != "" {
		want = []string{s.firstProcess, "probe"}
	}
	if !slices.Equal(names, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func viewHiddenProcesses(t *testing.T, s *stage) {
	var got []int
	if s.view(t, "reachable=20000").decode(t, &got); len(got) > 0 {
		t.Errorf("pids %v", got)
	}
}

func viewDescriptors(t *testing.T, s *stage) {
	var got map[string]string
	s.view(t, "descriptors").decode(t, &got)
	for number, target := range got {
		ofRuntime := strings.HasPrefix(target, "anon_inode:[event") // Go's poller
		if number != "0" && number != "1" && number != "2" && !ofRuntime {
			t.Errorf("%s is %s", number, target)
		}
		if strings.Contains(target, workDir) {
			t.Errorf("%s names a path of the host's: %s", number, target)
		}
	}
	if len(got) < 3 {
		t.Errorf("%v", got)
	}
}

func viewMounts(t *testing.T, s *stage) {
	var got []struct {
		Point, Type, Options, Source string
		Shared                       bool
	}
	s.view(t, "mounts").decode(t, &got)
	writable := map[string]bool{
		"/": false, "/var/task": false, "/opt": false, "/etc/resolv.conf": false, "/tmp": true, "/dev/shm": true, "/proc": true,
	}
	kernels := []string{"/dev", "/dev/pts", "/sys"} // there or not, as the back end likes
	seen := map[string]bool{}
	for _, m := range got {
		seen[m.Point] = true
		rw := strings.HasPrefix(m.Options, "rw")
		want, given := writable[m.Point]
		switch {
		case given && rw != want:
			t.Errorf("%s has the options %s", m.Point, m.Options)
		case given || slices.Contains(kernels, m.Point):
		case strings.HasPrefix(m.Point, "/proc/") && !rw: // masked
		default:
			t.Errorf("unexpected: %+v", m)
		}
		if m.Shared {
			t.Errorf("%s propagates", m.Point)
		}
		if strings.Contains(m.Source+m.Point, workDir) {
			t.Errorf("a path of the host's: %+v", m)
		}
	}
	for point := range writable {
		if !seen[point] {
			t.Errorf("%s is not mounted", point)
		}
	}
}

// harmlessDevices are those whose use changes nothing outside; the last three
// exist in guest kernels only, which make them up.
var harmlessDevices = map[string]string{
	"/dev/null": "1:3", "/dev/zero": "1:5", "/dev/full": "1:7", "/dev/random": "1:8", "/dev/urandom": "1:9", "/dev/tty": "5:0",
	"/dev/pts/ptmx": "5:2", "/dev/fuse": "10:229", "/dev/net/tun": "10:200",
}

func viewWritable(t *testing.T, s *stage) {
	var got []string
	s.view(t, "writable=/").decode(t, &got)
	for _, path := range got {
		// Masked files of /proc are /dev/null.
		masked := strings.HasPrefix(path, "/proc/") && !s.ownKernel && isNull(t, s, path)
		if path != "/tmp" && path != "/dev/shm" && harmlessDevices[path] == "" && !masked {
			t.Errorf("%s is writable", path)
		}
	}
	for _, path := range []string{"/tmp", "/dev/shm"} {
		if !slices.Contains(got, path) {
			t.Errorf("%s is not writable", path)
		}
	}
}

// isNull says whether a path inside is the null device.
func isNull(t *testing.T, s *stage, path string) bool {
	var got map[string]string
	s.view(t, "devicesin=/proc").decode(t, &got)
	return got[path] == harmlessDevices["/dev/null"]
}

func viewHostPaths(t *testing.T, s *stage) {
	var got []string
	s.view(t, "outside="+workDir).decode(t, &got)
	_, weak := s.weak[showsPaths]
	for _, path := range got {
		if !weak || !strings.HasSuffix(path, "/mountinfo") {
			t.Errorf("%s names %s", path, workDir)
		}
	}
	if weak && len(got) == 0 {
		t.Error("it no longer shows paths of the host's: the list of weaknesses is out of date")
	}
}

func viewMachineName(t *testing.T, s *stage) {
	var got []string
	if s.view(t, "outside="+machineName).decode(t, &got); len(got) > 0 {
		t.Errorf("%v name the machine", got)
	}
}

func viewCgroup(t *testing.T, s *stage) {
	got := s.identity(t).Cgroup
	for line := range strings.Lines(got) {
		if !strings.HasSuffix(strings.TrimSpace(line), ":/") {
			t.Errorf("it is in %s", line)
		}
	}
}

func viewDevices(t *testing.T, s *stage) {
	var got map[string]string
	s.view(t, "devices").decode(t, &got)
	for path, number := range got {
		guests := []string{"/dev/fuse", "/dev/net/tun", "/dev/pts/ptmx"}
		if harmlessDevices[path] != number || !s.ownKernel && slices.Contains(guests, path) {
			t.Errorf("%s is %s", path, number)
		}
	}
	for _, path := range []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"} {
		if got[path] == "" {
			t.Errorf("%s is missing", path)
		}
	}
}

func viewKernel(t *testing.T, s *stage) {
	var got map[string]string
	s.view(t, "kernel").decode(t, &got)
	var host unix.Utsname
	if err := unix.Uname(&host); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(host.Release[:])
	if same := got["release"] == release || strings.Contains(got["version"], release); same == s.ownKernel {
		t.Errorf("it sees %v, the machine has %s", got, release)
	}
}

func viewInterfaces(t *testing.T, s *stage) {
	var got map[string][]string
	s.view(t, "network").decode(t, &got)
	for name, addresses := range got {
		if name != "lo" && len(addresses) > 0 {
			t.Errorf("%s has %v", name, addresses)
		}
	}
	if !slices.Contains(got["lo"], "127.0.0.1/8") {
		t.Errorf("%v", got)
	}
}

func viewFirstProcess(t *testing.T, s *stage) {
	if s.identity(t).PID == 1 {
		t.Log("the function is the first process")
		return
	}
	for _, name := range []string{"open-init-environ", "open-init-program", "open-init-descriptor", "open-init-maps",
		"write-init-memory", "first-process-root", "first-process-cwd"} {
		if got := s.attempt(t, name); got.Errno != "EACCES" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

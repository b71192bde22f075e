package container

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kiln/sandbox"
)

func TestIdentity(t *testing.T) {
	b := newBackend(t)
	var got struct {
		UID, GID, PID, PPID   int
		Hostname, Dir, Cgroup string
		Status                map[string]string
	}
	if problem := look(t, b, "identity", &got); problem != "" {
		t.Fatal(problem)
	}
	if got.UID != testUID || got.GID != testGID || got.PID != 2 || got.PPID != 1 || got.Hostname != "inside" || got.Dir != "/var/task" {
		t.Errorf("%+v", got)
	}
	want := map[string]string{"Groups": "", "NoNewPrivs": "1", "Seccomp": "2"}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		want[set] = "0000000000000000"
	}
	if !maps.Equal(got.Status, want) {
		t.Errorf("status %v, want %v", got.Status, want)
	}
	if strings.Contains(got.Cgroup, "kiln") {
		t.Errorf("the host's cgroup path shows: %s", got.Cgroup)
	}
}

func TestEnvironment(t *testing.T) {
	b := newBackend(t)
	x := start(t, b, newSpec(t, "environment", "limits", "processes", "descriptors"))
	var environment struct{ Args, Env []string }
	x.next(t, &environment)
	if !slices.Equal(environment.Env, x.spec.Process.Env) || !slices.Equal(environment.Args, x.spec.Process.Args) {
		t.Errorf("%+v", environment)
	}
	var limits map[string][2]uint64
	x.next(t, &limits)
	if want := map[string][2]uint64{"files": {128, 128}, "core": {0, 0}, "memlock": {64 << 10, 64 << 10}}; !maps.Equal(limits, want) {
		t.Errorf("limits %v", limits)
	}
	var processes map[string]string
	x.next(t, &processes)
	if want := map[string]string{"1": "kiln-init", "2": "probe"}; !maps.Equal(processes, want) {
		t.Errorf("processes %v", processes)
	}
	var descriptors map[string]string
	x.next(t, &descriptors)
	for number, target := range descriptors {
		switch {
		case number == "0" && target == "/dev/null":
		case (number == "1" || number == "2") && strings.HasPrefix(target, "pipe:"):
		case strings.HasPrefix(target, "anon_inode:") && !strings.Contains(target, "pidfd"): // Go's poller
		default:
			t.Errorf("descriptor %s is %s", number, target)
		}
	}
}

// The first process must not give anything of itself away.
func TestInitIsClosed(t *testing.T) {
	b := newBackend(t)
	x := start(t, b, newSpec(t, "read=/proc/1/environ", "list=/proc/1/fd", "read=/proc/1/exe", "list=/proc/1/root/", "open=/proc/1/mem"))
	for range 5 {
		var value any
		if problem := x.next(t, &value); !strings.Contains(problem, "permission denied") {
			t.Errorf("%v, %q", value, problem)
		}
	}
}

func TestMounts(t *testing.T) {
	b := newBackend(t)
	spec := newSpec(t, "mounts")
	code := t.TempDir()
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: code, Target: "/var/task"})
	x := start(t, b, spec)
	var mounts []struct {
		Point, Type, Options string
		Shared               bool
	}
	if problem := x.next(t, &mounts); problem != "" {
		t.Fatal(problem)
	}
	want := map[string]string{
		"/": "ro,nosuid,nodev", "/dev": "ro,nosuid,noexec", "/tmp": "rw,nosuid,nodev", "/var/task": "ro,nosuid,nodev",
		"/proc": "rw,nosuid,nodev,noexec", "/proc/sys": "ro,nosuid,nodev,noexec", "/dev/shm": "rw,nosuid,nodev,noexec",
	}
	for _, m := range mounts {
		options := slices.DeleteFunc(strings.Split(m.Options, ","), func(o string) bool { return strings.HasSuffix(o, "atime") })
		if w, ok := want[m.Point]; ok && w != strings.Join(options, ",") {
			t.Errorf("%s: %v, want %s", m.Point, options, w)
		} else if !ok && (!strings.HasPrefix(m.Point, "/proc/") || options[0] != "ro") {
			t.Errorf("unexpected: %+v", m)
		}
		if m.Shared {
			t.Errorf("%s propagates", m.Point)
		}
		delete(want, m.Point)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestFileSystem(t *testing.T) {
	b := newBackend(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o644); err != nil {
		t.Fatal(err)
	}
	for probe, want := range map[string]string{
		"hostfiles=" + secret:                 "",
		"write=/tmp/a":                        "",
		"write=/dev/shm/a":                    "",
		"open=/dev/null":                      "",
		"read=/dev/urandom":                   "",
		"list=/sys":                           "",
		"write=/a":                            "read-only file system",
		"write=/var/task/a":                   "read-only file system",
		"write=/opt/a":                        "read-only file system",
		"write=/dev/a":                        "read-only file system",
		"write=/proc/sys/kernel/core_pattern": "permission denied",
		"write=/proc/sys/kernel/hostname":     "permission denied",
		"write=/proc/self/oom_score_adj":      "invalid argument", // "sandboxprobe" is no number
		"open=/dev/tty":                       "no such device or address",
		"open=/dev/kmsg":                      "no such file",
		"write=/sys/fs/cgroup/x":              "no such file",
	} {
		var value any
		problem := look(t, b, probe, &value)
		if want == "" && problem != "" || !strings.Contains(problem, want) {
			t.Errorf("%s: %v, %q, want %q", probe, value, problem, want)
		}
	}
	for _, masked := range []string{"/proc/keys", "/proc/timer_list", "/proc/kcore", "/proc/sched_debug", "/proc/sysrq-trigger", "/proc/kallsyms"} {
		if _, err := os.Stat(masked); err != nil {
			continue
		}
		var content string
		if problem := look(t, b, "read="+masked, &content); problem != "" || content != "" {
			t.Errorf("%s is not masked: %q, %s", masked, content, problem)
		}
	}
	var dev map[string]string
	look(t, b, "list=/dev", &dev)
	names := slices.Sorted(maps.Keys(dev))
	if want := "fd full null random shm stderr stdin stdout tty urandom zero"; strings.Join(names, " ") != want {
		t.Errorf("/dev has %v", names)
	}
}

// What a sandbox writes is where its mount says, and nobody else's.
func TestTmpIsItsOwn(t *testing.T) {
	b := newBackend(t)
	one, two := newSpec(t, "write=/tmp/a", "list=/tmp"), newSpec(t, "list=/tmp")
	x := start(t, b, one)
	x.next(t, nil)
	if _, err := os.Stat(filepath.Join(one.Mounts[0].Source, "a")); err != nil {
		t.Error(err)
	}
	var files map[string]string
	if start(t, b, two).next(t, &files); len(files) > 0 {
		t.Errorf("the other sees %v", files)
	}
}

// A link in the image must not lead a mount out of the root.
func TestMountTargetIsALink(t *testing.T) {
	b := newBackend(t)
	outside := t.TempDir()
	spec := newSpec(t, "echo=a")
	if err := os.Remove(filepath.Join(spec.Root, "opt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(spec.Root, "opt")); err != nil {
		t.Fatal(err)
	}
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: t.TempDir(), Target: "/opt"})
	if _, err := b.Create(deadline(t), spec); err == nil || !strings.Contains(err.Error(), "mount /opt") {
		t.Errorf("Create: %v", err)
	}
}

func TestEscapesFail(t *testing.T) {
	b := newBackend(t)
	var results map[string]string
	if problem := look(t, b, "escape", &results); problem != "" {
		t.Fatal(problem)
	}
	if len(results) < 40 {
		t.Errorf("only %d attempts", len(results))
	}
	for name, err := range results {
		want := "operation not permitted"
		switch name {
		case "kill init":
			want = "" // the kernel drops the signal without an error
		case "clone3", "io_uring_setup":
			want = "function not implemented"
		case "lower oom score":
			want = "write /proc/self/oom_score_adj: permission denied"
		}
		if err != want {
			t.Errorf("%s: %q, want %q", name, err, want)
		}
	}
}

func TestSockets(t *testing.T) {
	b := newBackend(t)
	var results map[string]string
	look(t, b, "sockets", &results)
	for name, err := range results {
		want := "address family not supported by protocol"
		switch name {
		case "unix", "inet", "inet6", "route":
			want = ""
		case "raw":
			want = "operation not permitted"
		}
		if err != want {
			t.Errorf("%s: %q, want %q", name, err, want)
		}
	}
}

func TestOwnLoopback(t *testing.T) {
	b := newBackend(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var interfaces map[string][]string
	x := start(t, b, newSpec(t, "network", "dial=tcp/"+listener.Addr().String()))
	x.next(t, &interfaces)
	if len(interfaces["lo"]) == 0 || interfaces["lo"][0] != "127.0.0.1/8" {
		t.Errorf("lo: %v", interfaces)
	}
	for name, addrs := range interfaces {
		if name != "lo" && len(addrs) > 0 {
			t.Errorf("%s: %v", name, addrs)
		}
	}
	if problem := x.next(t, nil); !strings.Contains(problem, "connection refused") {
		t.Errorf("the host's loopback answers: %q", problem)
	}
}

// The sandbox is in the namespace it was given: a listener there is reachable.
func TestGivenNetwork(t *testing.T) {
	b := newBackend(t)
	path, listener := newNetwork(t)
	spec := newSpec(t, "dial=tcp/"+listener.Addr().String())
	spec.Network = path
	if problem := start(t, b, spec).next(t, nil); problem != "" {
		t.Error(problem)
	}
}

// newNetwork makes a network namespace with a listener on its loopback.
func newNetwork(t testing.TB) (path string, listener net.Listener) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "netns")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	onLostThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if err = upLoopback(); err != nil {
			return
		}
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		listener.Close()
		unix.Unmount(path, unix.MNT_DETACH)
	})
	return path, listener
}

// upLoopback starts the loopback interface of the thread's network namespace.
func upLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

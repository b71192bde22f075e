package gvisor

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"kiln/sandbox"
)

// lines gives the output's lines by their first word.
func lines(text string) map[string]string {
	byWord := map[string]string{}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		byWord[word] = rest
	}
	return byWord
}

// TestView checks what the process sees of itself and of the machine.
func TestView(t *testing.T) {
	spec := testSpec("view", "facts", "an argument")
	spec.Limits.CPUMillis = 500
	code, tmp := t.TempDir(), t.TempDir()
	spec.Mounts = []sandbox.Mount{{Source: code, Target: "/var/task"}, {Source: tmp, Target: "/tmp", Writable: true}}
	s := start(t, newBackend(t), spec)
	s.wait(t)
	text := s.stdout.String()
	got := lines(text)
	for word, want := range map[string]string{
		"uid": "993 gid 990", "dir": "/var/task", "host": "guest", "args": "/probe facts an argument",
		"root": "data dev probe proc run script sys text tmp var",
	} {
		if got[word] != want {
			t.Errorf("%s: %q, want %q", word, got[word], want)
		}
	}
	// The guest kernel adds HOME where it is not set, and keeps no order.
	env := strings.Fields(got["env"])
	slices.Sort(env)
	if want := []string{"A=1", "B=2", "HOME=/"}; !slices.Equal(env, want) {
		t.Errorf("environment %q, want %q", env, want)
	}
	if !strings.HasPrefix(got["version"], "Linux version 4.") || !strings.Contains(got["version"], "2016") {
		t.Errorf("kernel %q is not the guest's", got["version"])
	}
	for _, want := range []string{
		"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1",
	} {
		if !strings.Contains(got["status"], want) {
			t.Errorf("status lacks %q: %s", want, got["status"])
		}
	}
	if !strings.Contains(got["meminfo"], "MemTotal:         131072 kB") {
		t.Errorf("memory %q, want 128 MB", got["meminfo"])
	}
	for _, host := range []string{code, tmp, rootDir} {
		if strings.Contains(text, host) {
			t.Errorf("the process sees the machine's path %s", host)
		}
	}
	processes := 0
	for _, name := range strings.Fields(got["proc"]) {
		if name[0] >= '0' && name[0] <= '9' {
			processes++
		}
	}
	if processes != 1 {
		t.Errorf("it sees %d processes: %s", processes, got["proc"])
	}
	if strings.Contains(text, "interface eth") || !strings.Contains(text, "interface lo") {
		t.Errorf("interfaces without a network: %s", text)
	}
}

// TestForbidden checks what must not be possible, and what must. It runs as
// user 0 too, who owns the root's files but has no capability.
func TestForbidden(t *testing.T) {
	b := newBackend(t)
	for _, uid := range []int{993, 0} {
		t.Run(fmt.Sprint("uid-", uid), func(t *testing.T) {
			spec := testSpec(fmt.Sprint("forbidden-", uid), "try")
			spec.Process.UID, spec.Process.GID = uid, uid
			code, tmp := t.TempDir(), t.TempDir()
			if err := os.Chown(tmp, uid, uid); err != nil {
				t.Fatal(err)
			}
			spec.Mounts = []sandbox.Mount{
				{Source: code, Target: "/var/task"}, {Source: tmp, Target: "/tmp", Writable: true},
			}
			s := start(t, b, spec)
			s.wait(t)
			text := s.stdout.String()
			denied := map[int]string{993: "permission denied", 0: "read-only file system"}[uid]
			want := []string{
				"write root: open /new: " + denied, "write code: open /var/task/new: " + denied,
				"write tmp: <nil>", "write shm: <nil>", "open stdout: <nil>",
				"mknod: operation not permitted", "mount: operation not permitted",
				"packet socket: operation not permitted",
				"host socket: dial unix /run/host.sock: connect: no such file or directory",
			}
			if uid != 0 {
				want = append(want, "setuid: operation not permitted")
			}
			for _, w := range want {
				if !strings.Contains(text, w+"\n") {
					t.Errorf("output lacks %q:\n%s", w, text)
				}
			}
			if data, err := os.ReadFile(filepath.Join(tmp, "new")); err != nil || string(data) != "tmp" {
				t.Errorf("the directory behind /tmp has %q, %v", data, err)
			}
		})
	}
}

// TestFileMount mounts one file over another.
func TestFileMount(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("mounted"), 0o666); err != nil {
		t.Fatal(err)
	}
	spec := testSpec("file-mount", "cat", "/data")
	spec.Process.UID, spec.Process.GID = 0, 0
	spec.Mounts = []sandbox.Mount{{Source: file, Target: "/data"}}
	s := start(t, newBackend(t), spec)
	s.wait(t)
	if text := s.stdout.String(); text != "mounted <nil> open /data: read-only file system\n" {
		t.Errorf("output %q", text)
	}
}

func TestCPUs(t *testing.T) {
	for millis, want := range map[int]int{0: 2, 72: 2, 1000: 2, 2000: 2, 2001: 3, 6000: 6} {
		if got := cpus(millis); got != min(want, runtime.NumCPU()) {
			t.Errorf("%d thousandths: %d processors, want %d", millis, got, want)
		}
	}
}

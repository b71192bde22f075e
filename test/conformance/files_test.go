package conformance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kiln/sandbox"
)

// fileCases are about the file system. All of the root, the code and the layer
// belongs to anyone by its modes: only the sandbox protects it.
var fileCases = append(attemptCases(fileAttempts),
	testCase{"tmp", "writes to /tmp and /dev/shm: works, and /tmp's is in the host's directory", filesTmp},
	testCase{"host file", "looks for a file of the host's by every way that /proc has out of the root: it is nowhere", filesHostFile},
	testCase{"links", "follows symbolic links, .. and descriptors to a file of the host's: none leads there", filesLinks},
	testCase{"links in the image", "reads links in the root and the code to a file of the host's: they lead nowhere", filesImageLinks},
	testCase{"link as mount point", "has a mount point in the image that is a link to a host directory: nothing is mounted there", filesLinkedTarget},
	testCase{"setuid program", "executes a program that is set-user-ID root: it stays who it is, without capabilities", filesSetuid},
	testCase{"host side", "looks at the host's files after all of that: root, code and layer are as they were", filesUnchanged},
)

var fileAttempts = []attempt{
	forbid("write-root", "makes a file in /, whose mode lets anyone"),
	forbid("write-task", "makes a file in /var/task, which belongs to the function's user"),
	forbid("write-opt", "makes a file in /opt"),
	forbid("write-etc", "makes a file in /etc"),
	forbid("write-passwd", "changes /etc/passwd, whose mode lets anyone"),
	forbid("write-dev", "makes a file in /dev"),
	absent("write-proc", "makes a file in /proc"),
	forbid("write-sys", "makes a file in /sys"),
	forbid("write-own-program", "writes to the program that it runs").or("ETXTBSY"),

	forbid("mount-tmpfs", "mounts a tmpfs over /tmp"),
	forbid("mount-bind", "binds / to /tmp"),
	forbid("mount-over-task", "mounts something over the code"),
	forbid("mount-proc", "mounts another /proc"),
	forbid("mount-sysfs", "mounts sysfs"),
	forbid("mount-cgroup", "mounts the control groups, version 1"),
	forbid("mount-cgroup2", "mounts the control groups, version 2"),
	forbid("remount-root", "remounts / writable"),
	forbid("remount-task", "remounts the code writable"),
	forbid("remount-tmp-with-devices", "remounts /tmp with devices and set-user-ID"),
	forbid("umount-proc", "unmounts /proc with its masks"),
	forbid("umount-task", "unmounts the code"),
	forbid("pivot-root", "changes the root by pivot_root"),
	forbid("chroot", "changes the root by chroot"),
	forbid("open-tree", "clones the mount tree"),
	forbid("move-mount", "moves a mount"),
	forbid("fsopen", "opens a file system by the new mount calls"),
	forbid("mount-setattr", "takes the read-only flag off a mount"),
	forbid("rewrite-code", "becomes root of a user namespace, remounts, and writes to the code"),
	forbid("rewrite-root-file", "does the same with the root"),
	forbid("rewrite-layer", "does the same with the layer"),

	forbid("mknod-memory", "makes and opens the memory device"),
	forbid("mknod-kmsg", "makes and opens the kernel log"),
	forbid("mknod-tun", "makes and opens the tunnel device"),
	forbid("mknod-disk", "makes and opens a disk"),

	forbid("hardlink-from-code", "links a file of the code into /tmp").or("EXDEV"),
	forbid("hardlink-from-root", "links a file of the root into /tmp").or("EXDEV"),
	forbid("hardlink-by-descriptor", "links an open file into /tmp").or("EXDEV"),
	forbid("hardlink-out-of-tmp", "links a file out of /tmp").or("EXDEV"),
	forbid("rename-out-of-tmp", "moves a file out of /tmp").or("EXDEV"),
	forbid("name-to-handle", "asks for the handle of /").or("ENOTSUP"),
	forbid("open-by-handle", "opens files by guessed handles, past the root").or("ENOTSUP"),
	forbid("file-capability", "gives a file of its own capabilities").or("ENOTSUP"),
	forbid("give-away-a-file", "gives a file of its own to root"),
}

func filesTmp(t *testing.T, s *stage) {
	spec := s.spec(t, "write=/tmp/a", "write=/dev/shm/a")
	x := s.start(t, spec)
	for range 2 {
		if r := x.next(t); r.Error != "" {
			t.Errorf("%s: %s", r.Probe, r.Error)
		}
	}
	tmp := spec.Mounts[len(spec.Mounts)-1].Source
	info, err := os.Stat(filepath.Join(tmp, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != testUID || stat.Gid != testGID {
		t.Errorf("the file belongs to %d:%d", stat.Uid, stat.Gid)
	}
}

func filesHostFile(t *testing.T, s *stage) {
	if r := s.probe(t, "hostfiles="+s.secret); r.Error != "" {
		t.Errorf("%s: %s", r.Error, r.Value)
	}
}

func filesLinks(t *testing.T, s *stage) {
	r := s.probe(t, "chain="+s.secret)
	var found []string
	if r.decode(t, &found); len(found) > 0 || r.Error != "" {
		t.Errorf("%v, %s", found, r.Error)
	}
}

func filesImageLinks(t *testing.T, s *stage) {
	x := s.start(t, s.spec(t, "read=/link", "read=/var/task/link", "write=/link"))
	for range 3 {
		if r := x.next(t); !strings.Contains(r.Error, "no such file") && !strings.Contains(r.Error, "read-only") {
			t.Errorf("%s gave %s, %q", r.Probe, r.Value, r.Error)
		}
	}
}

func filesLinkedTarget(t *testing.T, s *stage) {
	outside, root := t.TempDir(), filepath.Join(t.TempDir(), "root")
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(os.Mkdir(root, 0o755), os.Link(s.root+"/probe", root+"/probe"), os.Symlink(outside, root+"/opt"))
	for _, dir := range []string{"proc", "dev", "sys", "tmp", "var", "var/task"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	spec := s.spec(t, "sleep=1h")
	spec.Root = root
	spec.Mounts = []sandbox.Mount{{Source: s.layer, Target: "/opt"}}
	if x, err := s.tryCreate(deadline(t), spec); err != nil {
		t.Log("refused:", err)
	} else {
		defer x.end(t)
		if err := x.Start(deadline(t)); err != nil {
			t.Log("refused:", err)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("the host's directory has %v, %v", entries, err)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), outside) {
		t.Errorf("something is mounted on the host's directory, %v", err)
	}
}

func filesSetuid(t *testing.T, s *stage) {
	var got identity
	s.probe(t, "as=/suid identity").decode(t, &got)
	if got.UID != testUID || got.EUID != testUID || got.GID != testGID {
		t.Errorf("%+v", got)
	}
	requireNoCapabilities(t, got)
}

func filesUnchanged(t *testing.T, s *stage) {
	s.attempt(t, "write-root") // they were made
	if err := s.unchanged(); err != nil {
		t.Error(err)
	}
}

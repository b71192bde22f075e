package conformance

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// real are attempts that must work for root outside of any sandbox, in
// namespaces that are thrown away. They show that it is the sandbox that refuses
// them, and not a mistake in the attempt. Those that would change the machine
// are not among them.
var real = strings.Fields(`
	write-root write-task
	mount-tmpfs mount-bind mount-proc remount-root umount-proc chroot
	open-tree fsopen mount-setattr name-to-handle give-away-a-file file-capability
	clone-user unshare-user clone3-user clone-mount clone-pid clone-network clone-ipc clone-uts clone-cgroup
	unshare-mount unshare-pid unshare-network unshare-ipc unshare-uts unshare-cgroup
	setns-mnt setns-net setns-ipc setns-uts setns-pid setns-cgroup
	ptrace-first read-first steal-descriptor open-init-environ open-init-program open-init-maps
	first-process-root
	bpf keyctl fanotify userfaultfd personality
	sethostname setdomainname write-hostname
	setuid-root setuid-other setgid-root setgroups higher-priority
	raw-socket raw-icmp-socket packet-socket packet-datagram-socket transparent-socket socket-mark
	netlink-uevent-socket mknod-kmsg
` + archReal)

// TestAttemptsAreReal makes attempts without a sandbox.
func TestAttemptsAreReal(t *testing.T) {
	if os.Getenv(roleVariable) != roleTest {
		t.Skip("needs root")
	}
	known := knownAttempts()
	for _, name := range real {
		t.Run(name, func(t *testing.T) {
			if !known[name] {
				t.Error("it is in no table of attempts")
			}
			o := tryOutside(t, name)
			switch o.Errno {
			case "worked":
			case "ENOSYS", "ENOENT", "EOPNOTSUPP", "ENOTSUP":
				t.Skipf("this machine's kernel does not have it: %s", o.Detail)
			default:
				t.Errorf("%s: %s", o.Errno, o.Detail)
			}
		})
	}
}

// tryOutside makes an attempt as root, in namespaces of its own, below a root
// directory of its own, so that paths are those of sandboxes.
func tryOutside(t *testing.T, name string) (o outcome) {
	t.Helper()
	// A root that is thrown away: a tmpfs with what sandboxes have, and writable.
	script := `set -e
mount -t tmpfs tmpfs "$1"; cd "$1"
mkdir -p proc dev sys tmp var/task opt etc open
cp "$2" probe; echo root >etc/passwd; echo >open/file; echo >var/task/code
mount -t proc proc proc; mount --rbind /dev dev; mount --bind var/task var/task
hostname attempts
mount --move . /
exec chroot . /probe try="$3"`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", t.TempDir(), probePath, name)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig:    syscall.SIGKILL,
		Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	out, err := cmd.Output()
	var r result
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		t.Fatalf("%v: %.300q", err, out)
	}
	r.decode(t, &o)
	return o
}

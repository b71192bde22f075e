package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"kiln/runtime/images"
	"kiln/sandbox/cgroup"
)

type doctorCommand struct {
	Data string `help:"The data directory to check." default:"${data}" env:"KILN_DATA" type:"path"`
}

// finding is the answer to one question about the machine.
type finding struct {
	what   string
	ok     bool
	detail string
	// advice is what to do when it is not ok; "" if Kiln does without.
	advice string
}

func (c *doctorCommand) Run() error {
	findings := []finding{root(), kernel(), cgroups(), filesystem("erofs", "code and runtime images are unpacked to directories instead"),
		filesystem("ext4", "an environment's /tmp is a tmpfs instead and counts as its memory"), namespaces(), device("/dev/loop-control", "loop devices"),
		device("/dev/kvm", "hardware virtualization"), nftables(), c.disk()}
	for _, r := range append(images.Requirements(), images.Requirement{Tool: "mkfs.ext4", Package: "e2fsprogs", For: "making an environment's /tmp"}) {
		f := finding{what: r.Tool, ok: !r.Missing(), detail: r.For}
		if !f.ok && !r.Optional {
			f.advice = "apt-get install " + r.Package
		}
		findings = append(findings, f)
	}
	lacking := 0
	for _, f := range findings {
		mark := "ok  "
		switch {
		case !f.ok && f.advice != "":
			mark = "FAIL"
			lacking++
		case !f.ok:
			mark = "-   "
		}
		fmt.Printf("%s  %-18s %s\n", mark, f.what, f.detail)
		if !f.ok && f.advice != "" {
			fmt.Printf("      %-18s → %s\n", "", f.advice)
		}
	}
	fmt.Println()
	fmt.Println("Isolation: gvisor (its own kernel in user space, on any Linux), container (namespaces, cgroups and seccomp; weaker).")
	if lacking > 0 {
		return exitCode{fmt.Errorf("%d things are missing", lacking), 1}
	}
	return nil
}

func root() finding {
	return finding{"root", os.Geteuid() == 0, "needed to make sandboxes", "run kiln up as root"}
}

func kernel() finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return finding{"kernel", false, err.Error(), ""}
	}
	release := string(bytes.TrimRight(u.Release[:], "\x00"))
	return finding{"kernel", true, fmt.Sprintf("Linux %s on %s, %d CPUs", release, runtime.GOARCH, runtime.NumCPU()), ""}
}

func cgroups() finding {
	h, err := cgroup.Open("kiln/doctor")
	if err != nil {
		return finding{"cgroups", false, err.Error(), "mount cgroup v2 at /sys/fs/cgroup, or v1 with the controllers cpu, cpuacct, memory, pids and freezer"}
	}
	h.Remove() //nolint:errcheck // another kiln may live there
	return finding{"cgroups", true, fmt.Sprint("version ", int(h.Version())), ""}
}

func filesystem(name, without string) finding {
	b, err := os.ReadFile("/proc/filesystems")
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[len(fields)-1] == name {
			return finding{name, true, "the kernel has the file system", ""}
		}
	}
	if err == nil && exec.Command("modprobe", "-n", name).Run() == nil {
		return finding{name, true, "the kernel has the file system as a module", ""}
	}
	return finding{name, false, "not in the kernel: " + without, ""}
}

func namespaces() finding {
	for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts"} {
		if _, err := os.Stat("/proc/self/ns/" + ns); err != nil {
			return finding{"namespaces", false, ns + " namespaces are missing", "use a kernel with namespaces"}
		}
	}
	return finding{"namespaces", true, "mnt, pid, net, ipc and uts", ""}
}

func device(path, what string) finding {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		f.Close()
		return finding{path, true, what, ""}
	}
	return finding{path, false, "no " + what + ": " + errors.Unwrap(err).Error(), ""}
}

func nftables() finding {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
	if err != nil {
		return finding{"nftables", false, "functions cannot reach the network", "load the module nf_tables, or run kiln up --no-egress"}
	}
	unix.Close(fd) //nolint:errcheck // nothing was written
	return finding{"nftables", true, "NAT for functions that reach the network", ""}
}

func (c *doctorCommand) disk() finding {
	dir := c.Data
	for {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err == nil {
			free := int64(st.Bavail) * st.Bsize >> 30
			f := finding{"disk", free >= 2, fmt.Sprintf("%d GB free for %s", free, c.Data), "make room: images, code and /tmp need at least 2 GB"}
			return f
		}
		if dir == "/" {
			return finding{"disk", false, "unknown", ""}
		}
		dir = filepath.Dir(dir)
	}
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Attempts at the file system: mounts, devices, links, files of the kernel.
func init() {
	mount := func(source, target, fstype string, flags uintptr) attempt {
		return func() (string, error) { return "", unix.Mount(source, target, fstype, flags, "") }
	}
	attempts["mount-tmpfs"] = mount("tmpfs", "/tmp", "tmpfs", 0)
	attempts["mount-bind"] = mount("/", "/tmp", "", unix.MS_BIND|unix.MS_REC)
	attempts["mount-proc"] = mount("proc", "/tmp", "proc", 0)
	attempts["mount-sysfs"] = mount("sysfs", "/tmp", "sysfs", 0)
	attempts["mount-cgroup"] = mount("cgroup", "/tmp", "cgroup", 0)
	attempts["mount-cgroup2"] = mount("cgroup2", "/tmp", "cgroup2", 0)
	attempts["mount-over-task"] = mount("tmpfs", "/var/task", "tmpfs", 0)
	attempts["remount-root"] = mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND)
	attempts["remount-task"] = mount("", "/var/task", "", unix.MS_REMOUNT|unix.MS_BIND)
	attempts["remount-tmp-with-devices"] = mount("", "/tmp", "", unix.MS_REMOUNT|unix.MS_BIND)
	attempts["umount-proc"] = func() (string, error) { return "", unix.Unmount("/proc", unix.MNT_DETACH) }
	attempts["umount-task"] = func() (string, error) { return "", unix.Unmount("/var/task", unix.MNT_DETACH) }
	attempts["pivot-root"] = func() (string, error) { return "", unix.PivotRoot("/tmp", "/tmp") }
	attempts["chroot"] = func() (string, error) { return "", unix.Chroot("/tmp") }
	attempts["open-tree"] = func() (string, error) {
		_, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE)
		return "", err
	}
	attempts["move-mount"] = func() (string, error) {
		return "", unix.MoveMount(unix.AT_FDCWD, "/tmp", unix.AT_FDCWD, "/var/task", 0)
	}
	attempts["fsopen"] = func() (string, error) {
		_, err := unix.Fsopen("tmpfs", 0)
		return "", err
	}
	attempts["mount-setattr"] = func() (string, error) {
		return "", unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	}

	for name, path := range map[string]string{
		"root": "/new", "task": "/var/task/new", "opt": "/opt/new", "etc": "/etc/new", "passwd": "/etc/passwd", "dev": "/dev/new",
		"proc": "/proc/new", "sys": "/sys/new", "core-pattern": "/proc/sys/kernel/core_pattern", "modprobe": "/proc/sys/kernel/modprobe",
		"hostname": "/proc/sys/kernel/hostname", "ip-forward": "/proc/sys/net/ipv4/ip_forward", "sysrq": "/proc/sysrq-trigger",
		"drop-caches": "/proc/sys/vm/drop_caches", "uevent-helper": "/sys/kernel/uevent_helper", "binfmt": "/proc/sys/fs/binfmt_misc/register",
		"init-memory": "/proc/1/mem", "own-program": "/proc/self/exe",
	} {
		attempts["write-"+name] = func() (string, error) { return "", overwrite(path) }
	}
	for name, path := range map[string]string{
		"memory": "/dev/mem", "port": "/dev/port", "kmsg": "/dev/kmsg", "fuse": "/dev/fuse", "kvm": "/dev/kvm", "tun": "/dev/net/tun",
		"loop-control": "/dev/loop-control", "kcore": "/proc/kcore", "init-environ": "/proc/1/environ", "init-program": "/proc/1/exe",
		"init-descriptor": "/proc/1/fd/3", "init-maps": "/proc/1/maps",
	} {
		attempts["open-"+name] = func() (string, error) { return peek(path) }
	}
	for name, device := range map[string][2]uint32{"memory": {1, 1}, "kmsg": {1, 11}, "tun": {10, 200}} {
		attempts["mknod-"+name] = func() (string, error) { return mknod(unix.S_IFCHR, device) }
	}
	attempts["mknod-disk"] = func() (string, error) { return mknod(unix.S_IFBLK, [2]uint32{7, 0}) }
	attempts["cgroup-release-agent"] = func() (string, error) { return findCgroupFile("release_agent") }
	attempts["cgroup-join"] = func() (string, error) { return findCgroupFile("cgroup.procs", "tasks") }
	attempts["cgroup-memory-limit"] = func() (string, error) { return findCgroupFile("memory.limit_in_bytes", "memory.max") }

	attempts["hardlink-from-code"] = func() (string, error) { return "", os.Link("/var/task/code", "/tmp/linked") }
	attempts["hardlink-from-root"] = func() (string, error) { return "", os.Link("/etc/passwd", "/tmp/linked") }
	attempts["hardlink-out-of-tmp"] = func() (string, error) { return linkOut(os.Link) }
	attempts["rename-out-of-tmp"] = func() (string, error) { return linkOut(os.Rename) }
	attempts["hardlink-by-descriptor"] = func() (string, error) {
		f, err := os.Open("/var/task/code")
		if err != nil {
			return "open", err
		}
		return "", unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, "/tmp/linked", unix.AT_SYMLINK_FOLLOW)
	}
	attempts["open-by-handle"] = openByHandle
	attempts["file-capability"] = func() (string, error) {
		if err := os.WriteFile("/tmp/capable", nil, 0o755); err != nil {
			return "write", err
		}
		// Revision 2, effective, all capabilities.
		data := make([]byte, 20)
		data[0], data[3] = 1, 2
		for i := 4; i < 20; i++ {
			data[i] = 0xff
		}
		return "", unix.Setxattr("/tmp/capable", "security.capability", data, 0)
	}
	attempts["give-away-a-file"] = func() (string, error) {
		if err := os.WriteFile("/tmp/gift", nil, 0o755); err != nil {
			return "write", err
		}
		return "", os.Chown("/tmp/gift", 0, 0)
	}
}

// overwrite writes to what is there, or makes it.
func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString("h")
	return errors.Join(err, f.Close())
}

// peek reads a little of a file that should give nothing.
func peek(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	buf := make([]byte, 64)
	n, err := f.Read(buf)
	if n == 0 && err == nil || n == 0 && strings.Contains(err.Error(), "EOF") {
		return "", syscall.ENODATA // masked: it is there and empty
	}
	return fmt.Sprintf("%q", buf[:n]), err
}

// mknod makes a device and opens it.
func mknod(kind uint32, device [2]uint32) (string, error) {
	var last error
	for _, dir := range []string{"/tmp", "/dev/shm", "/dev"} {
		path := filepath.Join(dir, fmt.Sprintf("device-%d-%d", device[0], device[1]))
		if last = unix.Mknod(path, kind|0o666, int(unix.Mkdev(device[0], device[1]))); last != nil {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		os.Remove(path)
		if err == nil {
			f.Close()
			return path, nil
		}
		last = fmt.Errorf("made, not opened: %w", err)
	}
	return "", last
}

// findCgroupFile looks for control files, and opens them for writing.
func findCgroupFile(names ...string) (string, error) {
	last := error(syscall.ENOENT)
	found := ""
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || found != "" {
			return nil //nolint:nilerr // what cannot be read cannot be written
		}
		for _, name := range names {
			if e.Name() != name {
				continue
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				last = err
				continue
			}
			f.Close()
			found = path
		}
		return nil
	})
	if found != "" {
		return found, nil
	}
	return "", last
}

// linkOut moves a file from /tmp to places outside.
func linkOut(move func(from, to string) error) (string, error) {
	if err := os.WriteFile("/tmp/own", []byte("own"), 0o644); err != nil {
		return "write", err
	}
	var last error
	for _, to := range []string{"/var/task/out", "/opt/out", "/out", "/dev/shm/out", "/tmp/../out", "/proc/self/root/out"} {
		if last = move("/tmp/own", to); last == nil {
			return to, nil
		}
	}
	return "", last
}

// openByHandle takes the handle of a file and counts on, as the escape from
// early containers did.
func openByHandle() (string, error) {
	mount, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return "open", err
	}
	handle := struct {
		size uint32
		kind int32
		data [128]byte
	}{size: 8, kind: 1}
	for inode := range 16 {
		handle.data[0] = byte(inode)
		fd, _, errno := syscall.Syscall(unix.SYS_OPEN_BY_HANDLE_AT, uintptr(mount), uintptr(unsafe.Pointer(&handle)), unix.O_RDONLY)
		if errno == 0 {
			return fmt.Sprintf("inode %d as descriptor %d", inode, fd), nil
		}
		err = errno
	}
	return "", err
}

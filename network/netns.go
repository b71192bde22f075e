package network

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// threadNS is the calling thread's network namespace.
const threadNS = "/proc/thread-self/ns/net"

// within runs f on a thread that is in the network namespace ns. What f opens
// stays there: sockets, and files of /proc/sys/net.
func within(ns *os.File, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering a network namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own whose network namespace f may change.
// The thread is brought back afterwards, or given up where that fails.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// A goroutine that ends locked takes its thread with it.
		runtime.LockOSThread()
		before, err := os.Open(threadNS)
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer before.Close()
		err = f()
		if unix.Setns(int(before.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// newNamespace makes a network namespace, runs f inside and, if f succeeds,
// holds the namespace by a bind mount at path.
func newNamespace(path string, f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		if err := f(); err != nil {
			return err
		}
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o400)
		if err != nil {
			return err
		}
		file.Close()
		if err := unix.Mount(threadNS, path, "", unix.MS_BIND, ""); err != nil {
			os.Remove(path)
			return fmt.Errorf("holding a network namespace: %w", err)
		}
		return nil
	})
}

// holdDir mounts a small tmpfs at dir for namespaces to be held in: making a
// file takes far longer on a disk. The mounts in it are private, since a copy in
// another mount namespace would keep a network alive after its slot has gone.
func holdDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("kiln", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700,size=1m"); err != nil {
		return fmt.Errorf("mounting %s: %w", dir, err)
	}
	if err := unix.Mount("", dir, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", dir, err)
	}
	return nil
}

// letGo removes the hold of newNamespace, or undoes holdDir and with it all
// holds there. A namespace ends once no process is in it either.
func letGo(path string) error {
	for {
		// EINVAL: not, or no longer, a mount.
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmounting %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// sysctl sets a parameter of the calling thread's network namespace. The name
// is a path below /proc/sys.
func sysctl(name, value string) error {
	return os.WriteFile("/proc/sys/"+name, []byte(value), 0)
}

// readSysctl reads a parameter of the calling thread's network namespace.
func readSysctl(name string) (string, error) {
	b, err := os.ReadFile("/proc/sys/" + name)
	return strings.TrimSpace(string(b)), err
}

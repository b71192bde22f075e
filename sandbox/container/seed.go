package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// The seed is a mount namespace with next to nothing in it, that every sandbox
// begins as a copy of. A copy of the machine's own would cost time for each of
// its mounts, of which there are several for every sandbox, and the copied
// tree would have to be taken apart again.

// Places in the seed.
const (
	seedRoot = "/root" // a sandbox's root is mounted here, and then becomes the root
	seedDev  = "/dev"  // a finished /dev, read-only; the same for all
)

// device is a node of /dev.
type device struct {
	name         string
	major, minor uint32
}

var devices = []device{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

// deviceLinks are /dev's symbolic links.
var deviceLinks = map[string]string{
	"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
}

// makeSeed makes the namespace and returns a descriptor that keeps it.
func makeSeed() (namespace *os.File, err error) {
	onLostThread(func() { namespace, err = buildSeed() })
	if err != nil {
		return nil, fmt.Errorf("make the seed mount namespace: %w", err)
	}
	return namespace, nil
}

// onLostThread runs a function on a thread that ends with it. It is never the
// main thread, which cannot end, and whose namespaces /proc/self shows as the
// process's.
func onLostThread(call func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onLostThread(call) // gets another one, as this one is locked
			runtime.UnlockOSThread()
			return
		}
		call()
	}()
	<-done
}

// buildSeed turns the calling thread's mount namespace into a seed.
func buildSeed() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	// Any directory does to mount on; nobody else sees it.
	base := "/proc"
	namespace, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return nil, err
	}
	if err := fillSeed(base); err != nil {
		namespace.Close()
		return nil, err
	}
	return namespace, nil
}

func fillSeed(base string) error {
	if err := unix.Mount("kiln", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=64k,mode=755"); err != nil {
		return fmt.Errorf("mount seed: %w", err)
	}
	dev := filepath.Join(base, seedDev)
	if err := errors.Join(os.Mkdir(filepath.Join(base, seedRoot), 0o755), os.Mkdir(dev, 0o755)); err != nil {
		return err
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NOEXEC)
	if err := unix.Mount("dev", dev, "tmpfs", flags, "size=64k,mode=755"); err != nil {
		return fmt.Errorf("mount dev: %w", err)
	}
	for _, d := range devices {
		path := filepath.Join(dev, d.name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("make device %s: %w", d.name, err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			return err
		}
	}
	for name, target := range deviceLinks {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(dev, "shm"), 0o755); err != nil {
		return err
	}
	if err := unix.Mount("", dev, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("make dev read-only: %w", err)
	}
	if err := unix.Chdir(base); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return unix.Chdir("/")
}

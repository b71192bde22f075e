package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	mountFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME
	// ext4Options save work for content that is never looked at again.
	ext4Options = "noinit_itable,barrier=0"
	// rootMode is that of any /tmp.
	rootMode = 0o1777
	// inodesPerMB bounds the files of a volume: one for each 16 KB.
	inodesPerMB = 64
	maxInodes   = 131072

	// shutdownIoctl is FS_IOC_SHUTDOWN, which makes an ext4 forget what is not
	// written yet; its argument says not to write it first.
	shutdownIoctl   = 0x8004587d
	shutdownNoFlush = 2
)

func inodes(sizeMB int) int { return min(sizeMB*inodesPerMB, maxInodes) }

// mountMemory makes a volume of memory.
func mountMemory(path string, sizeMB int) error {
	options := fmt.Sprintf("size=%dm,nr_inodes=%d,mode=%o", sizeMB, inodes(sizeMB), rootMode)
	return os.NewSyscallError("mount", unix.Mount("tmpfs", path, "tmpfs", mountFlags, options))
}

// mountLoop makes a volume of a copy of the template for its size.
func (p *Pool) mountLoop(path string, sizeMB int) error {
	template, err := p.templates.get(sizeMB)
	if err != nil {
		return err
	}
	file, err := nameless(p.dir)
	if err != nil {
		return err
	}
	defer file.Close() // the loop device keeps it
	if err := copySparsely(file, template); err != nil {
		return err
	}
	return mountFile(file, path)
}

// mountFile mounts the file system in file at path.
func mountFile(file *os.File, path string) error {
	device, err := attachLoop(file)
	if err != nil {
		return err
	}
	defer device.Close() // the mount keeps it
	return os.NewSyscallError("mount", unix.Mount(device.Name(), path, "ext4", mountFlags, ext4Options))
}

// nameless returns a new file that takes space only as long as it is open,
// attached or mounted.
func nameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), filepath.Join(dir, "volume")), nil
	}
	file, err := os.CreateTemp(dir, ".volume-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// copySparsely copies what is not a hole and gives to the size of from.
func copySparsely(to, from *os.File) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if err := to.Truncate(info.Size()); err != nil {
		return err
	}
	// Reads and writes at offsets leave the shared position of from alone;
	// seeking for data uses a description of its own.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", from.Fd()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(fd)
	buffer := make([]byte, 64<<10)
	for at := int64(0); ; {
		begin, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole
		} else if err != nil {
			return os.NewSyscallError("seek", err)
		}
		end, err := unix.Seek(fd, begin, unix.SEEK_HOLE)
		if err != nil {
			return os.NewSyscallError("seek", err)
		}
		for at = begin; at < end; {
			chunk := buffer[:min(int64(len(buffer)), end-at)]
			if _, err := from.ReadAt(chunk, at); err != nil {
				return err
			}
			if _, err := to.WriteAt(chunk, at); err != nil {
				return err
			}
			at += int64(len(chunk))
		}
	}
}

// destroy unmounts the volume at path for good. Its content is forgotten rather
// than written back.
func destroy(path string) error {
	forget(path)
	err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if err != nil {
		return &os.PathError{Op: "umount", Path: path, Err: err}
	}
	return os.Remove(path)
}

// forget keeps the file system at path, if it is a volume on disk, from writing
// anything any more. It is not needed, but saves the disk the work.
func forget(path string) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil || stat.Type != unix.EXT4_SUPER_MAGIC {
		return
	}
	dir, err := os.Open(path)
	if err != nil {
		return
	}
	defer dir.Close()
	_ = unix.IoctlSetPointerInt(int(dir.Fd()), shutdownIoctl, shutdownNoFlush)
}

// sweep unmounts and removes everything in dir.
func sweep(dir string) error {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		// Spaces and the like are written as "\040".
		point, err := strconv.Unquote(`"` + strings.ReplaceAll(fields[4], `"`, `\"`) + `"`)
		if err != nil || !strings.HasPrefix(point, dir+"/") {
			continue
		}
		forget(point)
		if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return &os.PathError{Op: "umount", Path: point, Err: err}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

package image

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/erofs"
)

// unpackAt copies the files of an image to dir and makes it read-only.
func unpackAt(file, dir string) error {
	if err := unpack(file, dir); err != nil {
		os.RemoveAll(dir)
		return err
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		os.RemoveAll(dir)
		return os.NewSyscallError("mount", err)
	}
	const flags = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("", dir, "", flags, ""); err != nil {
		_ = detach(dir)
		return os.NewSyscallError("mount", err)
	}
	return nil
}

func unpack(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	image, err := erofs.OpenImage(f)
	if err != nil {
		f.Close()
		return err
	}
	defer image.Close() // closes the file
	return unpackNode(image, image.RootNid(), dir)
}

// unpackNode writes one file of the image, and what is below it, at path.
func unpackNode(image *erofs.Image, nid uint64, path string) error {
	n, err := image.Inode(nid)
	if err != nil {
		return err
	}
	switch {
	case n.IsSymlink():
		target, err := n.Readlink()
		if err != nil {
			return err
		}
		if err := os.Symlink(target, path); err != nil {
			return err
		}
		return os.Lchown(path, int(n.UID()), int(n.GID()))
	case n.IsDir():
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		err := n.IterDirents(func(name string, _ uint8, nid uint64) error {
			if name == "." || name == ".." {
				return nil
			}
			if filepath.Base(name) != name {
				return fmt.Errorf("the image has a file named %q", name)
			}
			return unpackNode(image, nid, filepath.Join(path, name))
		})
		if err != nil {
			return err
		}
	case n.IsRegular():
		if err := unpackFile(image, &n, path); err != nil {
			return err
		}
	default:
		return nil // devices are of no use where mounts forbid them
	}
	if err := os.Lchown(path, int(n.UID()), int(n.GID())); err != nil {
		return err
	}
	if err := unix.Chmod(path, uint32(n.Mode()&0o7777)); err != nil {
		return &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	modified := time.Unix(int64(n.Mtime()), int64(n.MtimeNsec()))
	return os.Chtimes(path, modified, modified)
}

func unpackFile(image *erofs.Image, n *erofs.Inode, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if n.Size() == 0 {
		return f.Close()
	}
	ranges, err := n.DataRanges()
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if r.Size == 0 {
			continue
		}
		content, err := image.BytesAt(r.Off, r.Size)
		if err != nil {
			return err
		}
		if _, err := f.Write(content); err != nil {
			return err
		}
	}
	return f.Close()
}

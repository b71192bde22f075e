package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// choose returns the first mode that works, found by trying with an empty image.
func choose(dir string) (Mode, error) {
	file := filepath.Join(dir, ".probe.erofs")
	if err := os.WriteFile(file, emptyImage(), 0o600); err != nil {
		return "", err
	}
	defer os.Remove(file)
	at := filepath.Join(dir, ".probe")
	var failures []error
	for _, mode := range []Mode{File, Loop, Unpack} {
		err := attach(mode, file, at)
		if err == nil {
			return mode, detach(at)
		}
		failures = append(failures, fmt.Errorf("%s: %w", mode, err))
	}
	return "", fmt.Errorf("no way to mount an image works: %w", errors.Join(failures...))
}

// emptyImage returns an erofs image whose root directory is empty.
func emptyImage() []byte {
	const (
		super = 1024
		inode = super + 128
		body  = inode + 64
		root  = inode / 32 // the number of the inode
	)
	b := make([]byte, 4096)
	le := binary.LittleEndian
	le.PutUint32(b[super:], 0xE0F5E1E2)
	b[super+12] = 12                    // log2 of the block size
	le.PutUint16(b[super+14:], root)    // root directory
	le.PutUint64(b[super+16:], 1)       // inodes
	le.PutUint32(b[super+36:], 1)       // blocks
	le.PutUint16(b[inode:], 1|2<<1)     // a long inode, its content beside it
	le.PutUint16(b[inode+4:], 0o040755) // mode
	le.PutUint64(b[inode+8:], 27)       // size: two entries of 12 bytes, three of names
	le.PutUint32(b[inode+16:], 1<<32-1) // no blocks
	le.PutUint32(b[inode+20:], 1)       // serial number
	le.PutUint32(b[inode+44:], 2)       // links
	for i, nameAt := range []uint16{24, 25} {
		entry := b[body+12*i:]
		le.PutUint64(entry, root)
		le.PutUint16(entry[8:], nameAt)
		entry[10] = 2 // directory
	}
	copy(b[body+24:], "...")
	return b
}

// sweep unmounts and removes everything in dir.
func sweep(dir string) error {
	points, err := mountPoints(dir)
	if err != nil {
		return err
	}
	// Later ones may lie over earlier ones.
	for i := len(points) - 1; i >= 0; i-- {
		if err := unix.Unmount(points[i], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return &os.PathError{Op: "umount", Path: points[i], Err: err}
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

// mountPoints returns the mount points below dir, in the order of mounting.
func mountPoints(dir string) ([]string, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		// Spaces and the like are written as "\040".
		point, err := strconv.Unquote(`"` + strings.ReplaceAll(fields[4], `"`, `\"`) + `"`)
		if err == nil && strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	return points, nil
}

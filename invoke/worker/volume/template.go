package volume

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// templates holds an empty file system of each size that was asked for, as a
// nameless sparse file: a few dozen blocks each.
type templates struct {
	dir   string
	mu    sync.Mutex
	files map[int]*template
}

type template struct {
	once sync.Once
	file *os.File
	err  error
}

// get returns the template for a size, which is only to be read at offsets. A
// failure to make it is forgotten.
func (t *templates) get(sizeMB int) (*os.File, error) {
	t.mu.Lock()
	if t.files == nil {
		t.files = map[int]*template{}
	}
	entry := t.files[sizeMB]
	if entry == nil {
		entry = &template{}
		t.files[sizeMB] = entry
	}
	t.mu.Unlock()
	entry.once.Do(func() { entry.file, entry.err = makeTemplate(t.dir, sizeMB) })
	if entry.err != nil {
		t.mu.Lock()
		if t.files[sizeMB] == entry {
			delete(t.files, sizeMB)
		}
		t.mu.Unlock()
	}
	return entry.file, entry.err
}

// close gives the templates back. Nobody uses them any more.
func (t *templates) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, entry := range t.files {
		if entry.file != nil {
			entry.file.Close()
		}
	}
	t.files = nil
}

const (
	blockSize = 4096
	// maxTries bounds the search for the size of the file; two are enough.
	maxTries = 5
)

// makeTemplate makes an empty file system in which sizeMB megabytes are free to
// write, which is less than its size by what the file system needs itself.
func makeTemplate(dir string, sizeMB int) (*os.File, error) {
	mkfs, err := findTool("mkfs.ext4")
	if err != nil {
		return nil, err
	}
	want := int64(sizeMB) << 20 / blockSize
	blocks := want + want/32 + int64(inodes(sizeMB))/16 + 1024
	for range maxTries {
		file, err := nameless(dir)
		if err != nil {
			return nil, err
		}
		free, err := format(mkfs, file, dir, blocks, inodes(sizeMB))
		if err != nil {
			file.Close()
			return nil, err
		}
		// What is over belongs to the last group, whose own needs may change by a few blocks.
		if surplus := free - want; surplus >= 0 && surplus < 64 {
			return file, nil
		} else if blocks -= surplus; surplus > 0 {
			blocks++
		}
		file.Close()
	}
	return nil, fmt.Errorf("no ext4 of %d MB comes out right", sizeMB)
}

// format makes a file system of a number of blocks in file and returns how many
// of them are free to write.
func format(mkfs string, file *os.File, dir string, blocks int64, inodes int) (free int64, err error) {
	if err := file.Truncate(blocks * blockSize); err != nil {
		return 0, err
	}
	// Everything is left out that a disk needs which is to survive something:
	// journal, checksums, copies of the superblock, reserves, room to grow.
	command := exec.Command(mkfs, "-q", "-F", "-b", fmt.Sprint(blockSize), "-I", "256", "-N", fmt.Sprint(inodes), "-m", "0",
		"-O", "none,extent,filetype,flex_bg,sparse_super2,uninit_bg,dir_index,dir_nlink,large_file,huge_file,extra_isize",
		"-E", "lazy_itable_init=1,nodiscard,num_backup_sb=0,root_owner=0:0", "/dev/fd/3", fmt.Sprint(blocks))
	command.ExtraFiles = []*os.File{file}
	if out, err := command.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", mkfs, err, strings.TrimSpace(string(out)))
	}
	path, err := os.MkdirTemp(dir, ".template-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	if err := mountFile(file, path); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.Unmount(path, unix.UMOUNT_NOFOLLOW)) }()
	if err := os.Remove(filepath.Join(path, "lost+found")); err != nil {
		return 0, err
	}
	if err := unix.Chmod(path, rootMode); err != nil {
		return 0, &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return int64(stat.Bavail), nil
}

// findTool looks in the system's directories too, which users' paths may lack.
func findTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	if err != nil {
		return "", fmt.Errorf("%s is needed, of the package e2fsprogs: %w", name, err)
	}
	return path, nil
}

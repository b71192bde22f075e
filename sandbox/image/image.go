// Package image makes erofs images visible as directories of the host: runtimes'
// root file systems and functions' code, shared by all sandboxes that use them.
//
// Every directory is read-only, without set-user-ID programs and devices. Mounting
// is cheap where the kernel takes a file (Linux 6.12) and dear where images must
// be unpacked, so images stay mounted for a while after their last use.
package image

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Mode is a way to make images visible.
type Mode string

// The modes, best first.
const (
	// File mounts an image straight from its file.
	File Mode = "file"
	// Loop mounts an image from a loop device.
	Loop Mode = "loop"
	// Unpack copies an image's files to a directory. It needs no erofs in the
	// kernel, but the time and the space for the copy.
	Unpack Mode = "unpack"
)

// Config says how a Mounter works.
type Config struct {
	// Dir is for the mount points; the Mounter has it to itself.
	Dir string
	// Mode is the only one to use; "" means the first one that works here.
	Mode Mode
	// Keep is how many images stay mounted that nobody uses; 0 means 64, and
	// negative none.
	Keep int
}

const defaultKeep = 64

// ErrClosed is returned by Mount after Close.
var ErrClosed = errors.New("the mounter is closed")

// Mounter mounts images. Use: Open, any methods, Close. It is safe for
// concurrent use, also of one image.
type Mounter struct {
	dir  string
	mode Mode
	keep int

	mu     sync.Mutex
	closed bool
	mounts map[string]*mount // by file
	idle   *list.List        // of *mount with no users; most recently used in front
	serial int               // of the last mount, in its directory's name

	leaving sync.WaitGroup // unmounts that go on
}

// mount is an image that is mounted or being mounted. Its fields are guarded by
// Mounter.mu, but for those that are set once before ready is closed.
type mount struct {
	file  string
	dir   string
	ready chan struct{}
	err   error // set before ready is closed
	users int   // callers of Mount, waiting ones too, that have not released
	idle  *list.Element
}

// Open returns a Mounter. It removes what an earlier process left in the
// directory, mounts too.
func Open(cfg Config) (*Mounter, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	// Mount points are listed by their real paths.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	if err := sweep(dir); err != nil {
		return nil, fmt.Errorf("images: clean up %s: %w", dir, err)
	}
	m := &Mounter{dir: dir, mode: cfg.Mode, keep: cfg.Keep, mounts: map[string]*mount{}, idle: list.New()}
	if m.keep == 0 {
		m.keep = defaultKeep
	}
	if m.mode == "" {
		if m.mode, err = choose(dir); err != nil {
			return nil, fmt.Errorf("images: %w", err)
		}
	}
	return m, nil
}

// Mode returns the mode in use.
func (m *Mounter) Mode() Mode { return m.mode }

// Mount makes the image in file visible and returns the directory. It stays so
// until release, which may be called more than once, and for a while afterwards.
// The file must keep its content for as long as its path is used; it may be
// deleted while it is mounted.
func (m *Mounter) Mount(ctx context.Context, file string) (dir string, release func(), err error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return "", nil, ErrClosed
	}
	entry := m.mounts[file]
	if entry == nil {
		m.serial++
		entry = &mount{file: file, dir: filepath.Join(m.dir, nameOf(file, m.serial)), ready: make(chan struct{})}
		m.mounts[file] = entry
		go m.mount(entry)
	}
	entry.users++
	if entry.idle != nil {
		m.idle.Remove(entry.idle)
		entry.idle = nil
	}
	m.mu.Unlock()

	select {
	case <-entry.ready:
	case <-ctx.Done():
		m.release(entry)
		return "", nil, ctx.Err()
	}
	if entry.err != nil {
		return "", nil, fmt.Errorf("mount image %s: %w", file, entry.err)
	}
	return entry.dir, sync.OnceFunc(func() { m.release(entry) }), nil
}

// mount mounts an image for all that wait for it. A failure is forgotten, so that
// the next call tries again.
func (m *Mounter) mount(entry *mount) {
	err := attach(m.mode, entry.file, entry.dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	if entry.err = err; err != nil {
		delete(m.mounts, entry.file)
	} else if entry.users == 0 && !m.closed {
		m.park(entry) // all who waited have given up
	}
	close(entry.ready)
}

func (m *Mounter) release(entry *mount) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if entry.users--; entry.users > 0 || m.closed {
		return
	}
	select {
	case <-entry.ready:
		if entry.err == nil {
			m.park(entry)
		}
	default: // mount parks it
	}
}

// park keeps an image without users mounted and has those unused the longest
// unmounted. It is called with mu held. Unmounting takes milliseconds; meanwhile
// the image may be mounted again, at another directory.
func (m *Mounter) park(entry *mount) {
	entry.idle = m.idle.PushFront(entry)
	for m.idle.Len() > max(m.keep, 0) {
		oldest := m.idle.Remove(m.idle.Back()).(*mount)
		oldest.idle = nil
		delete(m.mounts, oldest.file)
		// What cannot be removed now is swept by Close.
		m.leaving.Go(func() { _ = detach(oldest.dir) })
	}
}

// Close unmounts all images. Those still in use disappear from the directory at
// once and from the machine with their last user, and their releases do nothing.
func (m *Mounter) Close() error {
	m.mu.Lock()
	m.closed = true // from here on nothing but this call unmounts
	var pending []*mount
	for _, entry := range m.mounts {
		pending = append(pending, entry)
	}
	m.mu.Unlock()
	for _, entry := range pending {
		<-entry.ready
	}
	m.leaving.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mounts = map[string]*mount{}
	return sweep(m.dir)
}

// nameOf returns the name of an image's mount point, which people recognize.
func nameOf(file string, serial int) string {
	base := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	return fmt.Sprintf("%.40s-%d", base, serial)
}

// attach makes the image in file visible at dir. On error nothing is left.
func attach(mode Mode, file, dir string) error {
	if mode == Unpack {
		return unpackAt(file, dir)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	source := file
	if mode == Loop {
		device, err := attachLoop(file)
		if err != nil {
			os.Remove(dir)
			return err
		}
		// The device frees itself when the last one closes it: the mount, from here on.
		defer device.Close()
		source = device.Name()
	}
	if err := unix.Mount(source, dir, "erofs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		os.Remove(dir)
		return os.NewSyscallError("mount", err)
	}
	return nil
}

// detach undoes attach.
func detach(dir string) error {
	err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(dir, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if err != nil {
		return os.NewSyscallError("umount", err)
	}
	if err := os.Remove(dir); !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return os.RemoveAll(dir) // what was unpacked
}

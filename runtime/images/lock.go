package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockInterval is how often a busy lock is tried again: builds take seconds.
const lockInterval = 100 * time.Millisecond

// locked runs fn while no one else, in this process or another, changes the
// store. The lock goes with the process, so a killed one leaves none behind.
func (s *Store) locked(ctx context.Context, progress func(string), fn func(note func(string)) (Image, error)) (Image, error) {
	note := progress
	if note == nil {
		note = func(string) {}
	}
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return Image{}, fmt.Errorf("runtime images: %w", err)
	}
	defer f.Close()
	for waited := false; ; waited = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return Image{}, fmt.Errorf("lock runtime images: %w", err)
		}
		if !waited {
			note("waiting for another build to finish")
		}
		select {
		case <-ctx.Done():
			return Image{}, ctx.Err()
		case <-time.After(lockInterval):
		}
	}
	return fn(note)
}

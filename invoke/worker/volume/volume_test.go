package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func openPool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "with a space")
	}
	p, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if n := len(mounts(t, p.dir)); n != 0 {
			t.Errorf("%d mounts are left", n)
		}
		if entries, err := os.ReadDir(p.dir); err != nil || len(entries) != 0 {
			t.Errorf("left: %v, %v", entries, err)
		}
	})
	return p
}

func acquire(t testing.TB, p *Pool, sizeMB int) *Volume {
	t.Helper()
	v, err := p.Acquire(t.Context(), sizeMB)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// eachMode runs f with the modes that this machine has.
func eachMode(t *testing.T, f func(t *testing.T, mode Mode)) {
	for _, mode := range []Mode{Loop, Memory} {
		t.Run(string(mode), func(t *testing.T) {
			if mode == Loop {
				if best, why := openPool(t, Config{Ready: -1}).Mode(); best != Loop {
					t.Skipf("not on this machine: %v", why)
				}
			}
			f(t, mode)
		})
	}
}

func mounts(t testing.TB, dir string) []string {
	t.Helper()
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, strings.ReplaceAll(dir, " ", `\040`)+"/") {
			found = append(found, line)
		}
	}
	return found
}

func TestVolume(t *testing.T) {
	eachMode(t, func(t *testing.T, mode Mode) {
		for _, sizeMB := range []int{512, 513, 1000, 10240} {
			p := openPool(t, Config{Mode: mode, Ready: -1})
			v := acquire(t, p, sizeMB)
			var stat unix.Statfs_t
			if err := unix.Statfs(v.Path, &stat); err != nil {
				t.Fatal(err)
			}
			if free, want := int64(stat.Bavail)*stat.Bsize, int64(sizeMB)<<20; free < want || free > want+1<<20 {
				t.Errorf("%d MB: %d bytes are free, want %d", sizeMB, free, want)
			}
			if stat.Files > uint64(inodes(sizeMB))*11/10 || stat.Files < uint64(inodes(sizeMB)) {
				t.Errorf("%d MB: %d files", sizeMB, stat.Files)
			}
			if stat.Flags&(unix.ST_NOSUID|unix.ST_NODEV|unix.ST_NOEXEC) != unix.ST_NOSUID|unix.ST_NODEV {
				t.Errorf("flags %x", stat.Flags)
			}
			if info, err := os.Stat(v.Path); err != nil || info.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
				t.Errorf("root: %v, %v", info, err)
			}
			if entries, err := os.ReadDir(v.Path); err != nil || len(entries) != 0 {
				t.Errorf("it begins with %v, %v", entries, err)
			}
			p.Release(v)
			p.Release(v)
		}
	})
}

// fillUp writes to path until it can't and returns how much it was.
func fillUp(t testing.TB, path string) (written int64, err error) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for written < 2<<30 {
		n, err := f.Write(chunk)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func TestFull(t *testing.T) {
	eachMode(t, func(t *testing.T, mode Mode) {
		p := openPool(t, Config{Mode: mode, Ready: -1})
		full, other := acquire(t, p, 64), acquire(t, p, 64)
		written, err := fillUp(t, filepath.Join(full.Path, "file"))
		if !errors.Is(err, unix.ENOSPC) || written < 64<<20-1<<20 || written > 64<<20 {
			t.Errorf("%d bytes were written, then %v", written, err)
		}
		if err := os.WriteFile(filepath.Join(other.Path, "file"), make([]byte, 1<<20), 0o600); err != nil {
			t.Errorf("another volume: %v", err)
		}
		if err := os.Remove(filepath.Join(full.Path, "file")); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(full.Path, "again"), make([]byte, 1<<20), 0o600); err != nil {
			t.Errorf("after room was made: %v", err)
		}
		for i := 0; ; i++ {
			f, err := os.Create(filepath.Join(other.Path, fmt.Sprint(i)))
			if errors.Is(err, unix.ENOSPC) {
				break
			} else if err != nil || i > 2*inodes(64) {
				t.Fatalf("file %d: %v", i, err)
			}
			f.Close()
		}
	})
}

func TestVolumesShareNothing(t *testing.T) {
	eachMode(t, func(t *testing.T, mode Mode) {
		p := openPool(t, Config{Mode: mode})
		paths := map[string]bool{}
		for range 10 {
			v := acquire(t, p, 64)
			if paths[v.Path] {
				t.Errorf("%s is used again", v.Path)
			}
			paths[v.Path] = true
			if entries, err := os.ReadDir(v.Path); err != nil || len(entries) != 0 {
				t.Errorf("it begins with %v, %v", entries, err)
			}
			if err := os.WriteFile(filepath.Join(v.Path, "secret"), []byte("secret"), 0o644); err != nil {
				t.Error(err)
			}
			p.Release(v)
		}
	})
}

// TestOpenFileOutlivesRelease has a process that is still ending.
func TestOpenFileOutlivesRelease(t *testing.T) {
	eachMode(t, func(t *testing.T, mode Mode) {
		p := openPool(t, Config{Mode: mode, Ready: -1})
		v := acquire(t, p, 64)
		f, err := os.Create(filepath.Join(v.Path, "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p.Release(v)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if n := len(mounts(t, p.dir)); n != 0 {
			t.Errorf("%d mounts", n)
		}
	})
}

func TestMadeAhead(t *testing.T) {
	p := openPool(t, Config{Ready: 2})
	settle := func() map[int]int {
		for { // until the filler has nothing left to do
			if _, missing := p.missing(); !missing {
				break
			}
			p.wake()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		ready := map[int]int{}
		for size, volumes := range p.ready {
			ready[size] = len(volumes)
		}
		return ready
	}
	if got := fmt.Sprint(settle()); got != "map[512:2]" {
		t.Errorf("at first: %s", got)
	}
	for _, size := range []int{20, 21, 22, 23} {
		p.Release(acquire(t, p, size))
	}
	if got := fmt.Sprint(settle()); got != "map[20:2 21:2 22:2 23:2]" {
		t.Errorf("after four other sizes: %s", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	p := openPool(t, Config{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				v, err := p.Acquire(t.Context(), 20+(i+j)%6)
				if err != nil {
					t.Error(err)
					return
				}
				name := filepath.Join(v.Path, "file")
				if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("somebody has been here: %v", err)
				}
				if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
					t.Error(err)
				}
				p.Release(v)
			}
		})
	}
	wg.Wait()
}

func TestAcquireFails(t *testing.T) {
	p := openPool(t, Config{Ready: -1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Acquire(ctx, 512); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := p.Acquire(t.Context(), 0); err == nil {
		t.Error("a volume of 0 MB is made")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Acquire(t.Context(), 512); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestSweep opens a directory whose last owner was killed.
func TestSweep(t *testing.T) {
	eachMode(t, func(t *testing.T, mode Mode) {
		first := openPool(t, Config{Mode: mode, Ready: -1})
		v := acquire(t, first, 64)
		if err := os.WriteFile(filepath.Join(v.Path, "file"), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		second := openPool(t, Config{Mode: mode, Ready: -1, Dir: first.dir})
		if left, _ := os.ReadDir(first.dir); len(left) != 0 || len(mounts(t, first.dir)) != 0 {
			t.Errorf("left: %v", left)
		}
		acquire(t, second, 64)
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkVolume(b *testing.B) {
	for _, mode := range []Mode{Loop, Memory} {
		b.Run(string(mode)+"/make", func(b *testing.B) {
			p := openPool(b, Config{Mode: mode, Ready: -1})
			p.Release(acquire(b, p, 512))
			var all []*Volume
			for b.Loop() {
				all = append(all, acquire(b, p, 512))
			}
			b.StopTimer()
			for _, v := range all {
				p.Release(v)
			}
		})
		for _, dirtyMB := range []int{0, 100} {
			b.Run(fmt.Sprintf("%s/destroy-%dMB", mode, dirtyMB), func(b *testing.B) {
				p := openPool(b, Config{Mode: mode, Ready: -1})
				content := make([]byte, dirtyMB<<20)
				for b.Loop() {
					b.StopTimer()
					v := acquire(b, p, 512)
					if err := os.WriteFile(filepath.Join(v.Path, "x"), content, 0o600); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					if err := destroy(v.Path); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"kiln/store/erofs"
)

// newImage writes an image with a file "name" that holds name.
func newImage(t testing.TB, name string) string {
	t.Helper()
	text := func(name string, mode fs.FileMode, content string) *erofs.Node {
		return &erofs.Node{Name: name, Mode: mode, Modified: 1700000000, Size: int64(len(content)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
	}
	root := &erofs.Node{Mode: fs.ModeDir | 0o755, Children: []*erofs.Node{
		text("name", 0o640, name), text("program", 0o755, strings.Repeat("#", 10000)), text("empty", 0o600, ""),
		{Name: "lib", Mode: fs.ModeDir | 0o700, Modified: 1600000000, Children: []*erofs.Node{
			{Name: "link", Mode: fs.ModeSymlink | 0o777, Target: "../name"},
		}},
	}}
	f, err := os.Create(filepath.Join(t.TempDir(), name+".erofs"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := erofs.Write(f, root)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func openMounter(t testing.TB, cfg Config) *Mounter {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "with a space and \\")
	}
	m, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func eachMode(t *testing.T, f func(t *testing.T, mode Mode)) {
	for _, mode := range []Mode{File, Loop, Unpack} {
		t.Run(string(mode), func(t *testing.T) {
			probe := openMounter(t, Config{Mode: mode})
			_, release, err := probe.Mount(t.Context(), newImage(t, "probe"))
			if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOTBLK) || errors.Is(err, fs.ErrNotExist) {
				t.Skipf("not on this machine: %v", err)
			} else if err != nil {
				t.Fatal(err)
			}
			release()
			f(t, mode)
		})
	}
}

func mounted(t testing.TB, m *Mounter) int {
	t.Helper()
	points, err := mountPoints(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(points)
}

func TestMount(t *testing.T) {
	eachMode(t, func(t *testing.T, mode Mode) {
		m := openMounter(t, Config{Mode: mode, Keep: -1})
		dir, release, err := m.Mount(t.Context(), newImage(t, "one"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "lib/link")); err != nil || string(b) != "one" {
			t.Errorf("through the link: %q, %v", b, err)
		}
		for name, want := range map[string]fs.FileMode{"name": 0o640, "program": 0o755, "empty": 0o600, "lib": fs.ModeDir | 0o700} {
			info, err := os.Lstat(filepath.Join(dir, name))
			if err != nil || info.Mode() != want {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		if info, err := os.Stat(filepath.Join(dir, "name")); err != nil || info.ModTime().Unix() != 1700000000 {
			t.Errorf("modified: %v, %v", info, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "name"), nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("write: %v", err)
		}
		var stat unix.Statfs_t
		if err := unix.Statfs(dir, &stat); err != nil || stat.Flags&(unix.ST_RDONLY|unix.ST_NOSUID|unix.ST_NODEV) != unix.ST_RDONLY|unix.ST_NOSUID|unix.ST_NODEV {
			t.Errorf("flags %x, %v", stat.Flags, err)
		}
		release()
		release()
		m.leaving.Wait()
		if n := mounted(t, m); n != 0 {
			t.Errorf("%d mounts after release", n)
		}
		if left, _ := os.ReadDir(m.dir); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

func TestMountFails(t *testing.T) {
	eachMode(t, func(t *testing.T, mode Mode) {
		m := openMounter(t, Config{Mode: mode})
		file := filepath.Join(t.TempDir(), "x.erofs")
		for name, content := range map[string]string{"": "", "no image": strings.Repeat("x", 8192)} {
			if name != "" {
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := m.Mount(t.Context(), file); err == nil {
				t.Errorf("%q is mounted", name)
			}
		}
		if left, _ := os.ReadDir(m.dir); len(left) != 0 || mounted(t, m) != 0 {
			t.Errorf("left: %v", left)
		}
		// A failure is not remembered.
		b, err := os.ReadFile(newImage(t, "good"))
		if err == nil {
			err = os.WriteFile(file, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.Mount(t.Context(), file); err != nil {
			t.Error(err)
		}
	})
}

func TestSharing(t *testing.T) {
	m := openMounter(t, Config{Keep: 1})
	a, b := newImage(t, "a"), newImage(t, "b")
	dir1, release1, err := m.Mount(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	dir2, release2, err := m.Mount(t.Context(), a)
	if err != nil || dir1 != dir2 || mounted(t, m) != 1 {
		t.Fatalf("mounted again at %s, first at %s: %v", dir2, dir1, err)
	}
	release1()
	release1() // counts once
	if _, err := os.Stat(filepath.Join(dir2, "name")); err != nil {
		t.Errorf("gone with its first user: %v", err)
	}
	release2() // idle, kept
	if _, err := os.Stat(filepath.Join(dir1, "name")); err != nil {
		t.Errorf("not kept: %v", err)
	}
	_, releaseB, err := m.Mount(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if mounted(t, m) != 2 {
		t.Errorf("%d mounts", mounted(t, m))
	}
	releaseB() // b is the one that is kept now
	m.leaving.Wait()
	if _, err := os.Stat(dir1); !os.IsNotExist(err) {
		t.Errorf("a is still there: %v", err)
	}
	if mounted(t, m) != 1 {
		t.Errorf("%d mounts", mounted(t, m))
	}
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	dir, _, err := m.Mount(t.Context(), b) // from what is kept
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "name")); err != nil || string(got) != "b" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestUnmountWhileOpen has the directory go and the open file stay.
func TestUnmountWhileOpen(t *testing.T) {
	m := openMounter(t, Config{Keep: -1})
	dir, release, err := m.Mount(t.Context(), newImage(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "name"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	release()
	m.leaving.Wait()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory: %v", err)
	}
	if b, err := io.ReadAll(f); err != nil || string(b) != "a" {
		t.Errorf("the file: %q, %v", b, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	m := openMounter(t, Config{Keep: 2})
	files := make([]string, 5)
	for i := range files {
		files[i] = newImage(t, fmt.Sprint("image", i))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				i := rand.IntN(len(files))
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(4) == 0 {
					cancel() // gives up while others wait
				}
				dir, release, err := m.Mount(ctx, files[i])
				cancel()
				if errors.Is(err, context.Canceled) {
					continue
				} else if err != nil {
					t.Error(err)
					continue
				}
				if b, err := os.ReadFile(filepath.Join(dir, "name")); err != nil || string(b) != fmt.Sprint("image", i) {
					t.Errorf("%q, %v", b, err)
				}
				release()
			}
		})
	}
	wg.Wait()
	m.leaving.Wait()
	if n := mounted(t, m); n > 2 {
		t.Errorf("%d mounts are kept", n)
	}
}

func TestSweepAndClose(t *testing.T) {
	eachMode(t, func(t *testing.T, mode Mode) {
		first := openMounter(t, Config{Mode: mode})
		file := newImage(t, "a")
		_, releaseOld, err := first.Mount(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		// As after a crash: the first one is not closed.
		second := openMounter(t, Config{Dir: first.dir, Mode: mode})
		if n := mounted(t, second); n != 0 {
			t.Errorf("%d mounts are left", n)
		}
		dir, release, err := second.Mount(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("after close: %v", err)
		}
		release()
		releaseOld()
		if _, _, err := second.Mount(t.Context(), file); !errors.Is(err, ErrClosed) {
			t.Errorf("mount after close: %v", err)
		}
	})
}

func TestChoose(t *testing.T) {
	m := openMounter(t, Config{})
	if m.Mode() != File && m.Mode() != Loop && m.Mode() != Unpack {
		t.Errorf("mode %q", m.Mode())
	}
	if left, _ := os.ReadDir(m.dir); len(left) != 0 || mounted(t, m) != 0 {
		t.Errorf("left by the choice: %v", left)
	}
	t.Logf("images are mounted by %s", m.Mode())
}

func BenchmarkMount(b *testing.B) {
	file := newImage(b, "a")
	for _, mode := range []Mode{File, Loop, Unpack} {
		for name, keep := range map[string]int{"cold": -1, "kept": 1} {
			b.Run(fmt.Sprint(mode, "/", name), func(b *testing.B) {
				m := openMounter(b, Config{Mode: mode, Keep: keep})
				for b.Loop() {
					_, release, err := m.Mount(b.Context(), file)
					if err != nil {
						b.Fatal(err)
					}
					release()
				}
			})
		}
	}
}

package packages

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"kiln/lambda"
	"kiln/store/blob"
)

const account = "000000000000"

func intake(t testing.TB, s *Service, archive []byte) lambda.Package {
	t.Helper()
	pkg, err := s.Intake(t.Context(), account, archive)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

func content(t testing.TB, s *Service, key string) []byte {
	t.Helper()
	r, _, err := s.blobs.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIntakeStores(t *testing.T) {
	s := service(t, Options{})
	archive := pack(t, entry{"index.js", 0o100644, "exports"}, entry{"lib/a.js", 0o100644, "a"})
	pkg := intake(t, s, archive)
	digest := sha256.Sum256(archive)
	if want := base64.StdEncoding.EncodeToString(digest[:]); pkg.SHA256 != want {
		t.Errorf("SHA256 %s, want %s", pkg.SHA256, want)
	}
	if pkg.Size != int64(len(archive)) || pkg.UnzippedSize != 8 {
		t.Errorf("sizes %d and %d", pkg.Size, pkg.UnzippedSize)
	}
	if want := fmt.Sprintf("code/archives/%x/%x.zip", digest[:1], digest); pkg.Archive != want {
		t.Errorf("archive %s, want %s", pkg.Archive, want)
	}
	if again := intake(t, s, archive); again != pkg {
		t.Errorf("taken in again: %+v, first %+v", again, pkg)
	}
	if other := intake(t, s, pack(t, entry{"index.js", 0o100644, "other"})); other.Image == pkg.Image || other.Archive == pkg.Archive {
		t.Errorf("two packages share a name: %+v", other)
	}
	r, err := s.OpenArchive(t.Context(), pkg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, archive) {
		t.Errorf("archive of %d bytes, %v", len(got), err)
	}
	if _, err := s.OpenArchive(t.Context(), lambda.Package{Archive: "code/archives/00/0.zip"}); lambda.CodeOf(err) != lambda.CodeNotFound {
		t.Errorf("archive that is not there: %v", err)
	}
}

func TestImageIsDeterministic(t *testing.T) {
	archive := pack(t, entry{"b", 0o100755, "b"}, entry{"a", 0o100644, "a"}, entry{"c/d", 0o120777, "../a"})
	var images [2][]byte
	for i := range images {
		s := service(t, Options{})
		pkg := intake(t, s, archive)
		if err := s.BuildImage(t.Context(), pkg); err != nil {
			t.Fatal(err)
		}
		images[i] = content(t, s, pkg.Image)
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the same archive gave two images")
	}
}

func TestImageMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	s := service(t, Options{})
	pkg := intake(t, s, pack(t, entry{"bootstrap", 0o100755, "#!/bin/sh\n"}, entry{"lib/x", 0o100600, "x"}, entry{"l", 0o120777, "lib/x"}))
	if err := s.BuildImage(t.Context(), pkg); err != nil {
		t.Fatal(err)
	}
	file, err := s.blobs.(blob.Local).Path(pkg.Image)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err = unix.Mount(file, dir, "erofs", unix.MS_RDONLY, "")
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOTBLK) {
		t.Skipf("this kernel mounts no erofs from a file: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	for name, want := range map[string]os.FileMode{"bootstrap": 0o755, "lib": 0o755 | os.ModeDir, "lib/x": 0o600, "l": 0o777 | os.ModeSymlink} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "l")); err != nil || string(b) != "x" {
		t.Errorf("through the link: %q, %v", b, err)
	}
}

// gate is a store whose reads of archives wait until they may go on.
type gate struct {
	blob.Store
	open chan struct{}
	gets atomic.Int32
}

func (g *gate) Get(ctx context.Context, key string) (io.ReadCloser, blob.Info, error) {
	g.gets.Add(1)
	<-g.open
	return g.Store.Get(ctx, key)
}

func TestBuildsOnce(t *testing.T) {
	s := service(t, Options{})
	pkg := intake(t, s, pack(t, entry{"a", 0o100644, "a"}))
	g := &gate{Store: s.blobs, open: make(chan struct{})}
	s.blobs = g

	// The first caller gives up; the build goes on for the others.
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { first <- s.BuildImage(ctx, pkg) }()
	for g.gets.Load() == 0 {
		runtime.Gosched()
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first caller: %v", err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.BuildImage(t.Context(), pkg); err != nil {
				t.Error(err)
			}
		})
	}
	close(g.open)
	wg.Wait()
	if err := s.BuildImage(t.Context(), pkg); err != nil {
		t.Error(err)
	}
	if n := g.gets.Load(); n != 1 {
		t.Errorf("built %d times", n)
	}
	if _, err := s.blobs.Stat(t.Context(), pkg.Image); err != nil {
		t.Error(err)
	}
}

// remote is a store whose readers cannot seek.
type remote struct{ blob.Store }

func (r remote) Get(ctx context.Context, key string) (io.ReadCloser, blob.Info, error) {
	file, info, err := r.Store.Get(ctx, key)
	return struct{ io.ReadCloser }{file}, info, err
}

func TestBuildsFromStoreThatOnlyStreams(t *testing.T) {
	s := service(t, Options{})
	pkg := intake(t, s, pack(t, entry{"a", 0o100644, "a"}))
	s.blobs = remote{s.blobs}
	if err := s.BuildImage(t.Context(), pkg); err != nil {
		t.Fatal(err)
	}
	if b := content(t, s, pkg.Image); len(b)%4096 != 0 || len(b) == 0 {
		t.Errorf("image of %d bytes", len(b))
	}
}

func TestBuildFails(t *testing.T) {
	s := service(t, Options{})
	archive := pack(t, entry{"a", 0o100644, "a"})
	pkg := intake(t, s, archive)
	if err := s.blobs.Delete(t.Context(), pkg.Archive); err != nil {
		t.Fatal(err)
	}
	if err := s.BuildImage(t.Context(), pkg); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("without its archive: %v", err)
	}
	// A failure is not remembered.
	intake(t, s, archive)
	if err := s.BuildImage(t.Context(), pkg); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(s.options.WorkDir)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the work directory: %v, %v", left, err)
	}
}

func TestNewSweepsWorkDir(t *testing.T) {
	s := service(t, Options{})
	left := filepath.Join(s.options.WorkDir, workPrefix+"123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(s.blobs, s.options); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("left: %v", err)
	}
}

// BenchmarkPackage takes in and builds a package of 53 MB in 1,000 files.
func BenchmarkPackage(b *testing.B) {
	entries := make([]entry, 1000)
	text := randomText(26 << 10)
	for i := range entries {
		entries[i] = entry{fmt.Sprintf("node_modules/%d/%d.js", i%50, i), 0o100644, fmt.Sprint(i) + text + text}
	}
	archive := pack(b, entries...)
	b.Run("intake", func(b *testing.B) {
		s := service(b, Options{})
		for b.Loop() {
			intake(b, s, archive)
		}
	})
	b.Run("build", func(b *testing.B) {
		s := service(b, Options{})
		pkg := intake(b, s, archive)
		for b.Loop() {
			if err := s.blobs.Delete(b.Context(), pkg.Image); err != nil {
				b.Fatal(err)
			}
			if err := s.BuildImage(b.Context(), pkg); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package images

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"kiln/lambda"
)

// file is a tar entry: a directory if the name ends in a slash, a symbolic or
// hard link if content begins with -> or =>.
type file struct{ name, content string }

func tarOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o755, Typeflag: tar.TypeReg, Size: int64(len(f.content))}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if target, ok := strings.CutPrefix(f.content, "->"); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		if target, ok := strings.CutPrefix(f.content, "=>"); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, target, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(f.content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// push puts an image of the layers into a registry in this process and
// returns its reference.
func push(t *testing.T, config v1.Config, layers ...[]byte) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	img := empty.Image
	var err error
	for _, data := range layers {
		layer, lerr := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		if lerr != nil {
			t.Fatal(lerr)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	if img, err = mutate.Config(img, config); err != nil {
		t.Fatal(err)
	}
	reference := strings.TrimPrefix(server.URL, "http://") + "/lambda/base:1"
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return reference
}

// unsealed unpacks an image with erofs-utils, for tests to look into.
func unsealed(t *testing.T, img Image) tree {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command("fsck.erofs", "--extract="+dir, img.Path).CombinedOutput(); err != nil {
		t.Fatalf("fsck.erofs: %v: %s", err, out)
	}
	return tree{dir}
}

func pullStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPullFlattensLayers(t *testing.T) {
	s := pullStore(t)
	reference := push(t, v1.Config{Env: []string{"LANG=C", "EXTRA=1"}, Entrypoint: []string{"/lambda-entrypoint.sh"}},
		tarOf(t, file{"usr/bin/", ""}, file{"bin", "->usr/bin"}, file{"usr/bin/sh", "shell"},
			file{"gone", "x"}, file{"dir/", ""}, file{"dir/old", "x"}, file{"dir/deep/older", "x"}, file{"was-dir/f", "x"},
			file{"abs", "->/usr/bin"}, file{"var/runtime/bootstrap", "aws"}, file{"tmp/", ""}),
		tarOf(t, file{".wh.gone", ""}, file{"dir/new", "n"}, file{"dir/.wh..wh..opq", ""}, file{"bin/tool", "t"},
			file{"abs/other", "o"}, file{"hard", "=>usr/bin/sh"}, file{"was-dir", "file"}, file{"../../escape", "e"},
			file{"out", "->../../../../../../etc"}, file{"out/passwd", "inside"}),
	)
	var steps []string
	img, err := s.Pull(context.Background(), "python3.11", reference, func(step string) { steps = append(steps, step) })
	if err != nil {
		t.Fatal(err)
	}
	root := unsealed(t, img)
	for name, want := range map[string]string{
		"/usr/bin/sh": "shell", "/usr/bin/tool": "t", "/usr/bin/other": "o", "/hard": "shell", "/dir/new": "n",
		"/was-dir": "file", "/escape": "e", "/etc/passwd": "inside", "/var/runtime/bootstrap": "aws",
	} {
		p, err := root.host(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(p); string(got) != want {
			t.Errorf("%s is %q, want %q (%v)", name, got, want, err)
		}
	}
	for _, name := range []string{"/gone", "/dir/old", "/dir/deep", "/dir/.wh..wh..opq"} {
		if root.exists(name) {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range []string{"/proc", "/dev", "/var/task", "/opt", "/etc/resolv.conf", "/etc/hosts"} {
		if !root.exists(name) {
			t.Errorf("%s is missing, and something is mounted there", name)
		}
	}
	if !slices.Equal(img.Entrypoint, []string{"/var/runtime/bootstrap"}) {
		t.Errorf("entry point %q", img.Entrypoint)
	}
	for _, want := range []string{"LANG=C", "EXTRA=1", "LAMBDA_TASK_ROOT=/var/task"} {
		if !slices.Contains(img.Env, want) {
			t.Errorf("environment %q has no %s", img.Env, want)
		}
	}
	if slices.Contains(img.Env, "LANG=en_US.UTF-8") || len(steps) == 0 {
		t.Errorf("environment %q, steps %q", img.Env, steps)
	}
	if again, err := s.Ensure(context.Background(), "python3.11", nil); err != nil || again.Digest != img.Digest {
		t.Errorf("Ensure: %+v, %v", again, err)
	}
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(st Status) bool { return st.Runtime == "python3.11" })
	if st := list[i]; !st.Built || st.Source != reference || st.Size != img.Size {
		t.Errorf("%+v", st)
	}
}

// An image with an interpreter alone gets our bootstrap; one with nothing to
// run is refused.
func TestPullEntrypoints(t *testing.T) {
	s := pullStore(t)
	bare := push(t, v1.Config{}, tarOf(t, file{"usr/local/bin/node", "node"}))
	img, err := s.Pull(context.Background(), "nodejs22.x", bare, nil)
	if err != nil {
		t.Fatal(err)
	}
	root := unsealed(t, img)
	if !root.exists(nodeProgram) || !root.exists("/var/runtime/index.js") || img.Entrypoint[0] != nodeProgram {
		t.Errorf("entry point %q", img.Entrypoint)
	}
	own := push(t, v1.Config{Entrypoint: []string{"/serve", "x"}}, tarOf(t, file{"serve", "s"}))
	if img, err = s.Pull(context.Background(), "nodejs22.x", own, nil); err != nil || !slices.Equal(img.Entrypoint, []string{"/serve", "x"}) {
		t.Errorf("%+v, %v", img, err)
	}
	if img, err = s.Pull(context.Background(), "provided.al2023", own, nil); err != nil || !slices.Equal(img.Entrypoint, []string{"/var/task/bootstrap"}) {
		t.Errorf("%+v, %v", img, err)
	}
	nothing := push(t, v1.Config{}, tarOf(t, file{"README", "r"}))
	if _, err := s.Pull(context.Background(), "nodejs22.x", nothing, nil); err == nil || !strings.Contains(err.Error(), "nor an entry point") {
		t.Errorf("an image with nothing to run: %v", err)
	}
	if _, err := s.Pull(context.Background(), "nodejs22.x", "not a reference", nil); lambda.CodeOf(err) != lambda.CodeInvalidParameter {
		t.Errorf("a bad reference: %v", err)
	}
	if kept, _ := filepath.Glob(filepath.Join(s.cfg.Dir, "nodejs22.x-*")); len(kept) != 2 {
		t.Errorf("kept %q, want the current image and the one before", kept)
	}
	again := push(t, v1.Config{}, tarOf(t, file{"usr/bin/node", "newer"}))
	if img, err = s.Pull(context.Background(), "nodejs22.x", again, nil); err != nil {
		t.Fatal(err)
	}
	kept, _ := filepath.Glob(filepath.Join(s.cfg.Dir, "nodejs22.x-*"))
	if len(kept) != 2 || !slices.Contains(kept, img.Path) {
		t.Errorf("kept %q, want the current image and the one before", kept)
	}
	if err := s.Remove(context.Background(), "nodejs22.x"); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.cfg.Dir, "nodejs22.x*")); len(left) != 0 {
		t.Errorf("left after Remove: %q", left)
	}
	if entries, _ := os.ReadDir(filepath.Join(s.cfg.Dir, "tmp")); len(entries) != 0 {
		t.Errorf("builds left %v", entries)
	}
}

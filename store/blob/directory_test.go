package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

func open(t *testing.T) *Directory {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func put(t *testing.T, s Store, key, content string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, strings.NewReader(content), Digest{}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s Store, key string) string {
	t.Helper()
	r, info, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if info.Key != key || info.Size != int64(len(content)) {
		t.Errorf("info %+v of %d bytes at %s", info, len(content), key)
	}
	return string(content)
}

func keys(t *testing.T, s Store, prefix string) []string {
	t.Helper()
	var all []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Key)
	}
	return all
}

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"a", "code/archives/ab/0123.zip", "A-b_c.d/9"} {
		if err := CheckKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.b", "a\x00b",
		"a\\b", "a b", "é", "-a", strings.Repeat("a", maxKeyLength+1)} {
		if CheckKey(key) == nil {
			t.Errorf("%q is taken for a key", key)
		}
		if _, err := open(t).Put(t.Context(), key, strings.NewReader(""), Digest{}); err == nil {
			t.Errorf("%q is put", key)
		}
	}
}

func TestPutGetDelete(t *testing.T) {
	d := open(t)
	const key = "code/archives/ab/one.zip"
	if _, err := d.Stat(t.Context(), key); !errors.Is(err, ErrNotFound) {
		t.Errorf("stat of nothing: %v", err)
	}
	if _, _, err := d.Get(t.Context(), key); !errors.Is(err, ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	if _, err := d.Refresh(t.Context(), key); !errors.Is(err, ErrNotFound) {
		t.Errorf("refresh of nothing: %v", err)
	}
	if err := d.Delete(t.Context(), key); err != nil {
		t.Errorf("delete of nothing: %v", err)
	}
	put(t, d, key, "first")
	if got := get(t, d, key); got != "first" {
		t.Errorf("got %q", got)
	}
	path, err := d.Path(key)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "first" {
		t.Errorf("file: %q, %v", content, err)
	}

	// What is open stays as it was.
	r, _, err := d.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put(t, d, key, "second")
	if content, _ := io.ReadAll(r); string(content) != "first" {
		t.Errorf("an open blob changed to %q", content)
	}

	for _, other := range []string{"code", "code/archives", key + "/below"} {
		if _, _, err := d.Get(t.Context(), other); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %s: %v", other, err)
		}
		if _, err := d.Stat(t.Context(), other); !errors.Is(err, ErrNotFound) {
			t.Errorf("stat %s: %v", other, err)
		}
		if err := d.Delete(t.Context(), other); err != nil {
			t.Errorf("delete %s: %v", other, err)
		}
	}
	if err := d.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, d, ""); len(got) != 0 {
		t.Errorf("left after delete: %q", got)
	}
}

func TestPutChecksDigest(t *testing.T) {
	d := open(t)
	if _, err := d.Put(t.Context(), "a", strings.NewReader("x"), sha256.Sum256([]byte("y"))); !errors.Is(err, ErrDigest) {
		t.Errorf("wrong digest: %v", err)
	}
	if _, err := d.Stat(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("stored all the same: %v", err)
	}
	if _, err := d.Put(t.Context(), "a", strings.NewReader("y"), sha256.Sum256([]byte("y"))); err != nil {
		t.Error(err)
	}
}

func TestPutLeavesNothingAfterFailure(t *testing.T) {
	d := open(t)
	broken := errors.New("broken")
	if _, err := d.Put(t.Context(), "a", io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken)), Digest{}); !errors.Is(err, broken) {
		t.Errorf("broken reader: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Put(ctx, "a", strings.NewReader("x"), Digest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	entries, err := os.ReadDir(filepath.Join(d.dir, incoming))
	if err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if got := keys(t, d, ""); len(got) != 0 {
		t.Errorf("stored: %q", got)
	}
}

func TestOpenSweepsUnfinishedWrites(t *testing.T) {
	d := open(t)
	put(t, d, "kept", "x")
	left := filepath.Join(d.dir, incoming, "put-1")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("unfinished write: %v", err)
	}
	if got := get(t, again, "kept"); got != "x" {
		t.Errorf("got %q", got)
	}
}

func TestRefresh(t *testing.T) {
	d := open(t)
	put(t, d, "a", "x")
	path, _ := d.Path("a")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	info, err := d.Refresh(t.Context(), "a")
	if err != nil || info.Written.Before(old.Add(time.Minute)) {
		t.Errorf("refreshed: %+v, %v", info, err)
	}
}

func TestConcurrentPutsOfOneKey(t *testing.T) {
	d := open(t)
	content := bytes.Repeat([]byte("kiln"), 64<<10)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := d.Put(t.Context(), "a/b/c", bytes.NewReader(content), sha256.Sum256(content)); err != nil {
				t.Error(err)
			}
			if got := get(t, d, "a/b/c"); got != string(content) {
				t.Errorf("read %d bytes", len(got))
			}
		})
	}
	wg.Wait()
}

// TestDirectoryIsAMap drives a store beside a map.
func TestDirectoryIsAMap(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			rt.Fatal(err)
		}
		d, err := Open(dir)
		if err != nil {
			rt.Fatal(err)
		}
		model := map[string]string{}
		// No key is a directory of another, as with the keys that Kiln uses.
		key := rapid.SampledFrom([]string{"a", "a.b", "a-b/x", "a-b/y/z", "b/x", "b.c/x", "b-c"})
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				k, v := key.Draw(rt, "key"), rapid.String().Draw(rt, "value")
				if _, err := d.Put(t.Context(), k, strings.NewReader(v), sha256.Sum256([]byte(v))); err != nil {
					rt.Fatal(err)
				}
				model[k] = v
			},
			"delete": func(rt *rapid.T) {
				k := key.Draw(rt, "key")
				if err := d.Delete(t.Context(), k); err != nil {
					rt.Fatal(err)
				}
				delete(model, k)
			},
			"reopen": func(rt *rapid.T) {
				if d, err = Open(dir); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				prefix := rapid.SampledFrom([]string{"", "a", "a-", "a-b/", "b", "b/", "b/x", "c", "a-b/y/z", "a-b/y/zz"}).Draw(rt, "prefix")
				var want, got []string
				for k := range model {
					if strings.HasPrefix(k, prefix) {
						want = append(want, k)
					}
				}
				slices.Sort(want)
				for info, err := range d.List(t.Context(), prefix) {
					if err != nil {
						rt.Fatal(err)
					}
					got = append(got, info.Key)
					if info.Size != int64(len(model[info.Key])) {
						rt.Fatalf("%s: size %d, want %d", info.Key, info.Size, len(model[info.Key]))
					}
				}
				if !slices.Equal(got, want) {
					rt.Fatalf("list %q: %q, want %q", prefix, got, want)
				}
			},
		})
	})
}

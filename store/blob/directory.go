package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// incoming is the directory of files that are being written. It begins with a
// dot, so it is no key.
const incoming = ".incoming"

// Directory is a Local store in a directory that it has to itself.
type Directory struct {
	dir string
}

var _ Local = (*Directory)(nil)

// Open returns the store in dir, which is created when missing. It removes what
// writes of an earlier process left unfinished, so only one process at a time
// may have a directory open.
func Open(dir string) (*Directory, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("blob directory: %w", err)
	}
	tmp := filepath.Join(dir, incoming)
	if err := os.RemoveAll(tmp); err != nil {
		return nil, fmt.Errorf("blob directory: %w", err)
	}
	// Code may hold its owners' secrets.
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return nil, fmt.Errorf("blob directory: %w", err)
	}
	return &Directory{dir: dir}, nil
}

// Path implements Local.
func (d *Directory) Path(key string) (string, error) {
	if err := CheckKey(key); err != nil {
		return "", err
	}
	return filepath.Join(d.dir, filepath.FromSlash(key)), nil
}

// Put implements Store.
func (d *Directory) Put(ctx context.Context, key string, r io.Reader, want Digest) (Info, error) {
	path, err := d.Path(key)
	if err != nil {
		return Info{}, err
	}
	tmp, err := os.CreateTemp(filepath.Join(d.dir, incoming), "put-")
	if err != nil {
		return Info{}, fmt.Errorf("put blob %s: %w", key, err)
	}
	err = d.fill(ctx, tmp, r, want)
	if err == nil {
		err = d.publish(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return Info{}, fmt.Errorf("put blob %s: %w", key, err)
	}
	return d.Stat(ctx, key)
}

// fill writes r to f, makes it durable and closes it.
func (d *Directory) fill(ctx context.Context, f *os.File, r io.Reader, want Digest) error {
	defer f.Close()
	if want == (Digest{}) {
		// Without a hash in between, the kernel copies file to file.
		if _, err := io.Copy(f, r); err != nil {
			return err
		}
	} else {
		hash := sha256.New()
		if _, err := io.Copy(io.MultiWriter(f, hash), r); err != nil {
			return err
		}
		if Digest(hash.Sum(nil)) != want {
			return ErrDigest
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// publish moves a finished file to its key's path, durably.
func (d *Directory) publish(tmp, path string) error {
	parent := filepath.Dir(path)
	if err := d.makeParents(parent); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDirectory(parent)
}

// makeParents creates the directories of a key, each durable in its own parent.
func (d *Directory) makeParents(dir string) error {
	if _, err := os.Stat(dir); err == nil || dir == d.dir {
		return nil
	}
	if err := d.makeParents(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDirectory(filepath.Dir(dir))
}

func syncDirectory(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Get implements Store.
func (d *Directory) Get(_ context.Context, key string) (io.ReadCloser, Info, error) {
	path, err := d.Path(key)
	if err != nil {
		return nil, Info{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, Info{}, failure("get", key, err)
	}
	stat, err := f.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = fs.ErrNotExist // a directory is the beginning of a key, not one
	}
	if err != nil {
		f.Close()
		return nil, Info{}, failure("get", key, err)
	}
	return f, describe(key, stat), nil
}

// Stat implements Store.
func (d *Directory) Stat(_ context.Context, key string) (Info, error) {
	path, err := d.Path(key)
	if err != nil {
		return Info{}, err
	}
	stat, err := os.Lstat(path)
	if err == nil && !stat.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Info{}, failure("stat", key, err)
	}
	return describe(key, stat), nil
}

// Refresh implements Store.
func (d *Directory) Refresh(ctx context.Context, key string) (Info, error) {
	if _, err := d.Stat(ctx, key); err != nil {
		return Info{}, err
	}
	path, _ := d.Path(key)
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		return Info{}, failure("refresh", key, err)
	}
	return d.Stat(ctx, key)
}

// Delete implements Store. The directories of the key stay.
func (d *Directory) Delete(ctx context.Context, key string) error {
	if _, err := d.Stat(ctx, key); errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	path, _ := d.Path(key)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failure("delete", key, err)
	}
	return nil
}

// List implements Store.
func (d *Directory) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		d.list(ctx, "", prefix, yield)
	}
}

// list yields what is below the key prefix at, which is "" or ends in a slash,
// and reports whether to go on.
func (d *Directory) list(ctx context.Context, at, prefix string, yield func(Info, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield(Info{}, err)
		return false
	}
	entries, err := os.ReadDir(filepath.Join(d.dir, filepath.FromSlash(at)))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	} else if err != nil {
		yield(Info{}, fmt.Errorf("list blobs: %w", err))
		return false
	}
	sortAsKeys(entries)
	for _, entry := range entries {
		key := at + entry.Name()
		if entry.IsDir() {
			key += "/"
			if !strings.HasPrefix(key, prefix) && !strings.HasPrefix(prefix, key) || strings.HasPrefix(entry.Name(), ".") {
				continue
			}
			if !d.list(ctx, key, prefix, yield) {
				return false
			}
			continue
		}
		if !strings.HasPrefix(key, prefix) || CheckKey(key) != nil {
			continue
		}
		stat, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		} else if err != nil {
			yield(Info{}, fmt.Errorf("list blobs: %w", err))
			return false
		}
		if stat.Mode().IsRegular() && !yield(describe(key, stat), nil) {
			return false
		}
	}
	return true
}

// sortAsKeys orders entries as their keys are ordered: a directory's key goes on
// with a slash, which sorts after '-' and '.'.
func sortAsKeys(entries []fs.DirEntry) {
	name := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(name(a), name(b)) })
}

func describe(key string, stat fs.FileInfo) Info {
	return Info{Key: key, Size: stat.Size(), Written: stat.ModTime()}
}

func failure(operation, key string, err error) error {
	// A key below a key that holds a blob cannot hold one.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		err = ErrNotFound
	}
	return fmt.Errorf("%s blob %s: %w", operation, key, err)
}

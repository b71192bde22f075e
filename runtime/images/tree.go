package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxLinks bounds how many symbolic links one name may lead through.
const maxLinks = 40

// tree is a root file system under construction: names are absolute paths
// inside it, and links are followed as they would be from inside, so nothing
// that goes into it can reach the machine's own files. Its owner alone changes
// it; it is not safe for concurrent use.
type tree struct {
	root string
}

// host returns the path on the machine for a name inside: links in its
// directories are followed, one in its last element is not. Directories need
// not exist.
func (t tree) host(name string) (string, error) { return t.resolve(name, false) }

// target is host with a link in the last element followed too.
func (t tree) target(name string) (string, error) { return t.resolve(name, true) }

func (t tree) resolve(name string, last bool) (string, error) {
	resolved := "/"
	rest := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	for links := 0; len(rest) > 0; {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			resolved = path.Dir(resolved)
			continue
		}
		next := path.Join(resolved, element)
		if len(rest) == 0 && !last {
			return filepath.Join(t.root, next), nil
		}
		target, err := os.Readlink(filepath.Join(t.root, next))
		if err != nil {
			resolved = next // a directory, or not there yet
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: too many symbolic links", name)
		}
		if path.IsAbs(target) {
			resolved = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return filepath.Join(t.root, resolved), nil
}

// prepare returns the host path for a new name, with its directories made and
// whatever had the name before removed, unless that is a directory.
func (t tree) prepare(name string) (string, error) {
	p, err := t.host(name)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return "", err
	}
	if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if info, serr := os.Lstat(p); serr != nil || !info.IsDir() {
			return "", err
		}
		return "", fmt.Errorf("%s: is a directory that is not empty", name)
	}
	return p, nil
}

// mkdir makes a directory, unless the name is one or a link to one.
func (t tree) mkdir(name string, mode fs.FileMode) error {
	p, err := t.target(name)
	if err != nil {
		return err
	}
	if info, err := os.Lstat(p); err != nil || !info.IsDir() {
		if p, err = t.prepare(name); err != nil {
			return err
		}
		if err := os.Mkdir(p, 0o755); err != nil {
			return err
		}
	}
	return os.Chmod(p, mode) // mkdir's mode is subject to the umask
}

func (t tree) write(name string, content []byte, mode fs.FileMode) error {
	return t.copyFrom(name, strings.NewReader(string(content)), mode)
}

func (t tree) copyFrom(name string, r io.Reader, mode fs.FileMode) error {
	p, err := t.prepare(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

func (t tree) symlink(target, name string) error {
	p, err := t.prepare(name)
	if err != nil {
		return err
	}
	return os.Symlink(target, p)
}

func (t tree) remove(names ...string) error {
	for _, name := range names {
		p, err := t.host(name)
		if err != nil {
			return err
		}
		if p == t.root {
			return errors.New("the root itself cannot be removed")
		}
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}

// exists reports whether name is there, following links.
func (t tree) exists(name string) bool {
	p, err := t.target(name)
	if err != nil {
		return false
	}
	_, err = os.Stat(p)
	return err == nil
}

// glob returns the names that match an absolute pattern, sorted.
func (t tree) glob(pattern string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(t.root, pattern))
	for i, p := range found {
		found[i] = strings.TrimPrefix(p, t.root)
	}
	return found, err
}

package images

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// The names that an OCI layer uses to delete what layers below it have.
const (
	whiteout       = ".wh."
	opaqueWhiteout = ".wh..wh..opq"
)

// extract unpacks an archive into the tree. rename maps each entry's cleaned
// absolute name to its own in the tree; "" leaves the entry out. Owners are
// dropped, as everything in an image is root's, and so are device nodes, which
// a sandbox could not open, and set-user-ID bits, which it would not honour.
// Whiteouts are only meant in OCI layers.
func (t tree) extract(r io.Reader, whiteouts bool, rename func(string) string) error {
	added := map[string]bool{} // by this archive; its opaque whiteouts spare these
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)
		if whiteouts {
			if done, err := t.whiteout(name, added); done || err != nil {
				if err != nil {
					return err
				}
				continue
			}
		}
		if name = rename(name); name == "" {
			continue
		}
		for n := name; n != "/"; n = path.Dir(n) {
			added[n] = true
		}
		if whiteouts {
			// A layer's entry replaces what lower layers have, except that
			// directories are joined.
			if err := t.clear(name, h.Typeflag == tar.TypeDir); err != nil {
				return err
			}
		}
		if err := t.entry(name, h, archive, rename); err != nil {
			return fmt.Errorf("unpack %s: %w", h.Name, err)
		}
	}
}

func (t tree) entry(name string, h *tar.Header, content io.Reader, rename func(string) string) error {
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		if h.Mode&0o1000 != 0 {
			mode |= fs.ModeSticky
		}
		return t.mkdir(name, mode)
	case tar.TypeReg:
		return t.copyFrom(name, content, mode)
	case tar.TypeSymlink:
		return t.symlink(h.Linkname, name)
	case tar.TypeLink:
		target := rename(path.Clean("/" + h.Linkname))
		if target == "" {
			return nil
		}
		from, err := t.host(target)
		if err != nil {
			return err
		}
		to, err := t.prepare(name)
		if err != nil {
			return err
		}
		return os.Link(from, to)
	default:
		return nil
	}
}

// clear removes what has a name, but keeps a directory if one is to come.
func (t tree) clear(name string, directory bool) error {
	p, err := t.host(name)
	if err != nil {
		return err
	}
	if info, err := os.Lstat(p); err == nil && p != t.root && (!directory || !info.IsDir()) {
		return os.RemoveAll(p)
	}
	return nil
}

// whiteout carries out a deletion and reports whether name was one.
func (t tree) whiteout(name string, added map[string]bool) (bool, error) {
	dir, base := path.Split(name)
	switch {
	case base == opaqueWhiteout:
		p, err := t.target(dir)
		if err != nil {
			return true, err
		}
		entries, err := os.ReadDir(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true, err
		}
		for _, e := range entries {
			if child := path.Join(dir, e.Name()); !added[child] {
				if err := t.remove(child); err != nil {
					return true, err
				}
			}
		}
		return true, nil
	case strings.HasPrefix(base, whiteout):
		return true, t.remove(path.Join(dir, strings.TrimPrefix(base, whiteout)))
	}
	return false, nil
}

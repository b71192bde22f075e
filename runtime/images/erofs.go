package images

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"kiln/lambda"
	"kiln/store/erofs"
)

// imageTime is the modification time of every file of every image, as a Unix
// time: the start of the year 2000, since zip files know nothing before 1980.
const imageTime = 946684800

// seal writes the tree as an image of the store: an uncompressed erofs, which
// can be mounted straight from its file and is read through the page cache
// that all sandboxes share. The same tree always gives the same bytes.
func (s *Store) seal(t tree, r lambda.Runtime) (file, digest string, size int64, err error) {
	root, err := nodeOf(t.root)
	if err != nil {
		return "", "", 0, err
	}
	made := t.root + ".erofs"
	defer os.Remove(made)
	f, err := os.OpenFile(made, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o444)
	if err != nil {
		return "", "", 0, err
	}
	defer f.Close()
	if size, err = erofs.Write(f, root); err != nil {
		return "", "", 0, err
	}
	if err = f.Truncate(size); err != nil { // what was not written reads as zeros
		return "", "", 0, err
	}
	hash := sha256.New()
	if _, err = io.Copy(hash, f); err != nil {
		return "", "", 0, err
	}
	// The manifest will name the image for good, so it must survive a crash.
	if err := errors.Join(f.Chmod(0o444), f.Sync()); err != nil {
		return "", "", 0, err
	}
	digest = hex.EncodeToString(hash.Sum(nil))
	file = fmt.Sprintf("%s-%s.erofs", r, digest[:16])
	return file, digest, size, os.Rename(made, filepath.Join(s.cfg.Dir, file))
}

// nodeOf describes a file of the host, and all below it. Only directories,
// regular files and links get into an image, and no file keeps a bit that would
// give a process rights.
func nodeOf(path string) (*erofs.Node, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	n := &erofs.Node{Name: info.Name(), Mode: info.Mode().Perm() | info.Mode()&(fs.ModeDir|fs.ModeSymlink), Modified: imageTime}
	switch {
	case info.IsDir():
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if t := entry.Type(); t != 0 && t != fs.ModeDir && t != fs.ModeSymlink {
				continue
			}
			child, err := nodeOf(filepath.Join(path, entry.Name()))
			if err != nil {
				return nil, err
			}
			n.Children = append(n.Children, child)
		}
	case n.Mode&fs.ModeSymlink != 0:
		if n.Target, err = os.Readlink(path); err != nil {
			return nil, err
		}
	default:
		n.Size = info.Size()
		n.Open = func() (io.ReadCloser, error) { return os.Open(path) }
	}
	return n, nil
}

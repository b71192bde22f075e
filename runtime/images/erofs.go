package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kiln/lambda"
)

// imageUUID is the file systems' UUID: a constant, as their content names them.
const imageUUID = "6b696c6e-0000-4000-8000-000000000000"

// imageTime is the modification time of every file of every image, as a Unix
// time: the start of the year 2000, since zip files know nothing before 1980.
const imageTime = "946684800"

// seal writes the tree as an image of the store: an uncompressed erofs, which
// can be mounted straight from its file and is read through the page cache
// that all sandboxes share. The same tree always gives the same bytes.
func (s *Store) seal(ctx context.Context, t tree, r lambda.Runtime) (file, digest string, size int64, err error) {
	made := t.root + ".erofs"
	defer os.Remove(made)
	if _, err := run(ctx, "", "mkfs.erofs", "--quiet", "--all-root", "-x-1", "-T"+imageTime, "-U"+imageUUID, made, t.root); err != nil {
		return "", "", 0, err
	}
	f, err := os.Open(made)
	if err != nil {
		return "", "", 0, err
	}
	defer f.Close()
	hash := sha256.New()
	if size, err = io.Copy(hash, f); err != nil {
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

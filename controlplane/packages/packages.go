// Package packages takes functions' code in: it checks deployment packages, keeps
// them, and makes the read-only images that environments mount at /var/task.
//
// Nothing of a package is ever unpacked to the host's file system: the archive is
// read where it lies and written into the image. Both are blobs named by content,
// so a package that many functions share is stored once, and any step may be
// repeated.
package packages

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"kiln/lambda"
	"kiln/store/blob"
	"kiln/store/erofs"
)

// Options say how packages are taken in. The zero value of a limit means AWS's.
type Options struct {
	// WorkDir is for images that are being built. Service has it to itself.
	WorkDir string
	// MaxZipBytes is the limit of an archive's size.
	MaxZipBytes int64
	// MaxUnzippedBytes is the limit of the sum of the sizes of its files.
	MaxUnzippedBytes int64
	// MaxEntries is the limit of its files, links and directories, with those
	// that paths imply. AWS documents none.
	MaxEntries int
}

// defaultMaxEntries is far beyond real packages and bounds what a listing costs.
const defaultMaxEntries = 200_000

// Service takes packages in. It is safe for concurrent use.
type Service struct {
	blobs   blob.Store
	options Options
	// slots bounds the images that are built at a time.
	slots chan struct{}

	mu     sync.Mutex
	builds map[string]*build // by image key, while they go on
}

// New returns a service that keeps packages in blobs. It empties WorkDir of what
// an earlier process left there.
func New(blobs blob.Store, options Options) (*Service, error) {
	if options.MaxZipBytes == 0 {
		options.MaxZipBytes = lambda.MaxZipBytes
	}
	if options.MaxUnzippedBytes == 0 {
		options.MaxUnzippedBytes = lambda.MaxUnzippedBytes
	}
	if options.MaxEntries == 0 {
		options.MaxEntries = defaultMaxEntries
	}
	if err := os.MkdirAll(options.WorkDir, 0o700); err != nil {
		return nil, fmt.Errorf("packages: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(options.WorkDir, workPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("packages: %w", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("packages: %w", err)
		}
	}
	return &Service{
		blobs: blobs, options: options,
		slots: make(chan struct{}, runtime.GOMAXPROCS(0)), builds: map[string]*build{},
	}, nil
}

// Intake checks an archive to its last byte and stores it. The errors that are
// the archive's fault are for callers, in AWS's words. The image is not built
// yet, but named. The account only serves messages and logs: blobs are shared.
func (s *Service) Intake(ctx context.Context, _ string, zip []byte) (lambda.Package, error) {
	if int64(len(zip)) > s.options.MaxZipBytes {
		return lambda.Package{}, lambda.Errorf(lambda.CodeInvalidParameter,
			"Zipped size must be smaller than %d bytes", s.options.MaxZipBytes)
	}
	tree, err := s.open(bytes.NewReader(zip), int64(len(zip)))
	if err != nil {
		return lambda.Package{}, err
	}
	if err := tree.verify(ctx); err != nil {
		return lambda.Package{}, err
	}
	digest := sha256.Sum256(zip)
	pkg := lambda.Package{
		SHA256:       base64.StdEncoding.EncodeToString(digest[:]),
		Size:         int64(len(zip)),
		UnzippedSize: tree.size,
		Archive:      archiveKey(digest),
		Image:        imageKey(digest),
	}
	// Refreshed, an archive that is there already is kept from the collector until
	// the function that uses it is recorded.
	info, err := s.blobs.Refresh(ctx, pkg.Archive)
	if err == nil && info.Size == pkg.Size {
		return pkg, nil
	} else if err != nil && !errors.Is(err, blob.ErrNotFound) {
		return lambda.Package{}, err
	}
	if _, err := s.blobs.Put(ctx, pkg.Archive, bytes.NewReader(zip), digest); err != nil {
		return lambda.Package{}, err
	}
	return pkg, nil
}

// OpenArchive opens a package's archive as it was uploaded, for GetFunction's
// Code.Location. The caller closes it.
func (s *Service) OpenArchive(ctx context.Context, pkg lambda.Package) (io.ReadCloser, error) {
	r, _, err := s.blobs.Get(ctx, pkg.Archive)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, &lambda.Error{Code: lambda.CodeNotFound, Message: "The deployment package does not exist.", Cause: err}
	}
	return r, err
}

// archiveKey names an archive by its content.
func archiveKey(digest blob.Digest) string {
	name := hex.EncodeToString(digest[:])
	return "code/archives/" + name[:2] + "/" + name + ".zip"
}

// treeVersion is part of an image's name. It changes whenever the same archive
// would give another tree.
const treeVersion = 1

// imageKey names an image by what it is made of: the archive, and the rules and
// the layout by which it is made. The image need not exist to be named.
func imageKey(digest blob.Digest) string {
	source := fmt.Sprintf("tree %d erofs %d zip %x", treeVersion, erofs.Version, digest)
	name := fmt.Sprintf("%x", sha256.Sum256([]byte(source)))
	return "code/images/" + name[:2] + "/" + name + ".erofs"
}

// unusable is AWS's answer to an archive that cannot be unpacked, followed by the
// reason where there is more to say than that it is broken.
func unusable(format string, args ...any) error {
	const message = "Could not unzip uploaded file. Please check your file, then try to upload again."
	reason := fmt.Sprintf(format, args...)
	return lambda.Errorf(lambda.CodeInvalidParameter, "%s", strings.TrimSpace(message+" "+reason))
}

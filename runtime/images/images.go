// Package images makes the read-only root file systems that functions run in.
//
// An image is one erofs file, named by its runtime and its content, with a
// userland, an interpreter where the runtime has one, and the runtime's
// bootstrap. Two sources make the same kind of image:
//
//   - Build puts one together from the packages that the machine's own package
//     clients fetch: a Debian userland by apt, Node.js by npm, Python by apt.
//   - Pull takes an OCI image, such as one of AWS's own base images.
//
// Images that Build makes have Debian's glibc and tools, not Amazon Linux's:
// 2.36 from Debian 12, newer from newer suites. A binary linked against an
// older glibc, as every binary for Lambda is, runs on them. Where Amazon
// Linux itself is wanted, Pull its image.
//
// A Store keeps images in a directory, which several processes may share.
package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kiln/lambda"
)

// Config says where images are kept and what goes into those built.
type Config struct {
	// Dir is the store's directory, made if it does not exist. It also caches
	// downloads; nothing else may be kept in it.
	Dir string
	// NoBoto3 leaves the AWS SDK for Python out of the Python images. With it
	// they are 25 MB larger and need the machine to reach PyPI when built.
	NoBoto3 bool
	// NoJavaScriptSDK leaves the AWS SDK for JavaScript v3 out of the Node.js
	// images, of which the clients in most use go in otherwise. Like NoBoto3 it
	// concerns images yet to be built.
	NoJavaScriptSDK bool
}

// Image is a runtime that is ready to run functions. It is immutable: building
// the runtime again makes a new file, and the one before stays for one more
// build. Whoever finds the file gone asks the store again.
type Image struct {
	Runtime lambda.Runtime
	// Path is the erofs file; mount it read-only as a function's root.
	Path string
	// Entrypoint is the program that serves the Runtime API, with its
	// arguments. See Command for that of a certain function.
	Entrypoint []string
	// Env is what the runtime sets before the function's own variables, as NAME=value.
	Env []string
	// Version names interpreter and userland for people, such as "nodejs:22.23.3".
	Version string
	// Digest is the SHA-256 of the file in hexadecimal.
	Digest string
	Size   int64
}

// VersionARN is the runtime version's ARN in a region, of AWS's form.
func (i Image) VersionARN(region string) string {
	return "arn:aws:lambda:" + region + "::runtime:" + i.Digest
}

// Status is what a store knows of one runtime.
type Status struct {
	Runtime lambda.Runtime
	// Built tells whether the other fields are set.
	Built   bool
	Version string
	// Source is "packages" or the reference that the image was pulled from.
	Source string
	Digest string
	Size   int64
}

// Store is a directory of images. It is safe for concurrent use, also by
// several processes.
type Store struct {
	cfg Config
}

// Open opens the store, making its directory. It starts nothing and holds
// nothing open, so there is no Close.
func Open(cfg Config) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "cache"), 0o755); err != nil {
		return nil, fmt.Errorf("runtime images: %w", err)
	}
	return &Store{cfg: cfg}, nil
}

// List returns the status of every supported runtime.
func (s *Store) List() ([]Status, error) {
	var list []Status
	for _, r := range lambda.SupportedRuntimes() {
		m, err := s.manifest(r)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			list = append(list, Status{Runtime: r})
		case err != nil:
			return nil, err
		default:
			list = append(list, Status{r, true, m.Version, m.Source, m.Digest, m.Size})
		}
	}
	return list, nil
}

// Ensure returns the runtime's image, building it if there is none. Concurrent
// calls for a missing image build it once. progress, which may be nil, is told
// of each step in a few words.
func (s *Store) Ensure(ctx context.Context, r lambda.Runtime, progress func(string)) (Image, error) {
	if err := check(r); err != nil {
		return Image{}, err
	}
	if m, err := s.manifest(r); err == nil {
		return s.image(m), nil
	}
	return s.locked(ctx, progress, func(note func(string)) (Image, error) {
		// Whoever held the lock may have built it.
		if m, err := s.manifest(r); err == nil {
			return s.image(m), nil
		}
		return s.build(ctx, r, note)
	})
}

// Build makes the runtime's image anew from packages, newest versions first,
// and returns it. The image before stays until the next build.
func (s *Store) Build(ctx context.Context, r lambda.Runtime, progress func(string)) (Image, error) {
	if err := check(r); err != nil {
		return Image{}, err
	}
	return s.locked(ctx, progress, func(note func(string)) (Image, error) {
		return s.build(ctx, r, note)
	})
}

// Pull makes the runtime's image from an OCI image and returns it. Registry
// credentials are those that docker login has left.
func (s *Store) Pull(ctx context.Context, r lambda.Runtime, reference string, progress func(string)) (Image, error) {
	if err := check(r); err != nil {
		return Image{}, err
	}
	return s.locked(ctx, progress, func(note func(string)) (Image, error) {
		return s.pull(ctx, r, reference, note)
	})
}

// Remove deletes the runtime's images. Mounted ones go on working.
func (s *Store) Remove(ctx context.Context, r lambda.Runtime) error {
	if err := check(r); err != nil {
		return err
	}
	_, err := s.locked(ctx, nil, func(func(string)) (Image, error) {
		if err := os.Remove(s.manifestPath(r)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Image{}, err
		}
		files, err := filepath.Glob(filepath.Join(s.cfg.Dir, string(r)+"-*.erofs"))
		for _, f := range files {
			err = errors.Join(err, os.Remove(f))
		}
		return Image{}, err
	})
	return err
}

// check refuses runtimes that Kiln does not know.
func check(r lambda.Runtime) error {
	if r.Supported() {
		return nil
	}
	var names []string
	for _, known := range lambda.SupportedRuntimes() {
		names = append(names, string(known))
	}
	return lambda.Errorf(lambda.CodeInvalidParameter, "unknown runtime %q; there are %s", string(r), strings.Join(names, ", "))
}

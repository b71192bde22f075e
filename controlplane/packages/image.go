package packages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"kiln/lambda"
	"kiln/store/blob"
	"kiln/store/erofs"
)

// workPrefix begins the names of the files in WorkDir.
const workPrefix = "build-"

// build is one image being built; whoever needs the image waits for it.
type build struct {
	done chan struct{}
	err  error // set before done is closed
}

// BuildImage sees to it that the image of a package that was taken in exists. It
// does nothing if it does. Calls for one image at a time build it once. A build
// goes on when the caller that began it gives up, because others may wait for it.
// Errors that are a *lambda.Error are the archive's fault and for good.
func (s *Service) BuildImage(ctx context.Context, pkg lambda.Package) error {
	if _, err := s.blobs.Refresh(ctx, pkg.Image); err == nil {
		return nil
	} else if !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	s.mu.Lock()
	b := s.builds[pkg.Image]
	if b == nil {
		b = &build{done: make(chan struct{})}
		s.builds[pkg.Image] = b
		go s.run(context.WithoutCancel(ctx), pkg, b)
	}
	s.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run builds an image and tells everyone who waits for it.
func (s *Service) run(ctx context.Context, pkg lambda.Package, b *build) {
	s.slots <- struct{}{}
	defer func() { <-s.slots }()
	b.err = s.build(ctx, pkg)
	s.mu.Lock()
	delete(s.builds, pkg.Image)
	s.mu.Unlock()
	close(b.done)
}

// build makes the image in WorkDir and stores it.
func (s *Service) build(ctx context.Context, pkg lambda.Package) error {
	// Another build may have ended since the caller looked.
	if _, err := s.blobs.Stat(ctx, pkg.Image); err == nil {
		return nil
	}
	archive, size, err := s.archive(ctx, pkg)
	if err != nil {
		return fmt.Errorf("build image: %w", err)
	}
	defer archive.Close()
	tree, err := s.open(archive, size)
	if err != nil {
		return fmt.Errorf("build image: %w", err)
	}
	image, err := s.workFile()
	if err != nil {
		return fmt.Errorf("build image: %w", err)
	}
	defer image.Close()
	length, err := erofs.Write(image, tree.root)
	if err == nil {
		err = image.Truncate(length)
	}
	if err == nil {
		_, err = image.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = s.blobs.Put(ctx, pkg.Image, image, blob.Digest{})
	}
	if err != nil {
		return fmt.Errorf("build image: %w", err)
	}
	return nil
}

// readerAtCloser is an open archive.
type readerAtCloser interface {
	io.ReaderAt
	io.Closer
}

// archive opens a package's archive for reading anywhere, and returns its size.
func (s *Service) archive(ctx context.Context, pkg lambda.Package) (readerAtCloser, int64, error) {
	r, info, err := s.blobs.Get(ctx, pkg.Archive)
	if err != nil {
		return nil, 0, err
	}
	if local, ok := r.(readerAtCloser); ok {
		return local, info.Size, nil
	}
	defer r.Close()
	f, err := s.workFile()
	if err != nil {
		return nil, 0, err
	}
	size, err := io.Copy(f, r)
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, size, nil
}

// workFile returns a new file that is gone when it is closed, or with the process.
func (s *Service) workFile() (*os.File, error) {
	f, err := os.CreateTemp(s.options.WorkDir, workPrefix)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

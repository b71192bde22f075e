// Package blob keeps large immutable objects by key: code archives and images,
// later snapshots and logs at rest.
//
// A key names content: whoever writes a key again writes the same bytes. That is
// why a store needs no versions and no locks, and why readers may keep what they
// have opened or mounted while it is written again or deleted.
package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// ErrNotFound is in the chain of the error for a key that holds nothing.
var ErrNotFound = errors.New("no such blob")

// ErrDigest is in the chain of Put's error when the content is not what the
// caller said it is.
var ErrDigest = errors.New("content does not have the expected digest")

// Digest is a SHA-256. The zero value stands for one that is not known.
type Digest [sha256.Size]byte

// Info describes a stored blob.
type Info struct {
	Key  string
	Size int64 // bytes
	// Written is when the blob was last put or refreshed. A collector of garbage
	// spares young blobs, because their users may not be recorded yet.
	Written time.Time
}

// Store is a place for blobs. It is safe for concurrent use, also of one key.
//
// Keys are slash-separated names of letters, digits, '.', '_' and '-'; no name
// is empty or begins with a dot, so a key cannot lead out of a store. All methods
// refuse others.
type Store interface {
	// Put stores all of r. The blob is durable and visible as a whole when Put
	// returns, and not at all before or after an error. If want is not zero and is
	// not the digest of what r held, nothing is stored and the error is ErrDigest.
	Put(ctx context.Context, key string, r io.Reader, want Digest) (Info, error)
	// Get opens a blob for reading from its beginning; the caller closes it.
	Get(ctx context.Context, key string) (io.ReadCloser, Info, error)
	// Stat describes a blob.
	Stat(ctx context.Context, key string) (Info, error)
	// Refresh sets Info.Written to now: whoever is about to use a blob that is
	// there already keeps it from a collector.
	Refresh(ctx context.Context, key string) (Info, error)
	// Delete removes a blob. Deleting one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// List yields the blobs whose keys begin with prefix, in the order of their
	// keys. It ends after the first error it yields. Blobs that are put or deleted
	// meanwhile may or may not be among them.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
}

// Local is a Store whose blobs are files of this machine.
type Local interface {
	Store
	// Path returns the file of a blob, which must only be read. The file need not
	// exist; the error is about the key.
	Path(key string) (string, error)
}

// maxKeyLength leaves room for a directory before a key within PATH_MAX.
const maxKeyLength = 512

// CheckKey returns an error for text that is not a key.
func CheckKey(key string) error {
	if len(key) > maxKeyLength {
		return fmt.Errorf("blob key of %d characters, at most %d are allowed", len(key), maxKeyLength)
	}
	first := true
	for i := range len(key) {
		c := key[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			first = false
		case !first && (c == '.' || c == '_' || c == '-'):
		case !first && c == '/':
			first = true
		default:
			return fmt.Errorf("invalid blob key %q", key)
		}
	}
	if first {
		return fmt.Errorf("invalid blob key %q", key)
	}
	return nil
}

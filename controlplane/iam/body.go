package iam

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"

	"kiln/lambda"
)

// The words that stand for a payload's digest.
const (
	unsignedPayload             = "UNSIGNED-PAYLOAD"
	signedChunks                = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	signedChunksTrailer         = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	unsignedChunksTrailer       = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	emptyDigest                 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	firstBuffer           int64 = 1 << 20
)

// readBody reads the body of a request whose client sent no digest, puts it back
// and returns its digest.
func (v *Verifier) readBody(r *http.Request) (string, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return emptyDigest, nil
	}
	tooLarge := lambda.Errorf(lambda.CodeRequestTooLarge, "Request must be smaller than %d bytes", v.MaxBodyBytes)
	if r.ContentLength > v.MaxBodyBytes {
		return "", tooLarge
	}
	// The client's word is good for a buffer of the right size, within reason.
	size := int64(512)
	if r.ContentLength >= 0 {
		size = min(r.ContentLength, firstBuffer) + 1
	}
	data := make([]byte, 0, size)
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := r.Body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if int64(len(data)) > v.MaxBodyBytes {
			return "", tooLarge
		}
		if err == io.EOF {
			break
		} else if err != nil {
			return "", &lambda.Error{Code: lambda.CodeInvalidRequestContent, Message: "The request body could not be read.", Cause: err}
		}
	}
	r.Body = &readBody{data: data, left: data, from: r.Body}
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:]), nil
}

// readBody is a body that is in memory.
type readBody struct {
	data, left []byte
	from       io.Closer
}

// Bytes returns all of the body.
func (b *readBody) Bytes() []byte { return b.data }

func (b *readBody) Read(p []byte) (int, error) {
	if len(b.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

func (b *readBody) Close() error { return b.from.Close() }

// protectBody puts a reader in place of the body that holds it to what was
// signed. The signature itself has been verified.
func (s *signature) protectBody(r *http.Request, signingKey [sha256.Size]byte, limit int64) error {
	if _, ok := r.Body.(*readBody); ok {
		return nil
	}
	switch s.payload {
	case unsignedPayload:
		return nil
	case signedChunks, signedChunksTrailer, unsignedChunksTrailer:
		return s.decodeChunks(r, signingKey, limit)
	}
	want, err := hex.DecodeString(s.payload)
	if err != nil || len(want) != sha256.Size {
		return lambda.Errorf(lambda.CodeInvalidSignature,
			"x-amz-content-sha256 must be %s, %s, %s, %s, or a valid sha256 value.", unsignedPayload, unsignedChunksTrailer, signedChunks, signedChunksTrailer)
	}
	if r.Body == nil || r.Body == http.NoBody {
		if s.payload != emptyDigest {
			return lambda.Errorf(lambda.CodeInvalidSignature, mismatch)
		}
		return nil
	}
	r.Body = &digestBody{ReadCloser: r.Body, hash: sha256.New(), want: [sha256.Size]byte(want)}
	return nil
}

// digestBody is a body that must have a digest.
type digestBody struct {
	io.ReadCloser
	hash hash.Hash
	want [sha256.Size]byte
}

func (b *digestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.hash.Write(p[:n])
	if errors.Is(err, io.EOF) && [sha256.Size]byte(b.hash.Sum(nil)) != b.want {
		return n, lambda.Errorf(lambda.CodeInvalidSignature, mismatch)
	}
	return n, err
}

package iam

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"kiln/lambda"
)

const (
	maxChunkLine   = 4 << 10  // of a chunk's head or a trailer
	maxTrailers    = 16 << 10 // of all trailers
	chunkSignature = "chunk-signature="
)

// decodeChunks puts a decoder of aws-chunked in place of the body.
func (s *signature) decodeChunks(r *http.Request, signingKey [sha256.Size]byte, limit int64) error {
	length, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
	switch {
	case err != nil || length < 0:
		return incomplete("x-amz-decoded-content-length must be the length of the decoded body.")
	case length > limit:
		return lambda.Errorf(lambda.CodeRequestTooLarge, "Request must be smaller than %d bytes", limit)
	case r.Body == nil || r.Body == http.NoBody:
		return lambda.Errorf(lambda.CodeInvalidSignature, mismatch)
	}
	r.Body = &chunkedBody{
		from: r.Body, in: bufio.NewReaderSize(r.Body, maxChunkLine), signature: s, signingKey: signingKey,
		left: length, previous: s.value,
		signed: s.payload != unsignedChunksTrailer, trailer: s.payload != signedChunks,
	}
	r.ContentLength = length
	var encodings []string
	for encoding := range strings.SplitSeq(r.Header.Get("Content-Encoding"), ",") {
		if encoding = strings.TrimSpace(encoding); encoding != "" && !strings.EqualFold(encoding, "aws-chunked") {
			encodings = append(encodings, encoding)
		}
	}
	if len(encodings) == 0 {
		r.Header.Del("Content-Encoding")
	} else {
		r.Header.Set("Content-Encoding", strings.Join(encodings, ", "))
	}
	return nil
}

// chunkedBody decodes a body in chunks. A signed chunk is handed out only after
// its signature, which covers the one before it, is verified.
type chunkedBody struct {
	from       io.Closer
	in         *bufio.Reader
	signature  *signature
	signingKey [sha256.Size]byte
	signed     bool
	trailer    bool

	left     int64  // decoded bytes that are still to come
	previous string // signature before the next chunk's
	chunk    []byte // decoded bytes to hand out
	storage  []byte
	err      error // once the body has ended
}

func (b *chunkedBody) Close() error { return b.from.Close() }

func (b *chunkedBody) Read(p []byte) (int, error) {
	for len(b.chunk) == 0 {
		if b.err == nil {
			b.err = b.next()
		}
		if b.err != nil && len(b.chunk) == 0 {
			return 0, b.err
		}
	}
	n := copy(p, b.chunk)
	b.chunk = b.chunk[n:]
	return n, nil
}

func errMismatch() error { return lambda.Errorf(lambda.CodeInvalidSignature, mismatch) }

// next reads a chunk. It returns io.EOF after the last one and its trailers.
func (b *chunkedBody) next() error {
	line, err := b.line()
	if err != nil {
		return err
	}
	head, extension, _ := strings.Cut(line, ";")
	size, err := strconv.ParseUint(head, 16, 63)
	if err != nil || int64(size) > b.left {
		return errMismatch()
	}
	chunkSum := ""
	if b.signed {
		var ok bool
		if chunkSum, ok = strings.CutPrefix(strings.TrimSpace(extension), chunkSignature); !ok {
			return errMismatch()
		}
	}
	if err := b.read(int(size)); err != nil {
		return err
	}
	if b.signed && !b.verify("AWS4-HMAC-SHA256-PAYLOAD", chunkSum, b.chunk, true) {
		b.chunk = nil
		return errMismatch()
	}
	b.left -= int64(size)
	if size > 0 {
		return b.endOfLine()
	}
	if b.left > 0 {
		return errMismatch()
	}
	return b.end()
}

// read reads the content of a chunk. Memory grows with what has come, not with
// what the client says.
func (b *chunkedBody) read(size int) error {
	b.storage = b.storage[:0]
	for size > len(b.storage) {
		more := min(size-len(b.storage), int(firstBuffer))
		b.storage = slices.Grow(b.storage, more)
		at := len(b.storage)
		b.storage = b.storage[:at+more]
		if _, err := io.ReadFull(b.in, b.storage[at:]); err != nil {
			return broken(err)
		}
	}
	b.chunk = b.storage
	return nil
}

// end reads what follows the last chunk: the trailers, if there are any.
func (b *chunkedBody) end() error {
	var trailers bytes.Buffer
	given := ""
	for {
		line, err := b.line()
		if errors.Is(err, io.ErrUnexpectedEOF) && line == "" {
			break // some clients leave the last empty line out
		} else if err != nil {
			return err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !b.trailer || trailers.Len()+len(line) > maxTrailers {
			return errMismatch()
		}
		if strings.EqualFold(name, "x-amz-trailer-signature") {
			given = strings.TrimSpace(value)
			continue
		}
		trailers.WriteString(strings.ToLower(name) + ":" + strings.TrimSpace(value) + "\n")
	}
	if b.signed && b.trailer && !b.verify("AWS4-HMAC-SHA256-TRAILER", given, trailers.Bytes(), false) {
		return errMismatch()
	}
	return io.EOF
}

// verify checks the signature of the next part of the chain.
func (b *chunkedBody) verify(kind, given string, content []byte, chunk bool) bool {
	text := b.signature.appendStringToSign(nil, kind)
	text = append(append(text, b.previous...), '\n')
	if chunk {
		text = append(append(text, emptyDigest...), '\n')
	}
	digest := sha256.Sum256(content)
	text = hex.AppendEncode(text, digest[:])
	sum := mac(b.signingKey[:], text)
	want := hex.EncodeToString(sum[:])
	b.previous = want
	return subtle.ConstantTimeCompare([]byte(want), []byte(given)) == 1
}

// line reads a line without its end.
func (b *chunkedBody) line() (string, error) {
	line, err := b.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errMismatch()
	} else if err != nil {
		return strings.TrimSpace(string(line)), broken(err)
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

func (b *chunkedBody) endOfLine() error {
	line, err := b.line()
	if err == nil && line != "" {
		err = errMismatch()
	}
	return err
}

// broken is the error of a body that ends too early or cannot be read.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &lambda.Error{Code: lambda.CodeInvalidRequestContent, Message: "The request body could not be read.", Cause: err}
}

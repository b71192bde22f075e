package iam

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiln/lambda"
)

// TestDocumentedChunks is the example of "Signature calculations for the
// Authorization header: transferring payload in multiple chunks" in AWS's
// documentation of S3.
func TestDocumentedChunks(t *testing.T) {
	v := testVerifier()
	v.Now = func() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) }
	v.Service = func(*http.Request) string { return "s3" }
	var wire bytes.Buffer
	for _, line := range []string{
		"PUT /examplebucket/chunkObject.txt HTTP/1.1", "Host: s3.amazonaws.com", "x-amz-date: 20130524T000000Z",
		"x-amz-storage-class: REDUCED_REDUNDANCY",
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
			"SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class," +
			"Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
		"x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "Content-Encoding: aws-chunked",
		"x-amz-decoded-content-length: 66560", "Content-Length: 66824", "",
		"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648", strings.Repeat("a", 65536),
		"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497", strings.Repeat("a", 1024),
		"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", "",
	} {
		wire.WriteString(line + "\r\n")
	}
	r, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	body, err := receive(v, r)
	if err != nil || body != strings.Repeat("a", 66560) {
		t.Errorf("body of %d bytes, %v", len(body), err)
	}
	if r.ContentLength != 66560 || r.Header.Get("Content-Encoding") != "" {
		t.Errorf("length %d, encoding %q", r.ContentLength, r.Header.Get("Content-Encoding"))
	}
}

// chunks encodes a body in signed or unsigned chunks.
type chunks struct {
	word     string
	sizes    []int
	trailers []string
}

// request returns a request whose body is chunked, with the offset in the wire
// form of the body's beginning.
func (c chunks) request(t fatal, v *Verifier, body string) *http.Request {
	t.Helper()
	r := newRequest(t, "POST", "http://localhost:3001/2015-03-31/functions/f/invocations", "")
	r.Header.Set("X-Amz-Content-Sha256", c.word)
	r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(len(body)))
	r.Header.Set("Content-Encoding", "aws-chunked,gzip")
	sign(t, r, permanent, c.word, "lambda", testRegion, testTime)
	s, err := parse(r)
	if err != nil {
		t.Fatal(err)
	}
	key := v.signingKeys.get(testKeys()[testID], s)
	previous := s.value
	next := func(kind, content string, chunk bool) string {
		text := string(s.appendStringToSign(nil, kind)) + previous + "\n"
		if chunk {
			text += emptyDigest + "\n"
		}
		sum := mac(key[:], []byte(text+digestOf(content)))
		previous = hex.EncodeToString(sum[:])
		return previous
	}
	var wire strings.Builder
	write := func(content string) {
		fmt.Fprintf(&wire, "%x", len(content))
		if c.word != unsignedChunksTrailer {
			wire.WriteString(";chunk-signature=" + next("AWS4-HMAC-SHA256-PAYLOAD", content, true))
		}
		wire.WriteString("\r\n" + content)
		if content != "" {
			wire.WriteString("\r\n")
		}
	}
	for rest, i := body, 0; rest != ""; i++ {
		n := min(len(rest), c.sizes[i%len(c.sizes)])
		write(rest[:n])
		rest = rest[n:]
	}
	write("")
	if c.word != signedChunks {
		canonical := ""
		for _, trailer := range c.trailers {
			canonical += trailer + "\n"
			wire.WriteString(trailer + "\r\n")
		}
		if c.word == signedChunksTrailer {
			wire.WriteString("x-amz-trailer-signature:" + next("AWS4-HMAC-SHA256-TRAILER", canonical, false) + "\r\n")
		}
	}
	wire.WriteString("\r\n")
	r.Body = io.NopCloser(strings.NewReader(wire.String()))
	return r
}

func anyChunks(t *rapid.T) (chunks, string) {
	return chunks{
		word:     rapid.SampledFrom([]string{signedChunks, signedChunksTrailer, unsignedChunksTrailer}).Draw(t, "word"),
		sizes:    rapid.SliceOfN(rapid.IntRange(1, 300), 1, 4).Draw(t, "sizes"),
		trailers: rapid.SliceOfN(rapid.Just("x-amz-checksum-crc32:sOO8/Q=="), 0, 2).Draw(t, "trailers"),
	}, rapid.StringN(0, 500, 1000).Draw(t, "body")
}

func TestChunks(t *testing.T) {
	v := testVerifier()
	rapid.Check(t, func(t *rapid.T) {
		c, body := anyChunks(t)
		r := c.request(t, v, body)
		got, err := receive(v, r)
		if err != nil || got != body {
			t.Fatalf("body %q, %v", got, err)
		}
		if r.ContentLength != int64(len(body)) || r.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("length %d, encoding %q", r.ContentLength, r.Header.Get("Content-Encoding"))
		}
	})
}

// TestChangedChunks changes a byte of a signed body, or cuts it.
func TestChangedChunks(t *testing.T) {
	v := testVerifier()
	rapid.Check(t, func(t *rapid.T) {
		c, body := anyChunks(t)
		r := c.request(t, v, body)
		wire, _ := io.ReadAll(r.Body)
		at := rapid.IntRange(0, len(wire)-3).Draw(t, "at")
		cut := rapid.Bool().Draw(t, "cut")
		if cut {
			wire = wire[:at]
		} else {
			wire[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "with"))
		}
		r.Body = io.NopCloser(bytes.NewReader(wire))
		got, err := receive(v, r)
		if err == nil && got != body && c.word != unsignedChunksTrailer {
			t.Fatalf("took %q for %q", got, body)
		}
		if err != nil && lambda.CodeOf(err) != lambda.CodeInvalidSignature && lambda.CodeOf(err) != lambda.CodeInvalidRequestContent {
			t.Fatal(err)
		}
		// What is handed out before the error is the beginning of what was signed.
		if c.word != unsignedChunksTrailer && !strings.HasPrefix(body, got) {
			t.Fatalf("handed out %q of %q", got, body)
		}
	})
}

func TestChunksRefuse(t *testing.T) {
	v := testVerifier()
	v.MaxBodyBytes = 1000
	c := chunks{word: signedChunks, sizes: []int{100}}
	for name, test := range map[string]struct {
		edit func(r *http.Request, wire string) string
		code lambda.Code
	}{
		"head without an end": {func(_ *http.Request, wire string) string { return strings.Repeat("1", 2*maxChunkLine) + wire }, lambda.CodeInvalidSignature},
		"no signature":        {func(_ *http.Request, wire string) string { return strings.Replace(wire, ";chunk", ";x", 1) }, lambda.CodeInvalidSignature},
		"huge chunk":          {func(_ *http.Request, wire string) string { return "7fffffffffffffff" + wire }, lambda.CodeInvalidSignature},
		"no size":             {func(_ *http.Request, wire string) string { return "x" + wire }, lambda.CodeInvalidSignature},
		"trailers":            {func(_ *http.Request, wire string) string { return strings.TrimSuffix(wire, "\r\n") + "a:b\r\n\r\n" }, lambda.CodeInvalidSignature},
		"last chunk missing":  {func(_ *http.Request, wire string) string { return wire[:strings.LastIndex(wire, "0;")] }, lambda.CodeInvalidRequestContent},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.request(t, v, strings.Repeat("b", 250))
			wire, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(strings.NewReader(test.edit(r, string(wire))))
			if _, err := receive(v, r); lambda.CodeOf(err) != test.code {
				t.Errorf("got %v, want %s", err, test.code)
			}
		})
	}
	if _, err := receive(v, c.request(t, v, strings.Repeat("b", 1001))); lambda.CodeOf(err) != lambda.CodeRequestTooLarge {
		t.Errorf("too large: %v", err)
	}
	r := newRequest(t, "POST", "http://localhost/", "x")
	r.Header.Set("X-Amz-Content-Sha256", signedChunks)
	sign(t, r, permanent, signedChunks, "lambda", testRegion, testTime)
	if _, err := receive(v, send(t, r)); lambda.CodeOf(err) != lambda.CodeIncompleteSignature {
		t.Errorf("without a length: %v", err)
	}
}

// TestDigestBody reads in pieces, and fails at the end rather than before.
func TestDigestBody(t *testing.T) {
	for _, body := range []string{"", "right", "wrong"} {
		want := sha256.Sum256([]byte(strings.Replace(body, "wrong", "other", 1)))
		b := &digestBody{ReadCloser: io.NopCloser(strings.NewReader(body)), hash: sha256.New(), want: want}
		got, err := io.ReadAll(struct{ io.Reader }{b})
		if string(got) != body {
			t.Errorf("read %q of %q", got, body)
		}
		if (err != nil) != (body == "wrong") || err != nil && errors.Is(err, io.EOF) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

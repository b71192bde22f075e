package iam

import (
	"bytes"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// buffers holds canonical requests while they are made.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// appendCanonicalRequest appends the text of which the signature signs a digest.
func appendCanonicalRequest(b []byte, r *http.Request, path string, s *signature) []byte {
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = appendEscaped(b, path, true)
	b = append(b, '\n')
	b = appendCanonicalQuery(b, r.URL.RawQuery)
	b = append(b, '\n')
	for name := range strings.SplitSeq(s.signedHeaders, ";") {
		b = append(b, name...)
		b = append(b, ':')
		b = appendHeader(b, r, name)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, s.signedHeaders...)
	b = append(b, '\n')
	return append(b, s.payload...)
}

// requestPath returns the path as the client sent it, escapes and all.
func requestPath(r *http.Request) string {
	path := r.RequestURI
	if !strings.HasPrefix(path, "/") { // absolute, or not from the wire
		path = r.URL.EscapedPath()
	}
	path, _, _ = strings.Cut(path, "?")
	if path == "" {
		return "/"
	}
	return path
}

// normalizePath drops "." and empty elements and follows "..".
func normalizePath(path string) string {
	var kept []string
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "", ".":
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
		default:
			kept = append(kept, part)
		}
	}
	plain := "/" + strings.Join(kept, "/")
	if len(kept) > 0 && strings.HasSuffix(path, "/") {
		plain += "/"
	}
	return plain
}

const upperHex = "0123456789ABCDEF"

// unreserved are the bytes that Signature Version 4 never escapes.
var unreserved = func() (set [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") {
		set[c] = true
	}
	return set
}()

// appendEscaped appends text with every byte escaped that is not unreserved. In a
// path that has escapes already, this escapes them again, as all services but
// S3 have it.
func appendEscaped(b []byte, text string, slashes bool) []byte {
	for i := range len(text) {
		b = appendByte(b, text[i], slashes)
	}
	return b
}

func appendByte(b []byte, c byte, slashes bool) []byte {
	if unreserved[c] || slashes && c == '/' {
		return append(b, c)
	}
	return append(b, '%', upperHex[c>>4], upperHex[c&15])
}

// appendCanonicalQuery appends the parameters in canonical escapes, sorted by
// name and value, without the signature itself.
func appendCanonicalQuery(b []byte, raw string) []byte {
	if raw == "" {
		return b
	}
	var parameters [][]byte
	for parameter := range strings.SplitSeq(raw, "&") {
		if parameter == "" {
			continue
		}
		name, value, _ := strings.Cut(parameter, "=")
		text := appendUnescaped(make([]byte, 0, len(parameter)+16), name)
		if string(text) == "X-Amz-Signature" {
			continue
		}
		text = append(text, '=')
		parameters = append(parameters, appendUnescaped(text, value))
	}
	// '=' within names and values is escaped; it sorts after '%', '-', '.' and the
	// digits, so names are compared before values.
	slices.SortFunc(parameters, func(x, y []byte) int {
		xName, xValue, _ := bytes.Cut(x, []byte("="))
		yName, yValue, _ := bytes.Cut(y, []byte("="))
		if c := bytes.Compare(xName, yName); c != 0 {
			return c
		}
		return bytes.Compare(xValue, yValue)
	})
	for i, parameter := range parameters {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, parameter...)
	}
	return b
}

// appendUnescaped appends a part of a query with the client's escapes replaced by
// the canonical ones.
func appendUnescaped(b []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			c = fromHex(text[i+1])<<4 | fromHex(text[i+2])
			i += 2
		}
		b = appendByte(b, c, false)
	}
	return b
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func fromHex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// appendHeader appends the canonical value of a header: all of its values, with
// no spaces around and no two within. The HTTP server keeps some headers elsewhere.
func appendHeader(b []byte, r *http.Request, name string) []byte {
	switch name {
	case "host":
		return appendTrimmed(b, r.Host)
	case "content-length":
		if r.ContentLength >= 0 {
			b = strconv.AppendInt(b, r.ContentLength, 10)
		}
		return b
	case "transfer-encoding":
		return append(b, strings.Join(r.TransferEncoding, ",")...)
	}
	for i, value := range r.Header[textproto.CanonicalMIMEHeaderKey(name)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTrimmed(b, value)
	}
	return b
}

func appendTrimmed(b []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	if !strings.Contains(value, "  ") {
		return append(b, value...)
	}
	for i := range len(value) {
		if value[i] != ' ' || value[i-1] != ' ' {
			b = append(b, value[i])
		}
	}
	return b
}

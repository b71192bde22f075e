package rest

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of JSON, because the reader recurses.
const maxDepth = 1000

// syntaxError is a text that is not JSON.
type syntaxError struct {
	offset int
	what   string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at offset %d", e.what, e.offset) }

// Valid reports with an error why data is not exactly one JSON value in UTF-8.
// It allocates nothing for a valid text.
func Valid(data []byte) error {
	if !utf8.Valid(data) {
		at := 0
		for at < len(data) {
			r, n := utf8.DecodeRune(data[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return &syntaxError{at, fmt.Sprintf("invalid UTF-8 byte 0x%02x", data[at])}
	}
	r := reader{data: data}
	if err := r.skip(); err != nil {
		return err
	}
	return r.end()
}

// reader is a cursor over one JSON text. Its methods expect the cursor at a
// token or the white space before it and leave it behind what they have read.
type reader struct {
	data  []byte
	pos   int
	depth int
}

func (r *reader) fail(what string) error { return &syntaxError{r.pos, what} }

// unexpected is the error for whatever stands at the cursor.
func (r *reader) unexpected() error {
	if r.pos >= len(r.data) {
		return r.fail("unexpected end of input")
	}
	c, _ := utf8.DecodeRune(r.data[r.pos:])
	return r.fail("unexpected character " + strconv.QuoteRune(c))
}

// peek returns the first byte of the next token, 0 at the end.
func (r *reader) peek() byte {
	for r.pos < len(r.data) {
		switch c := r.data[r.pos]; c {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return c
		}
	}
	return 0
}

// end checks that nothing but white space is left.
func (r *reader) end() error {
	if r.peek(); r.pos < len(r.data) {
		return r.unexpected()
	}
	return nil
}

// accept consumes c if it is next.
func (r *reader) accept(c byte) bool {
	if r.peek() != c || r.pos >= len(r.data) {
		return false
	}
	r.pos++
	return true
}

func (r *reader) enter() error {
	if r.depth++; r.depth > maxDepth {
		return r.fail("nested too deeply")
	}
	r.pos++
	return nil
}

// object calls each for every member with the cursor at its value; each must
// consume the value. The name is valid during the call.
func (r *reader) object(each func(name []byte) error) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer func() { r.depth-- }()
	if r.accept('}') {
		return nil
	}
	for {
		if r.peek() != '"' {
			return r.unexpected()
		}
		name, escaped, err := r.string()
		if err != nil {
			return err
		}
		if escaped {
			name = []byte(unescape(name))
		}
		if !r.accept(':') {
			return r.unexpected()
		}
		if err := each(name); err != nil {
			return err
		}
		if r.accept('}') {
			return nil
		}
		if !r.accept(',') {
			return r.unexpected()
		}
	}
}

// array calls each for every element with the cursor at it; each must consume it.
func (r *reader) array(each func() error) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer func() { r.depth-- }()
	if r.accept(']') {
		return nil
	}
	for {
		if err := each(); err != nil {
			return err
		}
		if r.accept(']') {
			return nil
		}
		if !r.accept(',') {
			return r.unexpected()
		}
	}
}

// skip consumes any value.
func (r *reader) skip() error {
	switch c := r.peek(); {
	case c == '{':
		return r.object(r.skipMember)
	case c == '[':
		return r.array(r.skip)
	case c == '"':
		_, _, err := r.string()
		return err
	case c == 't':
		return r.literal("true")
	case c == 'f':
		return r.literal("false")
	case c == 'n':
		return r.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		_, err := r.number()
		return err
	}
	return r.unexpected()
}

func (r *reader) skipMember([]byte) error { return r.skip() }

func (r *reader) literal(word string) error {
	if len(r.data)-r.pos < len(word) || string(r.data[r.pos:r.pos+len(word)]) != word {
		return r.unexpected()
	}
	r.pos += len(word)
	return nil
}

// number consumes a number and returns its text.
func (r *reader) number() ([]byte, error) {
	start := r.pos
	if r.data[r.pos] == '-' {
		r.pos++
	}
	switch {
	case r.pos < len(r.data) && r.data[r.pos] == '0':
		r.pos++
	case !r.digits():
		return nil, r.unexpected()
	}
	if r.pos < len(r.data) && r.data[r.pos] == '.' {
		if r.pos++; !r.digits() {
			return nil, r.unexpected()
		}
	}
	if r.pos < len(r.data) && (r.data[r.pos] == 'e' || r.data[r.pos] == 'E') {
		if r.pos++; r.pos < len(r.data) && (r.data[r.pos] == '+' || r.data[r.pos] == '-') {
			r.pos++
		}
		if !r.digits() {
			return nil, r.unexpected()
		}
	}
	return r.data[start:r.pos], nil
}

func (r *reader) digits() bool {
	start := r.pos
	for r.pos < len(r.data) && '0' <= r.data[r.pos] && r.data[r.pos] <= '9' {
		r.pos++
	}
	return r.pos > start
}

// plain marks the bytes that stand for themselves within a string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// string consumes a string and returns what is between its quotes, and whether
// that has escapes.
func (r *reader) string() (raw []byte, escaped bool, err error) {
	r.pos++
	start := r.pos
	for {
		for r.pos < len(r.data) && plain[r.data[r.pos]] {
			r.pos++
		}
		if r.pos >= len(r.data) {
			return nil, false, r.unexpected()
		}
		switch r.data[r.pos] {
		case '"':
			r.pos++
			return r.data[start : r.pos-1], escaped, nil
		case '\\':
			escaped = true
			if err := r.escape(); err != nil {
				return nil, false, err
			}
		default:
			return nil, false, r.fail("control character in a string")
		}
	}
}

// escape consumes one escape sequence.
func (r *reader) escape() error {
	r.pos++
	if r.pos >= len(r.data) {
		return r.unexpected()
	}
	switch r.data[r.pos] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		r.pos++
		return nil
	case 'u':
		r.pos++
		for range 4 {
			if r.pos >= len(r.data) || hex(r.data[r.pos]) < 0 {
				return r.unexpected()
			}
			r.pos++
		}
		return nil
	}
	return r.unexpected()
}

func hex(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// unescape returns the text of a string that the reader has accepted. Half of
// a surrogate pair becomes U+FFFD.
func unescape(raw []byte) string {
	out := make([]byte, 0, len(raw))
	unit := func(i int) rune {
		return hex(raw[i])<<12 | hex(raw[i+1])<<8 | hex(raw[i+2])<<4 | hex(raw[i+3])
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++
		switch c := raw[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			u := unit(i + 1)
			i += 4
			if utf16.IsSurrogate(u) {
				pair := rune(utf8.RuneError)
				if i+6 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
					if pair = utf16.DecodeRune(u, unit(i+3)); pair != utf8.RuneError {
						i += 6
					}
				}
				u = pair
			}
			out = utf8.AppendRune(out, u)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

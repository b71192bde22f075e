package logs

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxMessageBytes is how long a message may be; the rest is cut off.
const MaxMessageBytes = 256 << 10

// Event is one line of a log.
type Event struct {
	// Time is when it happened, to the millisecond.
	Time time.Time
	// Message is UTF-8; other bytes are stored as U+FFFD.
	Message string

	// The following are set by the store.

	// Stream is the stream's name.
	Stream string
	// Ingested is when the store took the event.
	Ingested time.Time
	// ID is unique within the group and ascends in the order of arrival.
	ID string
}

// An event is stored as a line of four fields separated by tabs: its time and
// its time of arrival in milliseconds, the stream, and the message. Backslashes
// and line ends are escaped, tabs in the stream's name too.

// appendRecord appends e as a line.
func appendRecord(b []byte, e *Event) []byte {
	b = strconv.AppendInt(b, e.Time.UnixMilli(), 10)
	b = append(b, '\t')
	b = strconv.AppendInt(b, e.Ingested.UnixMilli(), 10)
	b = append(b, '\t')
	b = appendEscaped(b, e.Stream, true)
	b = append(b, '\t')
	b = appendEscaped(b, e.Message, false)
	return append(b, '\n')
}

func appendEscaped(b []byte, s string, tabs bool) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			b = append(b, `\\`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\t' && tabs:
			b = append(b, `\t`...)
		default:
			b = append(b, c)
		}
	}
	return b
}

func unescape(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) {
			i++
			switch b[i] {
			case 'n':
				out = append(out, '\n')
			case 't':
				out = append(out, '\t')
			default:
				out = append(out, b[i])
			}
			continue
		}
		out = append(out, b[i])
	}
	return string(out)
}

var errRecord = errors.New("not a log record")

// record is a parsed line whose message is not yet unescaped.
type record struct {
	time, ingested int64 // ms
	stream         []byte
	message        []byte
}

func parseRecord(line []byte) (record, error) {
	var r record
	at, rest, ok1 := bytes.Cut(line, []byte{'\t'})
	in, rest, ok2 := bytes.Cut(rest, []byte{'\t'})
	stream, message, ok3 := bytes.Cut(rest, []byte{'\t'})
	if !ok1 || !ok2 || !ok3 {
		return r, errRecord
	}
	var err1, err2 error
	r.time, err1 = strconv.ParseInt(string(at), 10, 64)
	r.ingested, err2 = strconv.ParseInt(string(in), 10, 64)
	if err1 != nil || err2 != nil {
		return r, errRecord
	}
	r.stream, r.message = stream, message
	return r, nil
}

// event returns r, found at p, as an Event.
func (r record) event(p position) Event {
	return Event{
		Time:     time.UnixMilli(r.time),
		Ingested: time.UnixMilli(r.ingested),
		Stream:   unescape(r.stream),
		Message:  unescape(r.message),
		ID:       p.String(),
	}
}

// position is a place in a group: a segment's number and an offset in it.
// Positions ascend in the order of arrival.
type position struct {
	segment int
	offset  int64
}

func (p position) less(o position) bool {
	return p.segment < o.segment || p.segment == o.segment && p.offset < o.offset
}

// positionDigits is the length of each half of a position in text; together
// they have the length of AWS's event identifiers.
const positionDigits = 28

// String returns 56 digits that sort as positions do.
func (p position) String() string {
	return fmt.Sprintf("%0*d%0*d", positionDigits, p.segment, positionDigits, p.offset)
}

func parsePosition(s string) (position, error) {
	var p position
	if len(s) != 2*positionDigits {
		return p, errors.New("not a position")
	}
	segment, err1 := strconv.ParseUint(s[:positionDigits], 10, 31)
	offset, err2 := strconv.ParseUint(s[positionDigits:], 10, 62)
	if err1 != nil || err2 != nil {
		return p, errors.New("not a position")
	}
	return position{int(segment), int64(offset)}, nil
}

// cutMessage shortens a message that is too long, at a character's boundary.
func cutMessage(s string) string {
	if len(s) <= MaxMessageBytes {
		return s
	}
	end := MaxMessageBytes
	for end > MaxMessageBytes-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

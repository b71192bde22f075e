// Package model is AWS Lambda's API as data: every operation with its route,
// every input and output as a Go structure, every constraint and error shape.
//
// The files whose names begin with "zz_" are generated from the service model
// that botocore carries; this file and pattern.go give the vocabulary they are
// written in. The package has no behaviour beyond resolving its own references
// and is safe for concurrent use.
package model

import (
	"regexp"
	"strconv"
	"sync"
	"time"
)

// Regenerate with LAMBDA_MODEL naming service-2.json or service-2.json.gz of
// botocore's data/lambda/2015-03-31.
//go:generate go run kiln/controlplane/api/gen -model ${LAMBDA_MODEL} -out .

// Kind is the type of a shape.
type Kind uint8

// The kinds of shapes.
const (
	Structure Kind = iota + 1
	List
	Map
	String
	Integer // 32 or 64 bits
	Double
	Boolean
	Blob
	Timestamp
)

// Location says which part of an HTTP message carries a member.
type Location uint8

// The locations of members.
const (
	InBody    Location = iota // a member of the JSON object
	InURI                     // a segment of the path
	InQuery                   // a query parameter
	InHeader                  // a header
	InStatus                  // the HTTP status (outputs only)
	InPayload                 // the whole body
)

// Shape is a type with its constraints. A Shape is immutable.
type Shape struct {
	Kind Kind
	// Min and Max bound a value, or the length of a string, blob, list or map; nil is no bound.
	Min, Max *int64
	// Pattern is the regular expression that a whole string must match, as AWS writes it.
	Pattern string
	// Enum lists the values a string may take.
	Enum []string
	// Sensitive values are not repeated in error messages.
	Sensitive bool
	// Members are a structure's, in the order of its Go structure's fields.
	Members []Member
	// Key, and Elem for the values of maps and the elements of lists, name other shapes.
	Key, Elem string

	once    sync.Once
	matcher matcher
}

// Member is a member of a structure.
type Member struct {
	// Name is the member's name in JSON, Wire its name at any other location.
	Name, Wire string
	In         Location
	Shape      string
	Required   bool
}

// Route is one operation of the API and how requests find it.
type Route struct {
	Name   string
	Method string
	// Path is a template: segments in braces are members of the input.
	Path string
	// Query is a "name=value" that a request must carry to be this operation, or "".
	Query string
	// Status is the HTTP status of success.
	Status int
	// Input and Output name structures; Output is "" for none.
	Input, Output string
	// New returns a pointer to a zero Go structure of the input.
	New func() any
}

// Exception is an error shape that the model declares.
type Exception struct {
	Status int
	// MessageKey is the JSON member of the message: "message" or "Message".
	MessageKey string
	// Service is true for faults that are not the caller's.
	Service bool
}

// Time is a timestamp of the API: seconds since 1970 in JSON.
type Time struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(t.UnixMilli())/1000, 'f', -1, 64), nil
}

// Lookup returns the named shape, which must exist.
func Lookup(name string) *Shape {
	s := shapes[name]
	if s == nil {
		panic("model: no shape " + name)
	}
	return s
}

// LookupOutput returns the shape of an output that has members outside of its
// JSON object, or nil.
func LookupOutput(name string) *Shape { return shapes[name] }

// Matches reports whether all of v matches the shape's pattern; v matches when
// there is none.
func (s *Shape) Matches(v string) bool {
	if s.Pattern == "" {
		return true
	}
	s.once.Do(func() { s.matcher = compile(s.Pattern) })
	return s.matcher.matches(v)
}

// matcher is a pattern in terms of expressions without look-around.
type matcher struct {
	match *regexp.Regexp
	not   *regexp.Regexp // nil, or an expression that must not match
}

func (m matcher) matches(v string) bool {
	return m.match.MatchString(v) && (m.not == nil || !m.not.MatchString(v))
}

func bound(n int64) *int64 { return &n }

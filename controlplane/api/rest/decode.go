package rest

import (
	"encoding/base64"
	"errors"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"kiln/controlplane/api/model"
	"kiln/lambda"
)

// Request is what Decode reads an operation's input from.
type Request struct {
	Route  *model.Route
	Params map[string]string // of the path
	Query  url.Values
	Header http.Header
	Body   []byte
}

// Decode returns the operation's input: a pointer to the Go structure that the
// route's New makes. Unknown members are ignored, null is absent, an empty
// body is an empty object. Constraints are not checked; see Validate. The
// result may refer to the body when a blob is the whole of it. Errors are of
// CodeSerialization or CodeValidation with AWS's words.
func Decode(q Request) (any, error) {
	in := q.Route.New()
	v := reflect.ValueOf(in).Elem()
	shape := model.Lookup(q.Route.Input)
	inBody := false
	for i, m := range shape.Members {
		var values []string
		switch m.In {
		case model.InURI:
			values = []string{q.Params[m.Wire]}
		case model.InQuery:
			values = q.Query[m.Wire]
		case model.InHeader:
			values = q.Header.Values(m.Wire)
		case model.InPayload:
			if err := payload(q.Body, model.Lookup(m.Shape), v.Field(i), m.Name); err != nil {
				return nil, err
			}
			continue
		default:
			inBody = true
			continue
		}
		if len(values) == 0 {
			continue
		}
		if err := fromText(values, model.Lookup(m.Shape), v.Field(i)); err != nil {
			return nil, err
		}
	}
	if !inBody || len(q.Body) == 0 {
		return in, nil
	}
	return in, document(q.Body, shape, v, nil)
}

// payload decodes a member that is the whole body.
func payload(body []byte, s *model.Shape, v reflect.Value, name string) error {
	if s.Kind == model.Blob {
		if len(body) > 0 {
			v.SetBytes(body)
		}
		return nil
	}
	if len(body) == 0 {
		return nil
	}
	return document(body, s, v, []string{name})
}

// document decodes a body that must be one JSON value.
func document(body []byte, s *model.Shape, v reflect.Value, path []string) error {
	if !utf8.Valid(body) {
		return lambda.Errorf(lambda.CodeSerialization, "The request body is not valid UTF-8.")
	}
	d := decoder{reader: reader{data: body}, path: path}
	err := d.value(s, v)
	if err == nil {
		err = d.end()
	}
	if syntax := (*syntaxError)(nil); errors.As(err, &syntax) {
		return lambda.Errorf(lambda.CodeSerialization, "Could not parse request body into json: %s", syntax.Error())
	}
	return err
}

// decoder decodes one JSON text by a shape.
type decoder struct {
	reader
	path []string // names of the members on the way, for errors
}

func mismatch(format string, args ...any) error {
	return lambda.Errorf(lambda.CodeSerialization, format, args...)
}

// value decodes the next value into v, which is left as it is for null.
func (d *decoder) value(s *model.Shape, v reflect.Value) error {
	c := d.peek()
	if c == 'n' {
		return d.literal("null")
	}
	if err := d.fits(c, s.Kind); err != nil {
		return err
	}
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		if err := d.value(s, fresh.Elem()); err != nil {
			return err
		}
		v.Set(fresh)
		return nil
	}
	switch s.Kind {
	case model.Structure:
		return d.structure(s, v)
	case model.List:
		return d.list(s, v)
	case model.Map:
		return d.mapping(s, v)
	case model.String, model.Blob:
		return d.text(s, v)
	case model.Boolean:
		v.SetBool(c == 't')
		return d.skip()
	case model.Timestamp:
		return d.timestamp(v)
	}
	text, err := d.number()
	if err != nil {
		return err
	}
	return setNumber(string(text), v)
}

// fits checks the type of the value that begins with c, in AWS's words.
func (d *decoder) fits(c byte, want model.Kind) error {
	var got string
	switch {
	case c == '{':
		if want == model.Structure || want == model.Map {
			return nil
		}
		return mismatch("Start of structure or map found where not expected.")
	case c == '[':
		if want == model.List {
			return nil
		}
		return mismatch("Start of list found where not expected")
	case c == '"':
		if want == model.String || want == model.Blob || want == model.Timestamp {
			return nil
		}
		got = "STRING_VALUE"
	case c == 't' || c == 'f':
		if want == model.Boolean {
			return nil
		}
		got = map[byte]string{'t': "TRUE_VALUE", 'f': "FALSE_VALUE"}[c]
	case c == '-' || '0' <= c && c <= '9':
		if want == model.Integer || want == model.Double || want == model.Timestamp {
			return nil
		}
		got = "NUMBER_VALUE"
	default:
		return d.unexpected()
	}
	// What follows must be JSON for the type to be the error worth reporting.
	if err := d.skip(); err != nil {
		return err
	}
	switch want {
	case model.List:
		return mismatch("Expected list or null")
	case model.Structure, model.Map:
		return mismatch("Expected null")
	}
	return mismatch("%s can not be converted to %s", got, article[want])
}

var article = map[model.Kind]string{
	model.String: "a String", model.Integer: "an Integer", model.Double: "a Double",
	model.Boolean: "a Boolean", model.Blob: "a Blob", model.Timestamp: "a Timestamp",
}

func (d *decoder) structure(s *model.Shape, v reflect.Value) error {
	return d.object(func(name []byte) error {
		for i := range s.Members {
			m := &s.Members[i]
			if m.In != model.InBody || m.Name != string(name) {
				continue
			}
			d.path = append(d.path, m.Name)
			field := v.Field(i)
			field.SetZero() // the last of two members of one name counts
			err := d.value(model.Lookup(m.Shape), field)
			d.path = d.path[:len(d.path)-1]
			return err
		}
		return d.skip()
	})
}

// list drops elements that are null, as AWS does.
func (d *decoder) list(s *model.Shape, v reflect.Value) error {
	elem := model.Lookup(s.Elem)
	list := reflect.MakeSlice(v.Type(), 0, 2)
	err := d.array(func() error {
		if d.peek() == 'n' {
			return d.literal("null")
		}
		item := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(elem, item); err != nil {
			return err
		}
		list = reflect.Append(list, item)
		return nil
	})
	v.Set(list)
	return err
}

func (d *decoder) mapping(s *model.Shape, v reflect.Value) error {
	elem := model.Lookup(s.Elem)
	entries := reflect.MakeMap(v.Type())
	err := d.object(func(name []byte) error {
		if d.peek() == 'n' {
			return detected([]string{"Value at '" + lowerPath(d.path) +
				"' failed to satisfy constraint: Map value must satisfy constraint: [Member must not be null]"})
		}
		key := reflect.ValueOf(string(name))
		item := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(elem, item); err != nil {
			return err
		}
		entries.SetMapIndex(key, item)
		return nil
	})
	v.Set(entries)
	return err
}

func (d *decoder) text(s *model.Shape, v reflect.Value) error {
	raw, escaped, err := d.string()
	if err != nil {
		return err
	}
	if s.Kind == model.String {
		if escaped {
			v.SetString(unescape(raw))
		} else {
			v.SetString(string(raw))
		}
		return nil
	}
	if escaped {
		raw = []byte(unescape(raw))
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(raw)))
	n, err := base64.StdEncoding.Decode(out, raw)
	if err != nil {
		return mismatch("STRING_VALUE can not be converted to a Blob: it is not valid base64")
	}
	v.SetBytes(out[:n])
	return nil
}

func (d *decoder) timestamp(v reflect.Value) error {
	if d.peek() == '"' {
		raw, _, err := d.string()
		if err != nil {
			return err
		}
		return setTime(string(raw), v)
	}
	text, err := d.number()
	if err != nil {
		return err
	}
	return setTime(string(text), v)
}

// fromText decodes a member from a path, query or header.
func fromText(values []string, s *model.Shape, v reflect.Value) error {
	if s.Kind == model.List {
		elem := model.Lookup(s.Elem)
		list := reflect.MakeSlice(v.Type(), len(values), len(values))
		for i := range values {
			if err := fromText(values[i:i+1], elem, list.Index(i)); err != nil {
				return err
			}
		}
		v.Set(list)
		return nil
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch s.Kind {
	case model.Boolean:
		switch strings.ToLower(values[0]) {
		case "true":
			v.SetBool(true)
		case "false":
		default:
			return mismatch("STRING_VALUE can not be converted to a Boolean")
		}
		return nil
	case model.Integer, model.Double:
		return setNumber(values[0], v)
	case model.Timestamp:
		return setTime(values[0], v)
	}
	v.SetString(values[0])
	return nil
}

// setNumber cuts off the fraction of a number that should be an integer, as AWS does.
func setNumber(text string, v reflect.Value) error {
	if v.Kind() == reflect.Int64 {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			v.SetInt(n)
			return nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsNaN(f) || math.IsInf(f, 0):
		return mismatch("STRING_VALUE can not be converted to a number")
	case v.Kind() == reflect.Float64:
		v.SetFloat(f)
	case math.Abs(f) >= 1<<63:
		return mismatch("NUMBER_VALUE can not be converted to an Integer")
	default:
		v.SetInt(int64(f))
	}
	return nil
}

// setTime takes seconds since 1970 or a date of ISO 8601.
func setTime(text string, v reflect.Value) error {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.Abs(f) > 1e12 {
			return mismatch("STRING_VALUE can not be converted to a Timestamp")
		}
		t = time.UnixMilli(int64(f * 1000))
	}
	v.Set(reflect.ValueOf(model.Time{Time: t.UTC()}))
	return nil
}

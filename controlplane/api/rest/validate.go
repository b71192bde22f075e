package rest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"kiln/controlplane/api/model"
	"kiln/lambda"
)

// Validate checks an input, as Decode returns it, against the constraints of
// its shape. The error has CodeValidation and names every violation, in the
// model's order and AWS's words. The enumeration of runtimes is left to the
// operations, because AWS refuses an unknown one with another error.
func Validate(in any, shape string) error {
	var c checker
	c.structure(model.Lookup(shape), reflect.ValueOf(in).Elem(), nil)
	return detected(c.found)
}

// Violation is the error of a single value that breaks a constraint which the
// model does not have but AWS reports as if it did.
func Violation(value, path, constraint string) error {
	return detected([]string{fmt.Sprintf("Value '%s' at '%s' failed to satisfy constraint: %s", value, path, constraint)})
}

func detected(found []string) error {
	switch len(found) {
	case 0:
		return nil
	case 1:
		return lambda.Errorf(lambda.CodeValidation, "1 validation error detected: %s", found[0])
	}
	return lambda.Errorf(lambda.CodeValidation, "%d validation errors detected: %s", len(found), strings.Join(found, "; "))
}

// checker collects violations.
type checker struct{ found []string }

func (c *checker) report(shown string, path []string, constraint string) {
	c.found = append(c.found, fmt.Sprintf("Value%s at '%s' failed to satisfy constraint: %s", shown, lowerPath(path), constraint))
}

func (c *checker) structure(s *model.Shape, v reflect.Value, path []string) {
	for i := range s.Members {
		m := &s.Members[i]
		if m.Shape == "" {
			continue
		}
		at := append(path[:len(path):len(path)], m.Name)
		field := v.Field(i)
		if absent(field) {
			if m.Required {
				c.report(" null", at, "Member must not be null")
			}
			continue
		}
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		c.value(model.Lookup(m.Shape), field, at)
	}
}

func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	}
	return false
}

func (c *checker) value(s *model.Shape, v reflect.Value, path []string) {
	for _, constraint := range broken(s, v) {
		c.report(show(s, v), path, constraint)
	}
	switch s.Kind {
	case model.Structure:
		c.structure(s, v, path)
	case model.List:
		c.list(s, v, path)
	case model.Map:
		c.mapping(s, v, path)
	}
}

// list reports scalars once for all with every constraint they should satisfy,
// and structures one by one.
func (c *checker) list(s *model.Shape, v reflect.Value, path []string) {
	elem := model.Lookup(s.Elem)
	for i := range v.Len() {
		item := v.Index(i)
		if elem.Kind == model.Structure || elem.Kind == model.List || elem.Kind == model.Map {
			at := append(path[:len(path):len(path)], strconv.Itoa(i+1), "member")
			c.value(elem, item, at)
		} else if broken(elem, item) != nil {
			c.report(show(s, v), path, "Member must satisfy constraint: ["+all(elem)+"]")
			return
		}
	}
}

func (c *checker) mapping(s *model.Shape, v reflect.Value, path []string) {
	key, elem := model.Lookup(s.Key), model.Lookup(s.Elem)
	keys, values := true, true
	for it := v.MapRange(); it.Next(); {
		keys = keys && broken(key, it.Key()) == nil
		values = values && broken(elem, it.Value()) == nil
	}
	if !keys {
		c.report(show(s, v), path, "Map keys must satisfy constraint: ["+all(key)+"]")
	}
	if !values {
		c.report(show(s, v), path, "Map value must satisfy constraint: ["+all(elem)+"]")
	}
}

// broken returns the constraints of s itself that v does not satisfy.
func broken(s *model.Shape, v reflect.Value) (constraints []string) {
	size := 0.0
	switch s.Kind {
	case model.String:
		text := v.String()
		if s.Enum != nil && s != runtimes && !slices.Contains(s.Enum, text) {
			constraints = append(constraints, mustBeOneOf(s))
		}
		if !s.Matches(text) {
			constraints = append(constraints, mustMatch(s))
		}
		size = float64(utf8.RuneCountInString(text))
	case model.Integer:
		size = float64(v.Int())
	case model.Double:
		size = v.Float()
	case model.Blob, model.List, model.Map:
		size = float64(v.Len())
	}
	if s.Max != nil && size > float64(*s.Max) {
		constraints = append(constraints, atMost(s))
	}
	if s.Min != nil && size < float64(*s.Min) {
		constraints = append(constraints, atLeast(s))
	}
	return constraints
}

var runtimes = model.Lookup("Runtime")

// all lists every constraint of a scalar shape.
func all(s *model.Shape) string {
	var cs []string
	if s.Max != nil {
		cs = append(cs, atMost(s))
	}
	if s.Min != nil {
		cs = append(cs, atLeast(s))
	}
	if s.Pattern != "" {
		cs = append(cs, mustMatch(s))
	}
	if s.Enum != nil {
		cs = append(cs, mustBeOneOf(s))
	}
	return strings.Join(append(cs, "Member must not be null"), ", ")
}

func mustBeOneOf(s *model.Shape) string {
	return "Member must satisfy enum value set: [" + strings.Join(s.Enum, ", ") + "]"
}

func mustMatch(s *model.Shape) string {
	return "Member must satisfy regular expression pattern: " + s.Pattern
}

func measure(s *model.Shape) string {
	if s.Kind == model.Integer || s.Kind == model.Double {
		return "value"
	}
	return "length"
}

func atMost(s *model.Shape) string {
	return fmt.Sprintf("Member must have %s less than or equal to %d", measure(s), *s.Max)
}

func atLeast(s *model.Shape) string {
	return fmt.Sprintf("Member must have %s greater than or equal to %d", measure(s), *s.Min)
}

// show returns " 'value'", or "" for what is not to be repeated.
func show(s *model.Shape, v reflect.Value) string {
	if s.Sensitive || s.Kind == model.Blob || s.Kind == model.Structure {
		return ""
	}
	return " '" + text(v) + "'"
}

// text writes a value as AWS's messages do.
func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = text(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		entries := map[string]string{}
		for it := v.MapRange(); it.Next(); {
			entries[it.Key().String()] = text(it.Value())
		}
		items := make([]string, 0, len(entries))
		for _, k := range slices.Sorted(maps.Keys(entries)) {
			items = append(items, k+"="+entries[k])
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	return fmt.Sprint(v.Interface())
}

// lowerPath joins names as AWS's messages do: each begins with a small letter.
func lowerPath(path []string) string {
	lowered := make([]string, len(path))
	for i, name := range path {
		r, n := utf8.DecodeRuneInString(name)
		lowered[i] = string(unicode.ToLower(r)) + name[n:]
	}
	return strings.Join(lowered, ".")
}

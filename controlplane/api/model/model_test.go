package model

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestRoutes checks the table against what AWS's SDK has: 88 operations, of
// which the model file lacks three.
func TestRoutes(t *testing.T) {
	routes := Routes()
	if len(routes) != 85 {
		t.Errorf("%d operations, want 85", len(routes))
	}
	for _, r := range routes {
		in := reflect.TypeOf(r.New()).Elem()
		if in.Name() != r.Input || r.Status/100 != 2 {
			t.Errorf("%s: input %s, want %s; status %d", r.Name, in.Name(), r.Input, r.Status)
		}
		var template, members []string
		for s := range strings.SplitSeq(r.Path, "/") {
			if strings.HasPrefix(s, "{") {
				template = append(template, strings.Trim(s, "{}"))
			}
		}
		for _, m := range Lookup(r.Input).Members {
			if m.In == InURI {
				members = append(members, m.Wire)
			}
		}
		slices.Sort(template)
		slices.Sort(members)
		if !slices.Equal(template, members) {
			t.Errorf("%s: the path has %v, the input %v", r.Name, template, members)
		}
		checkFields(t, in, Lookup(r.Input), map[string]bool{})
	}
}

// checkFields checks what decoding relies on: the n-th member is the n-th field.
func checkFields(t *testing.T, typ reflect.Type, s *Shape, seen map[string]bool) {
	if seen[typ.Name()] {
		return
	}
	seen[typ.Name()] = true
	if typ.NumField() != len(s.Members) {
		t.Fatalf("%s has %d fields and %d members", typ.Name(), typ.NumField(), len(s.Members))
	}
	for i, m := range s.Members {
		f := typ.Field(i)
		if !strings.EqualFold(f.Name, m.Name) {
			t.Errorf("%s: field %s is member %s", typ.Name(), f.Name, m.Name)
		}
		elem, shape := f.Type, Lookup(m.Shape)
		for elem.Kind() == reflect.Slice && shape.Kind == List || elem.Kind() == reflect.Map {
			elem, shape = elem.Elem(), Lookup(shape.Elem)
		}
		if elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		if shape.Kind == Structure {
			checkFields(t, elem, shape, seen)
		}
	}
}

func TestPatterns(t *testing.T) {
	for name, s := range shapes {
		s.Matches(name) // must compile
	}
	for _, tc := range []struct {
		shape, value string
		want         bool
	}{
		{"Alias", "prod", true}, {"Alias", "123", false}, {"Alias", "v123", true}, {"Alias", "a b", false}, {"Alias", "", false},
		{"FunctionUrlQualifier", "12", false}, {"FunctionUrlQualifier", "12a", true},
		{"CollectionName", "system.users", false}, {"CollectionName", "users", true}, {"CollectionName", "a$b", false},
		{"S3Bucket", "bucket", true}, {"S3Bucket", "bucket.", false}, {"S3Bucket", "buck/et", false},
		{"FunctionName", "f\n", false}, {"FunctionName", "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST", true},
		{"RoleArn", "x arn:aws:iam::000000000000:role/r", false}, {"Description", "any thing", true},
	} {
		if got := Lookup(tc.shape).Matches(tc.value); got != tc.want {
			t.Errorf("%s matches %q: %t", tc.shape, tc.value, got)
		}
	}
}

func TestExceptions(t *testing.T) {
	for name, want := range map[string]Exception{
		"TooManyRequestsException":       {429, "message", false},
		"ResourceNotFoundException":      {404, "Message", false},
		"InvalidParameterValueException": {400, "message", false},
		"ServiceException":               {500, "Message", true},
	} {
		if got, ok := LookupException(name); !ok || got != want {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

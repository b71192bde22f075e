package rest

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"kiln/controlplane/api/model"
	"kiln/lambda"
)

func routeOf(t testing.TB, name string) *model.Route {
	t.Helper()
	for _, r := range model.Routes() {
		if r.Name == name {
			return &r
		}
	}
	t.Fatalf("no route %s", name)
	return nil
}

func decodeBody(t testing.TB, operation, body string) (any, error) {
	return Decode(Request{Route: routeOf(t, operation), Params: map[string]string{"FunctionName": "f"}, Body: []byte(body)})
}

func TestDecodeWords(t *testing.T) {
	for _, tc := range []struct{ body, want string }{
		{`{"Timeout":"3"}`, "STRING_VALUE can not be converted to an Integer"},
		{`{"Timeout":true}`, "TRUE_VALUE can not be converted to an Integer"},
		{`{"Timeout":[1]}`, "Start of list found where not expected"},
		{`{"Timeout":{}}`, "Start of structure or map found where not expected."},
		{`{"Timeout":1e400}`, "STRING_VALUE can not be converted to a number"},
		{`{"Timeout":99999999999999999999}`, "NUMBER_VALUE can not be converted to an Integer"},
		{`{"Role":1}`, "NUMBER_VALUE can not be converted to a String"},
		{`{"Role":false}`, "FALSE_VALUE can not be converted to a String"},
		{`{"Publish":"true"}`, "STRING_VALUE can not be converted to a Boolean"},
		{`{"Layers":"x"}`, "Expected list or null"},
		{`{"Layers":{}}`, "Start of structure or map found where not expected."},
		{`{"Layers":[1]}`, "NUMBER_VALUE can not be converted to a String"},
		{`{"Environment":"x"}`, "Expected null"},
		{`{"Environment":[]}`, "Start of list found where not expected"},
		{`{"Environment":{"Variables":{"A":1}}}`, "NUMBER_VALUE can not be converted to a String"},
		{`{"Code":{"ZipFile":"***"}}`, "STRING_VALUE can not be converted to a Blob: it is not valid base64"},
		{`[]`, "Start of list found where not expected"},
		{`"x"`, "Expected null"},
		{`{"Role":`, "Could not parse request body into json: unexpected end of input at offset 8"},
		{`{"Role":x}`, "Could not parse request body into json: unexpected character 'x' at offset 8"},
		{`{} {}`, "Could not parse request body into json: unexpected character '{' at offset 3"},
		{"{\"Role\":\"\xff\"}", "The request body is not valid UTF-8."},
		{`{"Unknown":{"a":[}}`, "Could not parse request body into json: unexpected character '}' at offset 17"},
	} {
		_, err := decodeBody(t, "CreateFunction", tc.body)
		var e *lambda.Error
		if !errors.As(err, &e) || e.Code != lambda.CodeSerialization || e.Message != tc.want {
			t.Errorf("%s: got %v, want %s", tc.body, err, tc.want)
		}
	}
}

func TestDecodeNullInMap(t *testing.T) {
	_, err := decodeBody(t, "CreateFunction", `{"Environment":{"Variables":{"A":null}}}`)
	want := "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: " +
		"Map value must satisfy constraint: [Member must not be null]"
	if e := (*lambda.Error)(nil); !errors.As(err, &e) || e.Code != lambda.CodeValidation || e.Message != want {
		t.Errorf("got %v", err)
	}
}

func TestDecodeTolerates(t *testing.T) {
	in, err := decodeBody(t, "CreateFunction", ` {"Unknown":{"x":[1,{}]},"Timeout":1.9,"Handler":null,"role":"no","Role":"a",
		"Role":"\u0062\/","Layers":["x",null,"y"],"Code":{"ZipFile":"aGV\u0073bG8=","zipfile":1},"Environment":{"Variables":{}}} `)
	if err != nil {
		t.Fatal(err)
	}
	q := in.(*model.CreateFunctionRequest)
	if *q.Timeout != 1 || q.Handler != nil || *q.Role != "b/" || strings.Join(q.Layers, ",") != "x,y" ||
		string(q.Code.ZipFile) != "hello" || q.Environment.Variables == nil || len(q.Environment.Variables) != 0 {
		t.Errorf("got %+v", q)
	}
	for _, body := range []string{"", "null", "{}"} {
		if _, err := decodeBody(t, "PublishVersion", body); err != nil {
			t.Errorf("body %q: %v", body, err)
		}
	}
}

func TestDecodeQueryAndHeaders(t *testing.T) {
	in, err := Decode(Request{Route: routeOf(t, "ListDurableExecutionsByFunction"), Params: map[string]string{"FunctionName": "f"},
		Query: url.Values{"MaxItems": {"7"}, "ReverseOrder": {"true"}, "Statuses": {"RUNNING", "FAILED"},
			"StartedAfter": {"2026-01-02T03:04:05Z"}, "StartedBefore": {"1000000000.5"}}})
	if err != nil {
		t.Fatal(err)
	}
	q := in.(*model.ListDurableExecutionsByFunctionRequest)
	if *q.MaxItems != 7 || !*q.ReverseOrder || strings.Join(q.Statuses, ",") != "RUNNING,FAILED" ||
		!q.StartedAfter.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) || q.StartedBefore.UnixMilli() != 1000000000500 {
		t.Errorf("got %+v", q)
	}
	in, err = Decode(Request{Route: routeOf(t, "Invoke"), Params: map[string]string{"FunctionName": "f"},
		Header: http.Header{"X-Amz-Log-Type": {"Tail"}}, Body: []byte("not json")})
	if inv := in.(*model.InvocationRequest); err != nil || *inv.LogType != "Tail" || string(inv.Payload) != "not json" {
		t.Errorf("got %+v, %v", in, err)
	}
	for name, value := range map[string]string{"MaxItems": "x", "ReverseOrder": "1", "StartedAfter": "soon"} {
		_, err = Decode(Request{Route: routeOf(t, "ListDurableExecutionsByFunction"), Query: url.Values{name: {value}}})
		if lambda.CodeOf(err) != lambda.CodeSerialization {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}

// FuzzDecode looks for panics and for accepted values that break the rules.
func FuzzDecode(f *testing.F) {
	routes := model.Routes()
	for i := range routes {
		f.Add(i, []byte(`{"FunctionName":"f","Tags":{"a":"b"},"Code":{"ZipFile":"YQ=="},"Layers":[null,"x"],"Timeout":3}`))
	}
	f.Fuzz(func(t *testing.T, n int, body []byte) {
		route := &routes[uint(n)%uint(len(routes))]
		in, err := Decode(Request{Route: route, Params: map[string]string{"FunctionName": "f"}, Body: body})
		switch {
		case err == nil:
			if err := Validate(in, route.Input); err != nil && lambda.CodeOf(err) != lambda.CodeValidation {
				t.Errorf("validation: %v", err)
			}
		case lambda.CodeOf(err) != lambda.CodeSerialization && lambda.CodeOf(err) != lambda.CodeValidation:
			t.Errorf("decoding: %v", err)
		}
	})
}

package api

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"kiln/lambda"
)

const invocations = functions + "/f/invocations"

func TestInvokeNames(t *testing.T) {
	e := newEdge(t)
	arn := "arn:aws:lambda:us-east-1:000000000000:function:f"
	for _, tc := range []struct{ path, qualifier string }{
		{"f", ""}, {"f:live", "live"}, {"f:$LATEST", "$LATEST"}, {"f:7", "7"}, {"function:f", ""}, {"000000000000:f", ""},
		{"000000000000:function:f:7", "7"}, {arn, ""}, {arn + ":live", "live"}, {strings.ReplaceAll(arn, ":", "%3A") + "%3A7", "7"},
	} {
		for _, end := range []string{"", "/", "?Qualifier=" + tc.qualifier} {
			a := e.do("POST", functions+"/"+tc.path+"/invocations"+end, "1")
			want := lambda.FunctionRef{Account: account, Name: "f", Qualifier: tc.qualifier}
			got := e.plane.last.Function
			got.Partition, got.Region = "", ""
			if a.status != 200 && !strings.HasSuffix(end, "=") || a.status == 200 && got != want {
				t.Errorf("%s%s: %d %s %+v", tc.path, end, a.status, a.body, got)
			}
		}
	}
	if a := e.do("POST", invocations+"?Qualifier=prod", ""); a.status != 200 || e.plane.last.Function.Qualifier != "prod" {
		t.Errorf("qualifier by query: %d, %+v", a.status, e.plane.last.Function)
	}
}

func TestInvokePassesOn(t *testing.T) {
	e := newEdge(t)
	e.plane.resp = InvokeResponse{ExecutedVersion: "3", FunctionError: "Unhandled", LogResult: []byte("the log"), Payload: []byte(`{"errorType":"E"}`)}
	context := `{"custom":{"k":"v"}}`
	a := e.do("POST", invocations, ` {"x":1} `, "X-Amz-Log-Type", "Tail", "X-Amzn-Trace-Id", "Root=1-a-b",
		"X-Amz-Client-Context", base64.StdEncoding.EncodeToString([]byte(context)))
	if a.status != 200 || a.body != `{"errorType":"E"}` || a.header.Get("X-Amz-Executed-Version") != "3" ||
		a.header.Get("X-Amz-Function-Error") != "Unhandled" || a.header.Get("X-Amzn-Trace-Id") != "Root=1-a-b" ||
		a.header.Get("X-Amz-Log-Result") != base64.StdEncoding.EncodeToString([]byte("the log")) {
		t.Errorf("response: %d %v %s", a.status, a.header, a.body)
	}
	r := e.plane.last
	if string(r.Payload) != ` {"x":1} ` || r.ClientContext != context || !r.Tail || r.DryRun || r.TraceID != "Root=1-a-b" ||
		r.RequestID != a.header.Get("X-Amzn-RequestId") || r.Caller.Account != account {
		t.Errorf("request: %+v", r)
	}

	e.plane.resp = InvokeResponse{ExecutedVersion: "$LATEST", LogResult: []byte("unasked"), Payload: []byte("null")}
	a = e.do("POST", invocations, "")
	if a.status != 200 || a.body != "null" || a.header.Values("X-Amz-Function-Error") != nil || a.header.Values("X-Amz-Log-Result") != nil {
		t.Errorf("response: %d %v %s", a.status, a.header, a.body)
	}
	if trace := e.plane.last.TraceID; string(e.plane.last.Payload) != "{}" ||
		!regexp.MustCompile(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0$`).MatchString(trace) {
		t.Errorf("defaults: payload %s, trace %s", e.plane.last.Payload, trace)
	}

	a = e.do("POST", invocations, "", "X-Amz-Invocation-Type", "DryRun")
	if a.status != 204 || a.body != "" || !e.plane.last.DryRun {
		t.Errorf("dry run: %d %s %+v", a.status, a.body, e.plane.last)
	}
}

func TestInvokeRefusals(t *testing.T) {
	e := newEdge(t)
	content := "InvalidRequestContentException"
	parse := "Could not parse request body into json: Could not parse payload into json: "
	for _, tc := range []struct {
		path, body     string
		headers        []string
		shape, message string
	}{
		{invocations, "{", nil, content, parse + "unexpected end of input at offset 1"},
		{invocations, "nope", nil, content, parse + "unexpected character 'n' at offset 0"},
		{invocations, " ", nil, content, parse},
		{invocations, "\"\x87\"", nil, content, parse + "invalid UTF-8 byte 0x87 at offset 1"},
		{invocations, "{}", []string{"X-Amz-Invocation-Type", "Event"}, invalidParameter, "InvocationType Event is not available in this version of Kiln"},
		{invocations, "{}", []string{"X-Amz-Invocation-Type", "Sometimes"}, validation,
			"1 validation error detected: Value 'Sometimes' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]"},
		{invocations, "{}", []string{"X-Amz-Log-Type", "All"}, validation,
			"1 validation error detected: Value 'All' at 'logType' failed to satisfy constraint: Member must satisfy enum value set: [None, Tail]"},
		{invocations, "{}", []string{"X-Amz-Tenant-Id", "t"}, invalidParameter, "The invoked function is not enabled with tenancy configuration."},
		{invocations, "{}", []string{"X-Amz-Durable-Execution-Name", "d"}, invalidParameter, "DurableExecutionName is not available"},
		{invocations, "{}", []string{"X-Amz-Client-Context", "%%%"}, content, "Client context must be a valid Base64-encoded JSON object."},
		{invocations, "{}", []string{"X-Amz-Client-Context", "W10="}, content, "Client context must be a valid Base64-encoded JSON object."},
		{invocations, "{}", []string{"X-Amz-Client-Context", strings.Repeat("a", 3584)}, content, "Client context must be at most 3583 bytes"},
		{invocations + "?Qualifier=a%20b", "{}", nil, validation, "1 validation error detected: Value 'a b' at 'qualifier' failed to satisfy constraint: "},
		{functions + "/b%20ad/invocations", "{}", nil, validation, "1 validation error detected: Value 'b ad' at 'functionName' failed to satisfy constraint: "},
		{functions + "/" + longName + "/invocations", "{}", nil, validation, "1 validation error detected: Value '" + longName + "' at 'functionName'"},
		{functions + "/f:1/invocations?Qualifier=2", "{}", nil, invalidParameter, "The derived qualifier from the function name"},
		{functions + "/111111111111:f/invocations", "{}", nil, "AccessDeniedException",
			"User: arn:aws:iam::000000000000:user/me is not authorized to perform: lambda:InvokeFunction on resource: arn:aws:lambda:us-east-1:111111111111:function:f "},
		{functions + "/arn:aws:lambda:eu-west-1:000000000000:function:f/invocations", "{}", nil, "ResourceNotFoundException", "Functions from 'eu-west-1'"},
		{functions + "//invocations", "{}", nil, "UnknownOperationException", ""},
	} {
		e.plane.last = InvokeRequest{}
		a := e.do("POST", tc.path, tc.body, tc.headers...)
		text := a.message("message") + a.message("Message")
		if a.header.Get("X-Amzn-ErrorType") != tc.shape || !strings.HasPrefix(text, tc.message) || a.status < 400 || e.plane.last.RequestID != "" {
			t.Errorf("%s %q %v\n got %d %s: %s\nwant %s: %s", tc.path, tc.body, tc.headers, a.status, a.header.Get("X-Amzn-ErrorType"), text, tc.shape, tc.message)
		}
	}
}

func TestInvokePayloadSizes(t *testing.T) {
	e := newEdge(t)
	exactly := `"` + strings.Repeat("x", lambda.MaxSyncRequestBytes-2) + `"`
	if a := e.do("POST", invocations, exactly); a.status != 200 || string(e.plane.last.Payload) != exactly {
		t.Errorf("6 MB: %d, %d bytes arrived", a.status, len(e.plane.last.Payload))
	}
	for _, more := range []int{1, 20 << 20} {
		e.plane.last = InvokeRequest{}
		a := e.do("POST", invocations, exactly+strings.Repeat(" ", more))
		if a.status != 413 || a.header.Get("X-Amzn-ErrorType") != "RequestEntityTooLargeException" || e.plane.last.RequestID != "" ||
			a.message("Message") != "Request must be smaller than 6291456 bytes for the InvokeFunction operation" {
			t.Errorf("6 MB + %d: %d %s", more, a.status, a.body)
		}
	}
}

func TestAuthentication(t *testing.T) {
	e := newEdge(t)
	e.api.Auth = gate{lambda.Errorf(lambda.CodeInvalidSignature, "The request signature we calculated does not match")}
	for _, path := range []string{invocations, functions, "/"} {
		a := e.do("POST", path, "{}", "X-Amz-Target", map[bool]string{true: "Logs_20140328.GetLogEvents"}[path == "/"])
		if a.status != 403 || a.header.Get("X-Amzn-ErrorType") != "InvalidSignatureException" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		if path == "/" && a.members["__type"] != "InvalidSignatureException" {
			t.Errorf("logs: %s", a.body)
		}
	}
	if e.plane.last.RequestID != "" {
		t.Error("an unauthenticated invoke came through")
	}
}

// The body fails when it has been read, as one whose hash is wrong does.
func TestBodyThatFailsItsCheck(t *testing.T) {
	e := newEdge(t)
	r := httptest.NewRequest("POST", invocations, &failing{bytes.NewBufferString("{}")})
	r.Header.Set("Authorization", "any")
	w := httptest.NewRecorder()
	e.api.ServeHTTP(w, r)
	if w.Code != 403 || w.Header().Get("X-Amzn-ErrorType") != "InvalidSignatureException" || e.plane.last.RequestID != "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type failing struct{ *bytes.Buffer }

func (f *failing) Read(p []byte) (int, error) {
	if f.Len() == 0 {
		return 0, fmt.Errorf("read: %w", lambda.Errorf(lambda.CodeInvalidSignature, "the body was changed"))
	}
	return f.Buffer.Read(p)
}

func TestDelegates(t *testing.T) {
	e := newEdge(t)
	if a := e.do("POST", "/", "{}", "X-Amz-Target", "Logs_20140328.GetLogEvents"); a.body != account+"Logs_20140328.GetLogEvents" {
		t.Errorf("logs: %s", a.body)
	}
	if a := e.do("GET", CodePath+"f", ""); a.body != "zip of "+CodePath+"f" {
		t.Errorf("code: %s", a.body)
	}
	if a := e.do("POST", "/", "{}", "X-Amz-Target", "Other_1.X"); a.status != 404 {
		t.Errorf("another service: %d", a.status)
	}
}

func TestUUID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := newUUID()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("%s", id)
		}
		seen[id] = true
	}
}

// BenchmarkInvoke is the edge alone: no network, no signature, no data plane.
func BenchmarkInvoke(b *testing.B) {
	e := newEdge(b)
	e.plane.resp = InvokeResponse{ExecutedVersion: "$LATEST", Payload: []byte(`"ok"`)}
	body := []byte(`{"key":"value"}`)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", invocations, bytes.NewReader(body))
		r.Header["Authorization"] = []string{"any"}
		w := httptest.NewRecorder()
		e.api.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

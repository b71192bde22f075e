package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"kiln/lambda"
)

// TestErrorShapes checks the form of every code: status, type, the key of the
// message and the Type that AWS has.
func TestErrorShapes(t *testing.T) {
	e := newEdge(t)
	for _, tc := range []struct {
		code             lambda.Code
		status           int
		shape, key, kind string
	}{
		{lambda.CodeInvalidParameter, 400, "InvalidParameterValueException", "message", "User"},
		{lambda.CodeValidation, 400, "ValidationException", "message", ""},
		{lambda.CodeInvalidRequestContent, 400, "InvalidRequestContentException", "message", "User"},
		{lambda.CodeSerialization, 400, "SerializationException", "message", ""},
		{lambda.CodeNotFound, 404, "ResourceNotFoundException", "Message", "User"},
		{lambda.CodeConflict, 409, "ResourceConflictException", "message", "User"},
		{lambda.CodePreconditionFailed, 412, "PreconditionFailedException", "message", "User"},
		{lambda.CodeTooManyRequests, 429, "TooManyRequestsException", "message", "User"},
		{lambda.CodeRequestTooLarge, 413, "RequestEntityTooLargeException", "Message", ""},
		{lambda.CodeUnsupportedMediaType, 415, "UnsupportedMediaTypeException", "message", "User"},
		{lambda.CodeCodeStorageExceeded, 400, "CodeStorageExceededException", "message", "User"},
		{lambda.CodeResourceNotReady, 502, "ResourceNotReadyException", "message", "Service"},
		{lambda.CodeInvalidZip, 400, "InvalidParameterValueException", "message", "User"},
		{lambda.CodeAccessDenied, 403, "AccessDeniedException", "Message", ""},
		{lambda.CodeMissingAuthentication, 403, "MissingAuthenticationTokenException", "message", ""},
		{lambda.CodeIncompleteSignature, 403, "IncompleteSignatureException", "message", ""},
		{lambda.CodeInvalidSignature, 403, "InvalidSignatureException", "message", ""},
		{lambda.CodeUnrecognizedClient, 403, "UnrecognizedClientException", "message", ""},
		{lambda.CodeUnknownOperation, 404, "UnknownOperationException", "message", ""},
		{lambda.CodeUnavailable, 503, "ServiceException", "Message", "Service"},
		{lambda.CodeNotSupported, 501, "NotImplementedException", "message", ""},
		{lambda.CodeInternal, 500, "ServiceException", "Message", "Service"},
		{"SomethingNew", 500, "ServiceException", "Message", "Service"},
	} {
		e.logs.Reset()
		e.reg.err = fmt.Errorf("wrapped: %w", lambda.Errorf(tc.code, "what is wrong"))
		a := e.do("GET", functions+"/f", "")
		want, members := "what is wrong", 1
		if tc.status == 500 {
			want = internalMessage
		}
		if tc.kind != "" {
			members = 2
		}
		kind, _ := a.members["Type"].(string)
		if a.status != tc.status || a.header.Get("X-Amzn-ErrorType") != tc.shape || a.message(tc.key) != want ||
			kind != tc.kind || len(a.members) != members || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %s %s", tc.code, a.status, a.header.Get("X-Amzn-ErrorType"), a.body)
		}
		if logged := strings.Count(e.logs.String(), "request failed"); logged != 1 && tc.status >= 500 && tc.status != 501 || logged != 0 && tc.status < 500 {
			t.Errorf("%s was logged %d times", tc.code, logged)
		}
	}
}

func TestInternalErrorsStayInside(t *testing.T) {
	e := newEdge(t)
	e.reg.err = errors.New("etcd at 10.0.0.7 said no")
	a := e.do("GET", functions+"/f", "")
	if a.status != 500 || a.message("Message") != internalMessage || strings.Contains(a.body, "etcd") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if log := e.logs.String(); strings.Count(log, "etcd at 10.0.0.7") != 1 || !strings.Contains(log, "operation=GetFunction") ||
		!strings.Contains(log, a.header.Get("X-Amzn-RequestId")) {
		t.Errorf("log: %s", log)
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	e := newEdge(t)
	e.function("f")
	e.api.CodeURL = func(*lambda.Version) string { panic("oh") }
	if a := e.do("GET", functions+"/f", ""); a.status != 500 || a.message("Message") != internalMessage {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if !strings.Contains(e.logs.String(), "panic: oh") {
		t.Errorf("log: %s", e.logs)
	}
}

func TestInvokeErrorShapes(t *testing.T) {
	e := newEdge(t)
	for _, tc := range []struct {
		err    error
		status int
		shape  string
		key    string
	}{
		{lambda.Errorf(lambda.CodeRequestTooLarge, "m"), 413, "RequestEntityTooLargeException", "Message"},
		{lambda.Errorf(lambda.CodeInvalidZip, "m"), 502, "InvalidZipFileException", "Message"},
		{lambda.Errorf(lambda.CodeUnavailable, "m"), 503, "ServiceException", "Message"},
	} {
		e.plane.err = tc.err
		if a := e.do("POST", functions+"/f/invocations", ""); a.status != tc.status ||
			a.header.Get("X-Amzn-ErrorType") != tc.shape || a.message(tc.key) != "m" {
			t.Errorf("%v: got %d %v %s", tc.err, a.status, a.header, a.body)
		}
	}
	e.plane.err = lambda.Throttled(lambda.ReasonReservedConcurrentInvocations)
	a := e.do("POST", functions+"/f/invocations", "")
	if a.status != 429 || a.members["Reason"] != "ReservedFunctionConcurrentInvocationLimitExceeded" || a.message("message") != "Rate Exceeded." {
		t.Errorf("throttle: got %d %s", a.status, a.body)
	}
}

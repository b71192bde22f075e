package api

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"kiln/controlplane"
	"kiln/controlplane/api/model"
	"kiln/controlplane/api/rest"
	"kiln/lambda"
)

// InvokeRequest is a synchronous invoke that the edge has checked.
type InvokeRequest struct {
	RequestID string
	Caller    controlplane.Caller
	// Function has an account and a name; its qualifier is "" for $LATEST.
	Function lambda.FunctionRef
	// DryRun asks whether the invoke would be let through, without the invoke.
	DryRun bool
	// Tail asks for the end of the log.
	Tail bool
	// ClientContext is JSON, "" for none.
	ClientContext string
	// TraceID is the X-Amzn-Trace-Id of the request, or a new one.
	TraceID string
	// Payload is valid JSON. Nobody else changes or uses its memory.
	Payload []byte
}

// InvokeResponse is what came of an invoke whose function's code ran.
type InvokeResponse struct {
	// ExecutedVersion is the number of the version that ran.
	ExecutedVersion string
	// FunctionError is "" for success.
	FunctionError string
	// LogResult is the end of the log, if it was asked for.
	LogResult []byte
	Payload   []byte
}

const (
	invokePrefix = "/2015-03-31/functions/"
	invokeSuffix = "/invocations"
)

// invokeRoute is the operation's route, for what the short path does not do.
var invokeRoute = func() *model.Route {
	for _, r := range model.Routes() {
		if r.Name == "Invoke" {
			return &r
		}
	}
	panic("api: the model has no Invoke")
}()

// invokeTarget returns the function that a request invokes. It is a short cut
// past the router for the one operation that is hot.
func invokeTarget(r *http.Request) (function string, ok bool) {
	if r.Method != http.MethodPost {
		return "", false
	}
	path := strings.TrimSuffix(r.URL.EscapedPath(), "/")
	if len(path) <= len(invokePrefix)+len(invokeSuffix) ||
		!strings.HasPrefix(path, invokePrefix) || !strings.HasSuffix(path, invokeSuffix) {
		return "", false
	}
	segment := path[len(invokePrefix) : len(path)-len(invokeSuffix)]
	if strings.Contains(segment, "/") {
		return "", false
	}
	function, err := url.PathUnescape(segment)
	return function, err == nil
}

// serveInvoke is Invoke from the request to the response. It decodes by hand
// what the model describes; anything out of the ordinary goes through the model
// for the error.
func (a *API) serveInvoke(w http.ResponseWriter, r *http.Request, id, function string) error {
	caller, err := a.Auth.Authenticate(r)
	if err != nil {
		return err
	}
	payload, err := readBody(r, "InvokeFunction", lambda.MaxSyncRequestBytes)
	if err != nil {
		return err
	}
	c := &call{Context: r.Context(), id: id, caller: caller, route: invokeRoute}
	req := InvokeRequest{RequestID: id, Caller: caller, Payload: payload}
	if err := a.readInvoke(c, r, function, &req); err != nil {
		return err
	}
	resp, err := a.Invoker.Invoke(c, req)
	if err != nil {
		return err
	}
	h := w.Header()
	h["X-Amzn-Trace-Id"] = []string{req.TraceID}
	if resp.ExecutedVersion != "" {
		h["X-Amz-Executed-Version"] = []string{resp.ExecutedVersion}
	}
	if req.DryRun {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if resp.FunctionError != "" {
		h["X-Amz-Function-Error"] = []string{resp.FunctionError}
	}
	if req.Tail {
		h["X-Amz-Log-Result"] = []string{base64.StdEncoding.EncodeToString(resp.LogResult)}
	}
	rest.WriteJSON(w, http.StatusOK, resp.Payload)
	return nil
}

// readInvoke fills req from everything but the body, which is in req already.
func (a *API) readInvoke(c *call, r *http.Request, function string, req *InvokeRequest) (err error) {
	var query url.Values
	var qualifier *string
	if r.URL.RawQuery != "" {
		query = r.URL.Query()
		if q := query["Qualifier"]; len(q) > 0 {
			qualifier = &q[0]
		}
	}
	kind, logType := first(r.Header, "X-Amz-Invocation-Type"), first(r.Header, "X-Amz-Log-Type")
	ordinary := plainName(function) && (qualifier == nil || plainName(*qualifier)) &&
		(kind == "" || kind == "RequestResponse") && (logType == "" || logType == "None" || logType == "Tail") &&
		first(r.Header, "X-Amz-Tenant-Id") == "" && first(r.Header, "X-Amz-Durable-Execution-Name") == ""
	if !ordinary {
		if err := checkInvoke(r, function, query); err != nil {
			return err
		}
	}
	req.DryRun, req.Tail = kind == "DryRun", logType == "Tail"
	if req.Function, err = a.resolve(c, function, qualifier); err != nil {
		return err
	}
	if req.ClientContext, err = clientContext(first(r.Header, "X-Amz-Client-Context")); err != nil {
		return err
	}
	if req.TraceID = first(r.Header, "X-Amzn-Trace-Id"); req.TraceID == "" {
		req.TraceID = newTraceID(time.Now())
	}
	if len(req.Payload) == 0 {
		req.Payload = []byte("{}")
	} else if err := rest.Valid(req.Payload); err != nil {
		return lambda.Errorf(lambda.CodeInvalidRequestContent,
			"Could not parse request body into json: Could not parse payload into json: %v", err)
	}
	return nil
}

// first is Header.Get for a name in canonical form.
func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// checkInvoke applies the model's constraints to an invoke's parameters, and
// refuses what is not there yet.
func checkInvoke(r *http.Request, function string, query url.Values) error {
	in, err := rest.Decode(rest.Request{Route: invokeRoute, Params: map[string]string{"FunctionName": function},
		Query: query, Header: r.Header})
	if err != nil {
		return err
	}
	if err := rest.Validate(in, invokeRoute.Input); err != nil {
		return err
	}
	q := in.(*model.InvocationRequest)
	switch {
	case q.InvocationType != nil && *q.InvocationType == "Event":
		return lambda.Errorf(lambda.CodeInvalidParameter,
			"InvocationType Event is not available in this version of Kiln: only RequestResponse and DryRun are.")
	case q.TenantId != nil:
		return lambda.Errorf(lambda.CodeInvalidParameter, "The invoked function is not enabled with tenancy configuration.")
	case q.DurableExecutionName != nil:
		return notHonoured("DurableExecutionName")
	}
	return nil
}

// clientContext decodes the X-Amz-Client-Context header.
func clientContext(header string) (string, error) {
	if header == "" {
		return "", nil
	}
	if len(header) > lambda.MaxClientContextBytes {
		return "", lambda.Errorf(lambda.CodeInvalidRequestContent,
			"Client context must be at most %d bytes in base64.", lambda.MaxClientContextBytes)
	}
	text, err := base64.StdEncoding.DecodeString(header)
	if err != nil || rest.Valid(text) != nil || strings.TrimLeft(string(text), " \t\r\n")[0] != '{' {
		return "", lambda.Errorf(lambda.CodeInvalidRequestContent, "Client context must be a valid Base64-encoded JSON object.")
	}
	return string(text), nil
}

// newTraceID returns a trace header for a request that has none, not sampled.
func newTraceID(now time.Time) string {
	return fmt.Sprintf("Root=1-%08x-%08x%016x;Parent=%016x;Sampled=0",
		uint32(now.Unix()), rand.Uint32(), rand.Uint64(), rand.Uint64())
}

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strings"

	"kiln/controlplane"
	"kiln/controlplane/api/model"
	"kiln/controlplane/api/rest"
	"kiln/lambda"
)

// maxCodeRequestBytes is AWS's limit of a request that carries code: 50 MB in base64.
const maxCodeRequestBytes = 69905067

// call is one request on its way through an operation.
type call struct {
	context.Context
	id     string // the request's
	caller controlplane.Caller
	route  *model.Route
}

// operation is the behaviour of one operation: it gets the input that the
// route's New makes, decoded and validated, and returns the output or nil.
type operation func(c *call, in any) (any, error)

// behaviour adapts a method with typed input and output.
func behaviour[In, Out any](f func(*call, *In) (*Out, error)) operation {
	return func(c *call, in any) (any, error) {
		out, err := f(c, in.(*In))
		if err != nil || out == nil {
			return nil, err
		}
		return out, nil
	}
}

// logsTarget begins the X-Amz-Target of CloudWatch Logs' JSON protocol.
const logsTarget = "Logs_20140328."

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := newUUID()
	w.Header()["X-Amzn-Requestid"] = []string{id}
	name := ""
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			a.fail(w, r, name, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	if function, ok := invokeTarget(r); ok {
		name = "Invoke"
		if err := a.serveInvoke(w, r, id, function); err != nil {
			a.fail(w, r, name, err)
		}
		return
	}
	if a.Code != nil && strings.HasPrefix(r.URL.Path, CodePath) {
		a.Code.ServeHTTP(w, r)
		return
	}
	if a.Logs != nil && strings.HasPrefix(r.Header.Get("X-Amz-Target"), logsTarget) {
		caller, err := a.Auth.Authenticate(r)
		if err != nil {
			a.fail(w, r, logsTarget, err)
			return
		}
		a.Logs.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
		return
	}
	route, params := a.router.Find(r.Method, r.URL)
	if route == nil {
		a.fail(w, r, name, lambda.Errorf(lambda.CodeUnknownOperation, "There is no operation %s %s.", r.Method, r.URL.Path))
		return
	}
	name = route.Name
	if err := a.serve(w, r, &call{Context: r.Context(), id: id, route: route}, params); err != nil {
		a.fail(w, r, name, err)
	}
}

// serve runs one operation of the model.
func (a *API) serve(w http.ResponseWriter, r *http.Request, c *call, params map[string]string) (err error) {
	if c.caller, err = a.Auth.Authenticate(r); err != nil {
		return err
	}
	body, err := readBody(r, c.route.Name, bodyLimit(c.route.Name))
	if err != nil {
		return err
	}
	op := a.operations[c.route.Name]
	if op == nil {
		return lambda.Errorf(lambda.CodeNotSupported, "%s is not available in this version of Kiln.", c.route.Name)
	}
	in, err := rest.Decode(rest.Request{Route: c.route, Params: params, Query: r.URL.Query(), Header: r.Header, Body: body})
	if err != nil {
		return err
	}
	if err := rest.Validate(in, c.route.Input); err != nil {
		return err
	}
	out, err := op(c, in)
	if err != nil {
		return err
	}
	return rest.Encode(w, c.route, out)
}

// bodyLimit is the greatest body of an operation in bytes.
func bodyLimit(operation string) int {
	switch operation {
	case "CreateFunction", "UpdateFunctionCode", "PublishLayerVersion":
		return maxCodeRequestBytes
	}
	return lambda.MaxSyncRequestBytes
}

// readBody returns the request's body in memory of its own, read to its end, so
// that whatever checks its signature has seen all of it.
func readBody(r *http.Request, operation string, limit int) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	size := int64(512)
	if r.ContentLength > 0 {
		size = min(r.ContentLength, int64(limit)) + 1 // room to see the end without growing
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			// A client that is still sending would not see the answer: take the rest first.
			_, _ = io.CopyN(io.Discard, r.Body, int64(limit))
			return nil, lambda.Errorf(lambda.CodeRequestTooLarge, "Request must be smaller than %d bytes for the %s operation", limit, operation)
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			if lambda.CodeOf(err) != lambda.CodeInternal {
				return nil, err
			}
			return nil, &lambda.Error{Code: lambda.CodeInvalidRequestContent, Message: "The request body could not be read.", Cause: err}
		}
	}
}

// newUUID returns a random UUID. It is unique, not secret.
func newUUID() string {
	const digits = "0123456789abcdef"
	hi, lo := rand.Uint64(), rand.Uint64()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(0xc0<<56) | 0x80<<56
	var b [36]byte
	for i, at := 0, 0; i < 32; i, at = i+1, at+1 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			b[at] = '-'
			at++
		}
		half, shift := hi, 60-4*(i%16)
		if i >= 16 {
			half = lo
		}
		b[at] = digits[half>>shift&0xf]
	}
	return string(b[:])
}

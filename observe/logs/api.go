package logs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// targetPrefix begins the X-Amz-Target header of requests to CloudWatch Logs.
const targetPrefix = "Logs_20140328."

// contentType is that of the AWS JSON protocol.
const contentType = "application/x-amz-json-1.1"

// maxRequestBytes bounds a request's body; all are small.
const maxRequestBytes = 1 << 20

// Operation returns the operation that a request names, such as
// "FilterLogEvents", and whether the request is one to CloudWatch Logs at all.
// Its caller may need it to route the request and to authorize it.
func Operation(r *http.Request) (string, bool) {
	return strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
}

// Handler serves a Store as CloudWatch Logs does, for one account. It trusts
// its caller: authentication and authorization come before it.
type Handler struct {
	store           *Store
	region, account string
}

var _ http.Handler = (*Handler)(nil)

// NewHandler returns the handler of a store; region and account are for ARNs.
func NewHandler(store *Store, region, account string) *Handler {
	return &Handler{store: store, region: region, account: account}
}

// apiError is an error of the API: a shape's name and a message.
type apiError struct {
	shape, message string
	status         int
}

// Error implements error.
func (e *apiError) Error() string { return e.shape + ": " + e.message }

func invalid(format string, args ...any) *apiError {
	return &apiError{"InvalidParameterException", fmt.Sprintf(format, args...), http.StatusBadRequest}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	output, err := h.serve(w, r)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("x-amzn-RequestId", requestID())
	status := http.StatusOK
	if err != nil {
		e := toAPIError(err)
		if e.status == http.StatusInternalServerError {
			slog.ErrorContext(r.Context(), "serving logs", "target", r.Header.Get("X-Amz-Target"), "error", err)
		}
		status = e.status
		output = map[string]string{"__type": e.shape, "message": e.message}
	}
	body, err := json.Marshal(output)
	if err != nil {
		status, body = http.StatusInternalServerError, nil
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	name, ok := Operation(r)
	operation := operations[name]
	if !ok || operation == nil || r.Method != http.MethodPost {
		return nil, &apiError{"UnknownOperationException", fmt.Sprintf("The operation %q is not supported.", name), http.StatusBadRequest}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	if err != nil {
		return nil, &apiError{"SerializationException", "The request's body cannot be read or is too long.", http.StatusBadRequest}
	}
	return operation(h, r.Context(), body)
}

// operations are those that Kiln has.
var operations = map[string]func(*Handler, context.Context, []byte) (any, error){
	"DescribeLogGroups":     operation((*Handler).describeLogGroups),
	"DescribeLogStreams":    operation((*Handler).describeLogStreams),
	"GetLogEvents":          operation((*Handler).getLogEvents),
	"FilterLogEvents":       operation((*Handler).filterLogEvents),
	"DeleteLogGroup":        operation((*Handler).deleteLogGroup),
	"PutRetentionPolicy":    operation((*Handler).putRetentionPolicy),
	"DeleteRetentionPolicy": operation((*Handler).deleteRetentionPolicy),
}

// operation decodes the input of an operation.
func operation[In any](f func(*Handler, context.Context, In) (any, error)) func(*Handler, context.Context, []byte) (any, error) {
	return func(h *Handler, ctx context.Context, body []byte) (any, error) {
		var in In
		if len(body) > 0 {
			if err := json.Unmarshal(body, &in); err != nil {
				return nil, &apiError{"SerializationException", err.Error(), http.StatusBadRequest}
			}
		}
		return f(h, ctx, in)
	}
}

func toAPIError(err error) *apiError {
	var e *apiError
	var p *PatternError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &p):
		return invalid("%s", p.Reason)
	case errors.Is(err, ErrNoGroup):
		return &apiError{"ResourceNotFoundException", "The specified log group does not exist.", http.StatusBadRequest}
	case errors.Is(err, ErrNoStream):
		return &apiError{"ResourceNotFoundException", "The specified log stream does not exist.", http.StatusBadRequest}
	case errors.Is(err, ErrToken):
		return invalid("The specified nextToken is invalid.")
	case errors.Is(err, ErrClosed), errors.Is(err, context.Canceled):
		return &apiError{"ServiceUnavailableException", "The service cannot complete the request.", http.StatusServiceUnavailable}
	}
	return &apiError{"InternalFailure", "An internal error occurred.", http.StatusInternalServerError}
}

// requestID returns a random identifier in the form of a UUID.
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

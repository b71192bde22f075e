package runtimeapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

var errTooLarge = errors.New("the body is too large")

// readLimited reads a request's body of at most limit bytes, with one
// allocation when its length is announced.
func readLimited(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	if n := r.ContentLength; n >= 0 {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		return nil, errTooLarge
	}
	return body, err
}

// ErrorPayload is the JSON that a caller of a function gets for an error.
func ErrorPayload(errorType, message string) []byte {
	b, _ := json.Marshal(struct { // two strings always marshal
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{errorType, message})
	return b
}

func tooLarge(limit int64, at time.Time) Response {
	const kind = "Function.ResponseSizeTooLarge"
	return Response{Failed: true, ErrorType: kind, At: at, Payload: ErrorPayload(kind,
		fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", limit))}
}

func truncated(at time.Time) Response {
	const kind = "Runtime.TruncatedResponse"
	return Response{Failed: true, ErrorType: kind, At: at, Payload: ErrorPayload(kind, "The runtime's response was truncated.")}
}

// decodeTrailer returns the error object of a streamed response that failed
// midway; it comes as base64 in a trailer.
func decodeTrailer(body, errorType string) []byte {
	if b, err := base64.StdEncoding.DecodeString(body); err == nil && len(b) > 0 {
		return b
	}
	return ErrorPayload(errorType, "The response stream failed.")
}

func accept(w http.ResponseWriter) {
	w.Header()["Content-Type"] = []string{"application/json"}
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"status":"OK"}`+"\n") //nolint:errcheck // see writeEvent
}

// refuse answers a call that a working runtime does not make.
func refuse(w http.ResponseWriter, status int, kind, message string) {
	time.Sleep(refusalPause)
	w.Header()["Content-Type"] = []string{"application/json"}
	w.WriteHeader(status)
	w.Write(ErrorPayload(kind, message)) //nolint:errcheck // see writeEvent
}

func notFound(w http.ResponseWriter, r *http.Request) {
	time.Sleep(refusalPause)
	http.NotFound(w, r)
}

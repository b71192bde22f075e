package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// event is what every handler is invoked with.
const event = `{"name":"bench","numbers":[1,2,3],"text":"the same for every candidate"}`

// caller posts the event to one URL over a connection that it keeps.
type caller struct {
	url       string
	header    http.Header
	transport *http.Transport
	// sign, if set, signs a request before the clock starts.
	sign func(ctx context.Context, r *http.Request) error
}

func newCaller(url string) *caller {
	return &caller{url: url, header: http.Header{"Content-Type": {"application/json"}},
		transport: &http.Transport{DisableCompression: true}}
}

// response is an answer to the event, and how long it took to come.
type response struct {
	took   time.Duration
	header http.Header
	body   []byte
}

func (c *caller) post(ctx context.Context) (response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(event))
	if err != nil {
		return response{}, err
	}
	req.Header = c.header.Clone()
	if c.sign != nil {
		if err := c.sign(ctx, req); err != nil {
			return response{}, err
		}
	}
	begun := time.Now()
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return response{}, err
	}
	body, err := io.ReadAll(resp.Body)
	took := time.Since(begun)
	resp.Body.Close()
	if err != nil {
		return response{}, err
	}
	if fault := resp.Header.Get("X-Amz-Function-Error"); resp.StatusCode != http.StatusOK || fault != "" {
		return response{}, fmt.Errorf("%s %s: %.300s", resp.Status, fault, body)
	}
	return response{took, resp.Header, body}, check(body)
}

// check makes sure that the handler has run: a fast error would be no result.
func check(body []byte) error {
	var reply struct {
		Message string          `json:"message"`
		Input   json.RawMessage `json:"input"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return fmt.Errorf("the answer is no JSON: %.300s", body)
	}
	var input bytes.Buffer
	if err := json.Compact(&input, reply.Input); err != nil || input.String() != event || !strings.HasPrefix(reply.Message, "hello from") {
		return fmt.Errorf("not the handler's answer: %.300s", body)
	}
	return nil
}

// postFirst posts to a server that is starting, as soon as it accepts a
// connection. The response's time is not the whole wait.
func (c *caller) postFirst(ctx context.Context, limit time.Duration) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		r, err := c.post(ctx)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return r, err
		}
		if err := sleep(ctx, 200*time.Microsecond); err != nil {
			return response{}, errors.New("nothing listens at " + c.url)
		}
	}
}

// Package hello is the handler that is measured, in Go.
package hello

import (
	"context"
	"encoding/json"
	"runtime"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// Reply is what Handle answers.
type Reply struct {
	Message     string          `json:"message"`
	Input       json.RawMessage `json:"input"`
	RequestID   string          `json:"requestId"`
	RemainingMS int64           `json:"remainingMs"`
}

// Handle greets, and returns its event and a little of its context.
func Handle(ctx context.Context, event json.RawMessage) (Reply, error) {
	r := Reply{Message: "hello from " + runtime.Version(), Input: event}
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		r.RequestID = lc.AwsRequestID
	}
	if deadline, ok := ctx.Deadline(); ok {
		r.RemainingMS = time.Until(deadline).Milliseconds()
	}
	return r, nil
}

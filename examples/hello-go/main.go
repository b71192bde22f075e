// Command hello-go is a Lambda function in Go, built as a static "bootstrap".
package main

import (
	"context"
	"encoding/json"
	"runtime"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type reply struct {
	Message     string          `json:"message"`
	Input       json.RawMessage `json:"input"`
	RequestID   string          `json:"requestId"`
	Function    string          `json:"function"`
	MemoryMB    int             `json:"memoryMB"`
	RemainingMS int64           `json:"remainingMs"`
}

func handle(ctx context.Context, event json.RawMessage) (reply, error) {
	r := reply{
		Message:  "hello from " + runtime.Version(),
		Input:    event,
		Function: lambdacontext.FunctionName,
		MemoryMB: lambdacontext.MemoryLimitInMB,
	}
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		r.RequestID = lc.AwsRequestID
	}
	if deadline, ok := ctx.Deadline(); ok {
		r.RemainingMS = time.Until(deadline).Milliseconds()
	}
	return r, nil
}

func main() {
	lambda.Start(handle)
}

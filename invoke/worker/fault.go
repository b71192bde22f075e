package worker

import (
	"fmt"
	"syscall"
	"time"

	"kiln/invoke"
	"kiln/runtime/runtimeapi"
	"kiln/sandbox"
)

// The values of an invocation's status in the platform's log events.
const (
	statusSuccess = "success"
	statusError   = "error"   // the function answered with an error
	statusFailure = "failure" // its process ended or could not start
	statusTimeout = "timeout"
)

// fault is an initialization or invocation that failed through the function or
// its runtime, in the words of AWS ("Lambda execution environment" and
// "Troubleshoot invocation issues" in its guide).
type fault struct {
	status string
	kind   string // errorType
	// payload is what the runtime reported, nil when the platform speaks.
	payload []byte
	message string // without the request ID; for the platform's own
}

func (f *fault) reportStatus() string {
	if f.status == statusTimeout {
		return statusTimeout
	}
	return "error"
}

// result is what the caller of the function gets.
func (f *fault) result(requestID string) invoke.Result {
	payload := f.payload
	if len(payload) == 0 {
		payload = runtimeapi.ErrorPayload(f.kind, "RequestId: "+requestID+" Error: "+f.message)
	}
	return invoke.Result{Payload: payload, FunctionError: "Unhandled"}
}

func timedOut(after time.Duration) *fault {
	return &fault{status: statusTimeout, kind: "Sandbox.Timedout",
		message: fmt.Sprintf("Task timed out after %.2f seconds", after.Seconds())}
}

func exited(x sandbox.Exit) *fault {
	f := &fault{status: statusFailure, kind: "Runtime.ExitError"}
	switch {
	case x.OOM:
		f.kind = "Runtime.OutOfMemory"
		f.message = "Runtime exited with error: signal: killed"
	case x.Signal != 0:
		f.message = "Runtime exited with error: signal: " + syscall.Signal(x.Signal).String()
	case x.Code != 0:
		f.message = fmt.Sprintf("Runtime exited with error: exit status %d", x.Code)
	default:
		f.message = "Runtime exited without providing a reason"
	}
	return f
}

func badEntrypoint(message string) *fault {
	return &fault{status: statusFailure, kind: "Runtime.InvalidEntrypoint", message: message}
}

// reported is the error that the runtime posted for its initialization.
func reported(r runtimeapi.Response) *fault {
	kind := r.ErrorType
	if kind == "" {
		kind = "Runtime.Unknown"
	}
	return &fault{status: statusError, kind: kind, payload: r.Payload, message: "The runtime could not be initialized"}
}

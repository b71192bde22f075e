package lambda

import (
	"errors"
	"fmt"
)

// Code classifies an Error. The API's edge maps each code to one AWS error
// shape and HTTP status; nothing else decides on statuses.
type Code string

// The codes of the domain. Each names the condition, not an HTTP status.
const (
	// CodeInternal is any failure that is Kiln's own; its message is not shown to callers.
	CodeInternal Code = "Internal"
	// CodeInvalidParameter is a parameter that is well-formed but not acceptable (InvalidParameterValueException).
	CodeInvalidParameter Code = "InvalidParameter"
	// CodeValidation is a request that violates the model's constraints (ValidationException).
	CodeValidation Code = "Validation"
	// CodeInvalidRequestContent is a body that is not the JSON it must be (InvalidRequestContentException).
	CodeInvalidRequestContent Code = "InvalidRequestContent"
	// CodeSerialization is a body whose JSON does not fit the operation's shape (SerializationException).
	CodeSerialization Code = "Serialization"
	// CodeNotFound is a resource that does not exist (ResourceNotFoundException).
	CodeNotFound Code = "NotFound"
	// CodeConflict is a resource that exists already or is busy changing (ResourceConflictException).
	CodeConflict Code = "Conflict"
	// CodePreconditionFailed is a RevisionId that is not the current one (PreconditionFailedException).
	CodePreconditionFailed Code = "PreconditionFailed"
	// CodeTooManyRequests is a throttle; Error.Reason says which (TooManyRequestsException).
	CodeTooManyRequests Code = "TooManyRequests"
	// CodeRequestTooLarge is a payload over its limit (RequestEntityTooLargeException; AWS
	// answers so on Invoke too, where the model names RequestTooLargeException).
	CodeRequestTooLarge Code = "RequestTooLarge"
	// CodeUnsupportedMediaType is a Content-Type that Invoke does not take (UnsupportedMediaTypeException).
	CodeUnsupportedMediaType Code = "UnsupportedMediaType"
	// CodeCodeStorageExceeded is an account over its code storage (CodeStorageExceededException).
	CodeCodeStorageExceeded Code = "CodeStorageExceeded"
	// CodeResourceNotReady is a function that cannot be invoked yet (ResourceNotReadyException).
	CodeResourceNotReady Code = "ResourceNotReady"
	// CodeInvalidZip is a deployment package that cannot be unpacked (InvalidZipFileException).
	CodeInvalidZip Code = "InvalidZip"
	// CodeAccessDenied is an authenticated caller without the permission (AccessDeniedException).
	CodeAccessDenied Code = "AccessDenied"
	// CodeMissingAuthentication is a request without a signature (MissingAuthenticationTokenException).
	CodeMissingAuthentication Code = "MissingAuthentication"
	// CodeIncompleteSignature is a signature that cannot be parsed (IncompleteSignatureException).
	CodeIncompleteSignature Code = "IncompleteSignature"
	// CodeInvalidSignature is a signature that does not match or has expired (InvalidSignatureException).
	CodeInvalidSignature Code = "InvalidSignature"
	// CodeUnrecognizedClient is an access key that is not known (UnrecognizedClientException).
	CodeUnrecognizedClient Code = "UnrecognizedClient"
	// CodeUnknownOperation is a path or method that no operation has (UnknownOperationException).
	CodeUnknownOperation Code = "UnknownOperation"
	// CodeUnavailable is a service that is draining or cut off; retrying elsewhere may
	// work, because the code of the function has not begun (ServiceException, 503).
	CodeUnavailable Code = "Unavailable"
	// CodeNotSupported is a feature of AWS's that this Kiln does not have.
	CodeNotSupported Code = "NotSupported"
)

// Reason is the value of TooManyRequestsException's Reason member.
type Reason string

// The reasons that AWS documents for throttles of Invoke.
const (
	ReasonConcurrentInvocations         Reason = "ConcurrentInvocationLimitExceeded"
	ReasonFunctionInvocationRate        Reason = "FunctionInvocationRateLimitExceeded"
	ReasonReservedConcurrentInvocations Reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
	ReasonReservedInvocationRate        Reason = "ReservedFunctionInvocationRateLimitExceeded"
	ReasonCallerRate                    Reason = "CallerRateLimitExceeded"
)

// Error is a failure that a caller of the API may see: a code and a message
// for people. Errors of any other type are internal and shown as such.
// An Error is immutable after it is returned.
type Error struct {
	Code    Code
	Message string
	// Reason is set for CodeTooManyRequests only.
	Reason Reason
	// Cause is the underlying error, for logs; it is not shown to callers.
	Cause error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf returns an Error of the given code. A %w verb sets its Cause, whose
// text then is part of the message too.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// Throttled returns the error of a refused invoke with its reason. Its message
// is AWS's.
func Throttled(reason Reason) *Error {
	return &Error{Code: CodeTooManyRequests, Reason: reason, Message: "Rate Exceeded."}
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal for
// any other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"kiln/controlplane/api/model"
	"kiln/controlplane/api/rest"
	"kiln/lambda"
)

// shapeError is an error that AWS has a shape for and the domain no code,
// because only the edge knows the feature.
type shapeError struct{ shape, message string }

func (e *shapeError) Error() string { return e.shape + ": " + e.message }

// shapes names the error shape of each code. Where Invoke differs from the
// other operations, invokeShapes says so.
var shapes = map[lambda.Code]string{
	lambda.CodeInvalidParameter:      "InvalidParameterValueException",
	lambda.CodeValidation:            "ValidationException",
	lambda.CodeInvalidRequestContent: "InvalidRequestContentException",
	lambda.CodeSerialization:         "SerializationException",
	lambda.CodeNotFound:              "ResourceNotFoundException",
	lambda.CodeConflict:              "ResourceConflictException",
	lambda.CodePreconditionFailed:    "PreconditionFailedException",
	lambda.CodeTooManyRequests:       "TooManyRequestsException",
	lambda.CodeRequestTooLarge:       "RequestEntityTooLargeException",
	lambda.CodeUnsupportedMediaType:  "UnsupportedMediaTypeException",
	lambda.CodeCodeStorageExceeded:   "CodeStorageExceededException",
	lambda.CodeResourceNotReady:      "ResourceNotReadyException",
	lambda.CodeInvalidZip:            "InvalidParameterValueException",
	lambda.CodeAccessDenied:          "AccessDeniedException",
	lambda.CodeMissingAuthentication: "MissingAuthenticationTokenException",
	lambda.CodeIncompleteSignature:   "IncompleteSignatureException",
	lambda.CodeInvalidSignature:      "InvalidSignatureException",
	lambda.CodeUnrecognizedClient:    "UnrecognizedClientException",
	lambda.CodeUnknownOperation:      "UnknownOperationException",
	lambda.CodeUnavailable:           "ServiceException",
	lambda.CodeNotSupported:          "NotImplementedException",
	lambda.CodeInternal:              "ServiceException",
}

var invokeShapes = map[lambda.Code]string{
	lambda.CodeInvalidZip: "InvalidZipFileException",
}

// common holds the error shapes that AWS's services share and the model does
// not declare.
var common = map[string]model.Exception{
	"ValidationException":                 {Status: 400, MessageKey: "message"},
	"SerializationException":              {Status: 400, MessageKey: "message"},
	"RequestEntityTooLargeException":      {Status: 413, MessageKey: "Message"},
	"AccessDeniedException":               {Status: 403, MessageKey: "Message"},
	"MissingAuthenticationTokenException": {Status: 403, MessageKey: "message"},
	"IncompleteSignatureException":        {Status: 403, MessageKey: "message"},
	"InvalidSignatureException":           {Status: 403, MessageKey: "message"},
	"UnrecognizedClientException":         {Status: 403, MessageKey: "message"},
	"UnknownOperationException":           {Status: 404, MessageKey: "message"},
	"NotImplementedException":             {Status: 501, MessageKey: "message"},
}

// internalMessage is all that a caller learns of an internal error.
const internalMessage = "The service encountered an internal error. Try again later."

// describe returns the error shape of err, its name and its message.
func describe(operation string, err error) (model.Exception, string, string) {
	var shaped *shapeError
	if errors.As(err, &shaped) {
		e, _ := model.LookupException(shaped.shape)
		return e, shaped.shape, shaped.message
	}
	code, message := lambda.CodeOf(err), internalMessage
	name := shapes[code]
	if name == "" {
		name, code = shapes[lambda.CodeInternal], lambda.CodeInternal
	}
	if special := invokeShapes[code]; operation == "Invoke" && special != "" {
		name = special
	}
	var e *lambda.Error
	if code != lambda.CodeInternal && errors.As(err, &e) {
		message = e.Message
	}
	exception, ok := model.LookupException(name)
	if !ok {
		exception = common[name]
	}
	if code == lambda.CodeUnavailable {
		exception.Status = http.StatusServiceUnavailable
	}
	return exception, name, message
}

// fail writes err as AWS does, and logs it if it is Kiln's own. It is the only
// place where errors become responses.
func (a *API) fail(w http.ResponseWriter, r *http.Request, operation string, err error) {
	exception, name, message := describe(operation, err)
	a.log(w, r, operation, exception.Status, err)
	body := map[string]any{exception.MessageKey: message}
	if _, declared := model.LookupException(name); declared {
		body["Type"] = "User"
		if exception.Service {
			body["Type"] = "Service"
		}
	}
	var e *lambda.Error
	if errors.As(err, &e) && e.Reason != "" {
		body["Reason"] = string(e.Reason)
	}
	if strings.HasPrefix(operation, logsTarget) {
		body["__type"] = name // where the JSON protocols look for it
	}
	text, _ := json.Marshal(body) // a map of strings always has JSON
	w.Header()["X-Amzn-Errortype"] = []string{name}
	rest.WriteJSON(w, exception.Status, text)
}

func (a *API) log(w http.ResponseWriter, r *http.Request, operation string, status int, err error) {
	if status < 500 || status == http.StatusNotImplemented {
		return
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the client has gone; nothing failed
	}
	a.Logger.ErrorContext(r.Context(), "request failed", "operation", operation,
		"requestId", w.Header()["X-Amzn-Requestid"][0], "err", err)
}

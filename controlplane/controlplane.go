// Package controlplane is the vocabulary of the control plane: the plain types
// that the API's edge, code intake, the function registry and identity hand to
// each other. It has no behaviour and no I/O.
package controlplane

import (
	"time"

	"kiln/lambda"
)

// Caller is who signed a request.
type Caller struct {
	Account     string // 12 digits
	ARN         string // of the user or role session
	AccessKeyID string
}

// NewFunction is what CreateFunction asks for, with defaults filled in and the
// model's constraints checked.
type NewFunction struct {
	Key     lambda.FunctionKey
	Config  lambda.Config
	Zip     []byte
	Tags    map[string]string
	Publish bool
	// ReservedConcurrency and other settings have operations of their own.
}

// CodeChange is what UpdateFunctionCode asks for.
type CodeChange struct {
	Key lambda.FunctionKey
	Zip []byte
	// Architecture is "" to keep it.
	Architecture lambda.Architecture
	Publish      bool
	DryRun       bool
	// RevisionID, when set, must be the current one.
	RevisionID string
}

// ConfigChange is what UpdateFunctionConfiguration asks for; nil keeps a field.
type ConfigChange struct {
	Key                lambda.FunctionKey
	Description        *string
	Role               *string
	Runtime            *lambda.Runtime
	Handler            *string
	MemoryMB           *int
	Timeout            *time.Duration
	EphemeralStorageMB *int
	Environment        map[string]string // nil keeps, empty clears
	Logging            *lambda.Logging
	TracingMode        *string
	KMSKeyARN          *string
	DeadLetterTarget   *string
	RevisionID         string
}

// Publication is what PublishVersion asks for.
type Publication struct {
	Key lambda.FunctionKey
	// Description replaces the version's description when set.
	Description *string
	// CodeSHA256 and RevisionID, when set, must be those of $LATEST.
	CodeSHA256 string
	RevisionID string
}

// AccountUsage is what GetAccountSettings reports.
type AccountUsage struct {
	ConcurrentExecutions           int
	UnreservedConcurrentExecutions int
	CodeSizeUnzipped               int64
	CodeSizeZipped                 int64
	TotalCodeSize                  int64
	FunctionCount                  int64
	UsedCodeSize                   int64
}

// Page is a request for one page of a list; Marker is "" for the first.
type Page struct {
	Marker string
	Max    int
}

package lambda

import (
	"fmt"
	"time"
)

// Latest is the number of the one version of a function that can change.
const Latest = "$LATEST"

// FunctionKey names a function within a region.
type FunctionKey struct {
	Account string `json:"account"` // 12 digits
	Name    string `json:"name"`
}

// String returns "account:name".
func (k FunctionKey) String() string { return k.Account + ":" + k.Name }

// VersionKey names one immutable configuration and code of a function: all
// execution environments of one VersionKey are interchangeable, and none ever
// serves two. Generation counts the changes of $LATEST that need new
// environments; a published version keeps the generation it was published with.
type VersionKey struct {
	FunctionKey
	Number     string `json:"number"` // Latest or "1", "2", …
	Generation uint64 `json:"generation"`
}

// String returns "account:name:number@generation".
func (k VersionKey) String() string {
	return fmt.Sprintf("%s:%s@%d", k.FunctionKey, k.Number, k.Generation)
}

// State is the life cycle of a version ("Lambda function states" in AWS's guide).
type State string

// The states of a version.
const (
	StatePending  State = "Pending"
	StateActive   State = "Active"
	StateInactive State = "Inactive"
	StateFailed   State = "Failed"
)

// UpdateStatus is the progress of the last update; while it is InProgress the
// previous code keeps serving.
type UpdateStatus string

// The progress of an update.
const (
	UpdateSuccessful UpdateStatus = "Successful"
	UpdateInProgress UpdateStatus = "InProgress"
	UpdateFailed     UpdateStatus = "Failed"
)

// PackageType says how a function's code was delivered.
type PackageType string

// The package types.
const (
	PackageZip   PackageType = "Zip"
	PackageImage PackageType = "Image"
)

// Architecture is the instruction set a function is built for.
type Architecture string

// The architectures.
const (
	X86_64 Architecture = "x86_64"
	ARM64  Architecture = "arm64"
)

// Package is a function's code as intake stored it: the caller's archive and
// the read-only image made from it, both named by content.
type Package struct {
	// SHA256 is the base64 digest of the archive, the CodeSha256 of the API.
	SHA256 string `json:"sha256"`
	// Size is the archive's size in bytes, the CodeSize of the API.
	Size int64 `json:"size"`
	// UnzippedSize is the sum of the sizes of its files in bytes.
	UnzippedSize int64 `json:"unzippedSize"`
	// Archive is the blob key of the archive as uploaded.
	Archive string `json:"archive"`
	// Image is the blob key of the erofs image, mounted at /var/task.
	Image string `json:"image"`
}

// LogFormat is how an environment's log lines are written.
type LogFormat string

// The log formats.
const (
	LogText LogFormat = "Text"
	LogJSON LogFormat = "JSON"
)

// Logging is a function's logging configuration. The levels are empty in
// LogText.
type Logging struct {
	Format           LogFormat `json:"format"`
	ApplicationLevel string    `json:"applicationLevel,omitempty"` // TRACE … FATAL
	SystemLevel      string    `json:"systemLevel,omitempty"`      // DEBUG, INFO or WARN
	Group            string    `json:"group"`
}

// Config is the part of a version that its owner writes.
type Config struct {
	Description        string            `json:"description,omitempty"`
	Role               string            `json:"role"`
	Runtime            Runtime           `json:"runtime,omitempty"`
	Handler            string            `json:"handler,omitempty"`
	PackageType        PackageType       `json:"packageType"`
	Architecture       Architecture      `json:"architecture"`
	MemoryMB           int               `json:"memoryMB"`
	Timeout            time.Duration     `json:"timeout"` // whole seconds
	EphemeralStorageMB int               `json:"ephemeralStorageMB"`
	Environment        map[string]string `json:"environment,omitempty"`
	Logging            Logging           `json:"logging"`
	// TracingMode is "Active" or "PassThrough".
	TracingMode string `json:"tracingMode"`
	// KMSKeyARN is kept and returned; environment variables are not encrypted with it.
	KMSKeyARN string `json:"kmsKeyArn,omitempty"`
	// DeadLetterTarget is the ARN of the queue or topic for events that could not be processed.
	DeadLetterTarget string `json:"deadLetterTarget,omitempty"`
}

// Version is one version of a function with everything that is needed to run
// it. A Version is immutable once it is published or handed to a service:
// change a copy.
type Version struct {
	Key VersionKey `json:"key"`
	// Region completes the ARN.
	Region string  `json:"region"`
	Config Config  `json:"config"`
	Code   Package `json:"code"`

	// RevisionID changes with every change of the version, for preconditions.
	RevisionID   string    `json:"revisionId"`
	LastModified time.Time `json:"lastModified"`

	State            State        `json:"state"`
	StateReason      string       `json:"stateReason,omitempty"`
	StateReasonCode  string       `json:"stateReasonCode,omitempty"`
	UpdateStatus     UpdateStatus `json:"updateStatus"`
	UpdateReason     string       `json:"updateReason,omitempty"`
	UpdateReasonCode string       `json:"updateReasonCode,omitempty"`
}

// ARN returns the version's qualified ARN; $LATEST is named without a qualifier
// when qualified is false.
func (v *Version) ARN(qualified bool) string {
	arn := FunctionARN(v.Region, v.Key.Account, v.Key.Name)
	if qualified {
		arn += ":" + v.Key.Number
	}
	return arn
}

// Function is what all versions of a function share.
type Function struct {
	Key FunctionKey `json:"key"`
	// LastPublished is the highest version number ever published, 0 for none;
	// numbers are not used again.
	LastPublished int `json:"lastPublished"`
	// ReservedConcurrency is nil when none is reserved; 0 stops all invokes.
	ReservedConcurrency *int              `json:"reservedConcurrency,omitempty"`
	Tags                map[string]string `json:"tags,omitempty"`
}

// Package invoke is the vocabulary of the synchronous data plane: the plain
// types that front end, counting service, worker manager, placement service and
// workers hand to each other. It has no behaviour beyond its types and no I/O.
//
// An invoke takes these steps. The front end resolves the version, takes a Unit
// of concurrency from the counting service, asks the worker manager for a
// Reservation of a slot, sends the Invocation straight to the slot's worker, and
// gives the unit back. The worker reports to the manager when the slot is idle.
package invoke

import (
	"io"
	"time"

	"kiln/lambda"
)

// WorkerID names a worker, unique within a region and over restarts.
type WorkerID string

// SlotID names a slot: one execution environment's place on one worker. It is
// never used again after the slot has ended.
type SlotID string

// Epoch numbers the successive owners of a partition. A message with a lower
// epoch than one already seen comes from an owner that has been replaced.
type Epoch uint64

// Invocation is one call of a function as the front end passes it to a worker.
type Invocation struct {
	RequestID string
	// FunctionARN is the ARN as invoked, with the caller's qualifier if any.
	FunctionARN     string
	TraceID         string // value of X-Amzn-Trace-Id
	ClientContext   string // decoded JSON, "" for none
	CognitoIdentity string // JSON, "" for none
	TenantID        string
	// Payload is the event; the worker does not change or keep it after Invoke returns.
	Payload []byte
	// Tail asks for the last 4 KB of the invocation's log.
	Tail bool
	// Stream, when set, receives the response as it comes instead of Result.Payload.
	Stream io.Writer
}

// Result is what came of an Invocation that reached the function's code.
type Result struct {
	// Payload is the response, or the error object when FunctionError is set.
	Payload []byte
	// FunctionError is "" for success, "Unhandled" for any error of the function or its
	// runtime: the value of X-Amz-Function-Error.
	FunctionError string
	// LogTail is the last 4 KB of the log if it was asked for.
	LogTail []byte
	// Timing says where the time went.
	Timing Timing
}

// Timing is where the time of one invocation went, each part as the worker
// measured it.
type Timing struct {
	Thaw     time.Duration // until the environment could run again
	Duration time.Duration // in the runtime, from the event's delivery to its response
	Init     time.Duration // of the environment, zero unless this was its first invocation
}

// SlotState is what a slot can be asked for.
type SlotState uint8

// The states of a slot. Starting → Idle ⇄ Busy → Ended; any state may end.
const (
	SlotStarting SlotState = iota
	SlotIdle
	SlotBusy
	SlotEnded
)

// String returns the state's name in lower case.
func (s SlotState) String() string {
	return [...]string{"starting", "idle", "busy", "ended"}[s]
}

// Slot is a slot as its worker reports it. Workers are the arbiters: where a
// manager's view differs, the worker's is right.
type Slot struct {
	ID       SlotID
	Worker   WorkerID
	Version  lambda.VersionKey
	MemoryMB int
	State    SlotState
	// Sequence is the number of the next invocation the slot will accept, from 1.
	Sequence uint64
}

// Reservation is a manager's promise of an idle slot. The worker accepts it
// only while the slot is idle, Sequence is the slot's next one and Epoch is not
// lower than any it has seen for the slot, so a stale reservation is refused
// and never run.
type Reservation struct {
	Slot     SlotID
	Worker   WorkerID
	Sequence uint64
	Epoch    Epoch
}

// Lease is placement's grant of a slot to a worker manager: until Expires the
// manager decides alone what the slot does.
type Lease struct {
	Slot    SlotID
	Worker  WorkerID
	Expires time.Time
}

// Unit is one unit of concurrency that the counting service granted. It must be
// released exactly once.
type Unit struct {
	ID    uint64
	Epoch Epoch
	// Function is whose unit it is.
	Function lambda.FunctionKey
}

// EndReason says why a slot ended.
type EndReason string

// The reasons for a slot's end.
const (
	EndIdle        EndReason = "idle"         // not used for the idle time-out
	EndOutdated    EndReason = "outdated"     // its version was changed or deleted
	EndEvicted     EndReason = "evicted"      // its room was needed for another function
	EndStartFailed EndReason = "start-failed" // the platform could not start it
	EndFailed      EndReason = "failed"       // the platform lost it: sandbox gone, worker dead
	EndLease       EndReason = "lease"        // its lease ran out
	EndDrain       EndReason = "drain"        // its worker is draining
)

// FrontEndID names a front end, unique within a region and over restarts. The
// counting service gives back what a dead front end held.
type FrontEndID string

// Placement is what a manager asks the placement service for: a slot for one
// version, on a worker of its choice.
type Placement struct {
	Version *lambda.Version
	// Avoid lists workers that have just refused or failed this version.
	Avoid []WorkerID
}

// WorkerStatus is a worker's regular report to the placement service; its
// absence is how a dead worker is noticed.
type WorkerStatus struct {
	ID      WorkerID
	Zone    string
	Started time.Time
	// Draining workers take no new slots.
	Draining bool
	// Capacity and Used compare what the worker has with what its slots take.
	Capacity Resources
	Used     Resources
	Slots    int
}

// Resources is an amount of what slots share on a worker.
type Resources struct {
	MemoryMB  int // resident memory
	CPUMillis int // thousandths of a core
	StorageMB int
	Slots     int // network slots
}

// SlotReport is a worker's word to the worker manager that a slot has changed:
// it became idle (after its start or an invocation) or it ended.
type SlotReport struct {
	Slot Slot
	// Reason is set when Slot.State is SlotEnded.
	Reason EndReason
	// Err is why the platform could not start the slot, for EndStartFailed.
	Err error
}

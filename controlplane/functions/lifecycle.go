package functions

import (
	"time"

	"kiln/lambda"
)

// state is what a command on one function can see and change: the function, its
// account, and those of its published versions that the command asked for.
type state struct {
	account account
	// record is nil when there is no such function.
	record *record
	// retired is the highest version number that a deleted function of this name
	// published: numbers are not used again.
	retired int
	// versions holds the published versions that the command wants, if they exist.
	versions map[int]*lambda.Version
}

// effects are what has to happen beside storing the new state's account and
// record: all of it in the same transaction, except prepare.
type effects struct {
	// put stores published versions, remove deletes them.
	put    []*lambda.Version
	remove []int
	// removeAll deletes all published versions.
	removeAll bool
	// retire keeps the highest version number of a function that is deleted.
	retire int
	// prepare has to be made available once the state is stored.
	prepare *lambda.Version
	// result answers the caller.
	result *lambda.Version
}

// environment is what commands know besides the state.
type environment struct {
	region string
	limits Limits
	now    time.Time
	newID  func() string
}

// command is one change of a function. Commands are values: applying one has no
// effect but its return values.
type command interface {
	// key names the function that the command is about.
	key() lambda.FunctionKey
	// wants returns the numbers of the published versions that apply needs to see.
	wants(r *record) []int
	// apply returns the state after the command, or an error and nothing else. The
	// record of the returned state is the given one if and only if nothing changed.
	apply(env environment, s state) (state, effects, error)
}

// apply runs one command. It is the whole life cycle of functions as a
// deterministic state machine.
func apply(env environment, s state, c command) (state, effects, error) {
	next, eff, err := c.apply(env, s)
	if err != nil {
		return s, effects{}, err
	}
	return next, eff, nil
}

// What AWS says while a version is made ready.
const (
	creatingReason = "The function is being created."
	creatingCode   = "Creating"
)

// stamp sets what every change of a version's configuration or code sets.
func (env environment) stamp(v *lambda.Version) {
	v.RevisionID = env.newID()
	v.LastModified = env.now
}

// pend marks a new version as being made ready.
func pend(v *lambda.Version) {
	v.State, v.StateReason, v.StateReasonCode = lambda.StatePending, creatingReason, creatingCode
	v.UpdateStatus, v.UpdateReason, v.UpdateReasonCode = lambda.UpdateInProgress, creatingReason, creatingCode
}

// activate marks a version as ready.
func activate(v *lambda.Version) {
	v.State, v.StateReason, v.StateReasonCode = lambda.StateActive, "", ""
	v.UpdateStatus, v.UpdateReason, v.UpdateReasonCode = lambda.UpdateSuccessful, "", ""
}

// existing returns the function's record, or AWS's error when there is none.
func (env environment) existing(s state, key lambda.FunctionKey) (*record, error) {
	if s.record == nil {
		return nil, notFound(env.region, key, "")
	}
	return s.record, nil
}

// changeable returns the record if its $LATEST may be changed or published now
// by a caller who expects revisionID ("" for any).
func (env environment) changeable(s state, key lambda.FunctionKey, revisionID string) (*record, error) {
	r, err := env.existing(s, key)
	if err != nil {
		return nil, err
	}
	switch {
	case revisionID != "" && revisionID != r.Latest.RevisionID:
		return nil, revisionMismatch()
	case r.Latest.State == lambda.StatePending:
		return nil, wrongState(r.Latest.State)
	case r.Latest.UpdateStatus == lambda.UpdateInProgress:
		return nil, updateInProgress(r.Latest)
	}
	return r, nil
}

// chargeCode adds to the account's code storage, within its limit.
func (env environment) chargeCode(s *state, r *record, bytes int64) error {
	if bytes > 0 && s.account.CodeBytes+bytes > env.limits.CodeBytes {
		return codeStorageExceeded()
	}
	s.account.CodeBytes += bytes
	r.CodeBytes += bytes
	return nil
}

// replaceLatest makes v the new $LATEST, to be prepared while what served until
// now goes on serving.
func (r *record) replaceLatest(v *lambda.Version) {
	if r.Serving == nil && r.Latest.State == lambda.StateActive {
		r.Serving = r.Latest
	}
	v.Key.Generation = r.Latest.Key.Generation + 1
	v.UpdateStatus, v.UpdateReason, v.UpdateReasonCode = lambda.UpdateInProgress, creatingReason, creatingCode
	r.Latest = v
}

package functions

import (
	"maps"

	"kiln/lambda"
)

// entry is one function in the catalog. It is immutable: changes make a new one.
type entry struct {
	record *record
	// versions are the published versions by number.
	versions map[int]*lambda.Version
}

// edit returns a copy that may be changed; e may be nil.
func (e *entry) edit() *entry {
	if e == nil {
		return &entry{versions: map[int]*lambda.Version{}}
	}
	return &entry{e.record, maps.Clone(e.versions)}
}

// empty reports whether nothing is left of the function.
func (e *entry) empty() bool { return e.record == nil && len(e.versions) == 0 }

// resolve returns the version that an invoke of qualifier runs, or AWS's error.
// e may be nil.
func (e *entry) resolve(region string, key lambda.FunctionKey, qualifier string) (*lambda.Version, *lambda.Function, error) {
	if e == nil || e.record == nil {
		return nil, nil, notFound(region, key, qualifier)
	}
	if qualifier == "" || qualifier == lambda.Latest {
		if v := e.record.serving(); v != nil {
			return v, &e.record.Function, nil
		}
		return nil, nil, wrongState(e.record.Latest.State)
	}
	n, _ := versionNumber(qualifier)
	v := e.versions[n]
	if v == nil {
		return nil, nil, notFound(region, key, qualifier)
	}
	if v.State != lambda.StateActive {
		return nil, nil, wrongState(v.State)
	}
	return v, &e.record.Function, nil
}

// served adds the keys of all versions that environments may be running.
func (e *entry) served(keys map[lambda.VersionKey]bool) {
	if e == nil || e.record == nil {
		return
	}
	if v := e.record.serving(); v != nil {
		keys[v.Key] = true
	}
	for _, v := range e.versions {
		if v.State == lambda.StateActive {
			keys[v.Key] = true
		}
	}
}

// Change tells a subscriber of the catalog what became of one function.
type Change struct {
	Key lambda.FunctionKey
	// Function is the function as it is now, nil once it is deleted.
	Function *lambda.Function
	// Outdated are versions that serve no longer: they were changed or deleted, and
	// their environments should end. Their keys are never used again.
	Outdated []lambda.VersionKey
}

// change describes the step from one entry of a function to the next.
func change(key lambda.FunctionKey, before, after *entry) Change {
	c := Change{Key: key}
	if after != nil && after.record != nil {
		c.Function = &after.record.Function
	}
	old, now := map[lambda.VersionKey]bool{}, map[lambda.VersionKey]bool{}
	before.served(old)
	after.served(now)
	for k := range old {
		if !now[k] {
			c.Outdated = append(c.Outdated, k)
		}
	}
	return c
}

package functions

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"

	"kiln/lambda"
)

// record is everything about one function except its published versions. It is
// stored under one key, and every change of the function or of any of its
// versions rewrites it, so its mod revision orders all of them.
//
// A record that has been handed on is never changed: change a copy.
type record struct {
	Function lambda.Function `json:"function"`
	// Latest is $LATEST as the API shows it.
	Latest *lambda.Version `json:"latest"`
	// Serving is what $LATEST still runs while Latest is being prepared or could
	// not be; nil when Latest itself serves, or nothing does yet.
	Serving *lambda.Version `json:"serving,omitempty"`
	// Awaiting is the published version that becomes active with Latest, 0 for none.
	Awaiting int `json:"awaiting,omitempty"`
	// Published is the last version published, nil when there is none or it was deleted.
	Published *publishedMark `json:"published,omitempty"`
	// CodeBytes is the size of the packages of Latest and all published versions.
	CodeBytes int64 `json:"codeBytes"`
}

// publishedMark tells whether $LATEST has changed since it was last published.
type publishedMark struct {
	Number int `json:"number"`
	// Fingerprint is that of $LATEST at the time.
	Fingerprint string `json:"fingerprint"`
}

// account is what all functions of an account share. It is stored under a key
// of its own, which every change of it compares, so that limits hold.
type account struct {
	Functions int   `json:"functions"`
	CodeBytes int64 `json:"codeBytes"`
	// Reserved is the sum of the functions' reserved concurrency.
	Reserved int `json:"reserved"`
	// LastGeneration is the highest generation that any deleted function reached.
	// A new function starts above it, so no VersionKey ever names two things.
	LastGeneration uint64 `json:"lastGeneration"`
}

// clone returns a copy whose own fields may be set. The versions stay shared.
func (r *record) clone() *record {
	c := *r
	return &c
}

// preparing reports whether the record waits for a preparation of Latest.
func (r *record) preparing() bool {
	return r.Latest.State == lambda.StatePending || r.Latest.UpdateStatus == lambda.UpdateInProgress
}

// serving returns the version that runs when $LATEST is invoked, nil for none.
func (r *record) serving() *lambda.Version {
	switch {
	case r.Serving != nil:
		return r.Serving
	case r.Latest.State == lambda.StateActive:
		return r.Latest
	}
	return nil
}

// fingerprint identifies the configuration and code of v.
func fingerprint(v *lambda.Version) string {
	config := v.Config
	if len(config.Environment) == 0 {
		config.Environment = nil
	}
	text, err := json.Marshal(struct {
		Config lambda.Config
		SHA256 string
	}{config, v.Code.SHA256})
	if err != nil {
		panic(err) // plain data always encodes
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// versionNumber parses the number of a published version; ok is false for
// anything else.
func versionNumber(qualifier string) (n int, ok bool) {
	if !lambda.IsVersionNumber(qualifier) {
		return 0, false
	}
	n, err := strconv.Atoi(qualifier)
	return n, err == nil && n > 0 && strconv.Itoa(n) == qualifier
}

// Package iam knows who may call: accounts, their access keys, and requests
// signed with them (AWS Signature Version 4).
//
// Policies are not part of it yet: whoever holds a key of an account may do
// everything in it.
package iam

import "time"

// Key is an access key, one of a user's for good or of a role session's for a
// while.
type Key struct {
	AccessKeyID string
	Secret      string
	// SessionToken is what requests signed with a temporary key carry; "" for
	// keys that are not temporary.
	SessionToken string
	// Expires is when a temporary key ends; the zero value is never.
	Expires time.Time
	// Account and ARN are whose key it is.
	Account string
	ARN     string
}

// Keys finds access keys. Lookup is on the path of every request: it does no I/O
// and is safe for concurrent use.
type Keys interface {
	Lookup(accessKeyID string) (Key, bool)
}

//go:build !embedguest

package gvisor

var embeddedGuest []byte

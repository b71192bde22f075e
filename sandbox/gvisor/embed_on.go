//go:build embedguest

package gvisor

import _ "embed"

// Before a build with this tag, for the same GOOS and GOARCH:
//
//	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o sandbox/gvisor/guest.bin ./sandbox/gvisor/guest

//go:embed guest.bin
var embeddedGuest []byte

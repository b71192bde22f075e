package gvisor

import (
	"fmt"
	"os"
	"path/filepath"
)

// A part of a sandbox that a large executable hosts first initializes whatever
// else is linked into it: with etcd and SDKs that is 15 ms of processor time
// and some megabytes of memory for each of three processes. So a build may
// embed the small executable of the package guest (build tag embedguest, made
// by the command in embed_on.go); the back end then starts that.

// unpackGuest writes the embedded executable into dir and returns its path. It
// is written anew every time, which takes some 20 ms, so that it is always this
// build's; what still runs keeps its own.
func unpackGuest(dir string, content []byte) (string, error) {
	path := filepath.Join(dir, "guest")
	temporary, err := os.CreateTemp(dir, "guest-")
	if err != nil {
		return "", err
	}
	defer os.Remove(temporary.Name()) // fails after the rename
	_, err = temporary.Write(content)
	if err == nil {
		err = temporary.Chmod(0o700)
	}
	// Closed before it is started: the kernel does not execute what is open for writing.
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("unpack the guest executable: %w", err)
	}
	return path, nil
}

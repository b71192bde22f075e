package gvisor

import (
	"os"
	"os/exec"
	"testing"
)

// TestUnpackGuest replaces an executable while it runs.
func TestUnpackGuest(t *testing.T) {
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	content, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	path, err := unpackGuest(dir, content)
	if err != nil {
		t.Fatal(err)
	}
	running := exec.Command(path, "60")
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	defer running.Wait()
	defer running.Process.Kill()
	if _, err := unpackGuest(dir, []byte("another")); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "another" {
		t.Errorf("it is %q, %v", data, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

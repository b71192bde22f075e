package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// held keeps what memory took.
var held [][]byte

// memory takes so many MiB and touches them.
func memory(arg string) (any, error) {
	mib, err := strconv.Atoi(arg)
	for range mib {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		held = append(held, b)
	}
	return len(held), err
}

// sharedMemory writes so many MiB into /dev/shm.
func sharedMemory(arg string) (any, error) {
	mib, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile("/dev/shm/sandboxprobe", os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	block := make([]byte, 1<<20)
	written := 0
	for ; written < mib && err == nil; written++ {
		_, err = f.Write(block)
	}
	return written, errors.Join(err, f.Close())
}

// self is a command that runs this program; children are named by what they run.
func self(args ...string) *exec.Cmd {
	return exec.Command("/proc/self/exe", args...)
}

// forkChildren tries to have so many children at once and says how many it got.
func forkChildren(arg string) (any, error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	var children []*exec.Cmd
	for range n {
		child := self("sleep=1h")
		if err = child.Start(); err != nil {
			break
		}
		children = append(children, child)
	}
	for _, c := range children {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	return len(children), err
}

// forkBomb starts children that do the same, for ever.
func forkBomb(string) (any, error) {
	fmt.Println(`{"probe":"forkbomb"}`)
	for {
		child := self("forkbomb")
		if child.Start() != nil {
			time.Sleep(time.Millisecond)
		}
	}
}

// files opens so many descriptors and says how many it got.
func files(arg string) (any, error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	var opened []int
	for range n {
		var fd int
		if fd, err = syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
			break
		}
		opened = append(opened, fd)
	}
	for _, fd := range opened {
		syscall.Close(fd)
	}
	return len(opened), err
}

// spin keeps a core busy for a duration and says how much processor time it
// got, in milliseconds.
func spin(arg string) (any, error) {
	d, err := time.ParseDuration(arg)
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
	var u syscall.Rusage
	if err == nil {
		err = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	}
	return (u.Utime.Nano() + u.Stime.Nano()) / 1e6, err
}

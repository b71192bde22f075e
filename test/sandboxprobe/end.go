package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// exit ends the process with a status.
func exit(arg string) (any, error) {
	code, err := strconv.Atoi(arg)
	if err == nil {
		os.Exit(code)
	}
	return nil, err
}

// signalSelf sends the process a signal with its default action.
func signalSelf(arg string) (any, error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	signal.Reset(syscall.Signal(n))
	if err := syscall.Kill(os.Getpid(), syscall.Signal(n)); err != nil {
		return nil, err
	}
	time.Sleep(time.Second)
	return nil, fmt.Errorf("still here after signal %d", n)
}

// sleep waits for a duration.
func sleep(arg string) (any, error) {
	d, err := time.ParseDuration(arg)
	time.Sleep(d)
	return nil, err
}

// orphan leaves a process behind that sleeps and whose parent is gone.
func orphan(arg string) (any, error) {
	child := self("orphan=now")
	if arg == "now" {
		child = self("sleep=1h")
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	if arg == "now" {
		os.Exit(0)
	}
	return nil, child.Wait()
}

// zombies makes so many orphans that end at once and counts the dead that
// nobody has waited for.
func zombies(arg string) (any, error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		// The child in between: its own child ends after it.
		if err := self("sleep=20ms").Start(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	for range n {
		if err := self("zombies=now").Run(); err != nil {
			return nil, err
		}
	}
	count := 0
	for range 100 { // the first process may take a moment
		time.Sleep(20 * time.Millisecond)
		if count = dead(); count == 0 {
			break
		}
	}
	return count, nil
}

// dead counts zombies and the sleepers that will be.
func dead() int {
	entries, _ := os.ReadDir("/proc")
	count := 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 || pid == os.Getpid() {
			continue
		}
		stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		if strings.Contains(string(stat), ") ") {
			count++
		}
	}
	return count
}

// echo prints its argument as its value.
func echo(arg string) (any, error) { return arg, nil }

// printErr writes its argument to the standard error.
func printErr(arg string) (any, error) {
	_, err := fmt.Fprintln(os.Stderr, arg)
	return nil, err
}

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Probes that leave something behind and that look for what another left.
func init() {
	probes["leave"] = leave
	probes["remains"] = remains
}

// residueKey is the key of what System V IPC has keys for.
const residueKey = 0x6b696c6e

// leave leaves traces of a word wherever a process can, and stays alive only as
// long as its caller: place → error.
func leave(word string) (any, error) {
	segment := func() error {
		id, err := unix.SysvShmGet(residueKey, 4096, unix.IPC_CREAT|0o666)
		if err != nil {
			return err
		}
		memory, err := unix.SysvShmAttach(id, 0, 0)
		if err != nil {
			return err
		}
		copy(memory, word)
		return nil
	}
	call := func(nr, a, b, c uintptr) error {
		_, _, errno := syscall.Syscall(nr, a, b, c)
		return errorOf(errno)
	}
	places := map[string]func() error{
		"tmp":         func() error { return os.WriteFile("/tmp/"+word, []byte(word), 0o666) },
		"shared":      func() error { return os.WriteFile("/dev/shm/"+word, []byte(word), 0o666) },
		"abstract":    func() error { return listen("unix", "@"+word) },
		"segment":     segment,
		"semaphore":   func() error { return call(unix.SYS_SEMGET, residueKey, 1, unix.IPC_CREAT|0o666) },
		"queue":       func() error { return call(unix.SYS_MSGGET, residueKey, unix.IPC_CREAT|0o666, 0) },
		"posix queue": func() error { return call(unix.SYS_MQ_OPEN, cString(word), unix.O_CREAT|unix.O_RDWR, 0o666) },
		"key":         func() error { return callKey(unix.SYS_ADD_KEY, word) },
		"port":        func() error { return listen("tcp4", "127.0.0.1:7777") },
		"environment": func() error { return os.Setenv("LEFT", word) },
		"process": func() error {
			child := self("sleep=1h", word)
			return child.Start()
		},
	}
	result := map[string]string{}
	for place, put := range places {
		result[place] = ""
		if err := put(); err != nil {
			result[place] = err.Error()
		}
	}
	return result, nil
}

// listeners keeps them open.
var listeners []net.Listener

func listen(network, address string) error {
	l, err := net.Listen(network, address)
	listeners = append(listeners, l)
	return err
}

func callKey(nr uintptr, word string) error {
	var err syscall.Errno
	switch nr {
	case unix.SYS_ADD_KEY:
		_, _, err = syscall.Syscall6(nr, cString("user"), cString(word), roomAddress(), 8, ^uintptr(3), 0) // the user's keyring
	default:
		_, _, err = syscall.Syscall6(nr, cString("user"), cString(word), 0, 0, 0, 0)
	}
	return errorOf(err)
}

// remains lists the places where a word left by another process shows.
func remains(word string) (any, error) {
	found := []string{}
	add := func(place string, there bool) {
		if there {
			found = append(found, place)
		}
	}
	for place, dir := range map[string]string{"tmp": "/tmp", "shared": "/dev/shm"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		add(place, len(entries) > 0)
	}
	c, err := net.Dial("unix", "@"+word)
	add("abstract", err == nil)
	if err == nil {
		c.Close()
	}
	_, err = unix.SysvShmGet(residueKey, 4096, 0)
	add("segment", err == nil)
	for place, nr := range map[string]uintptr{"semaphore": unix.SYS_SEMGET, "queue": unix.SYS_MSGGET} {
		_, _, errno := syscall.Syscall(nr, residueKey, 0, 0)
		add(place, errno == 0)
	}
	_, _, errno := syscall.Syscall6(unix.SYS_MQ_OPEN, cString(word), unix.O_RDONLY, 0, 0, 0, 0)
	add("posix queue", errno == 0)
	add("key", callKey(unix.SYS_REQUEST_KEY, word) == nil)
	c, err = net.Dial("tcp4", "127.0.0.1:7777")
	add("port", err == nil)
	if err == nil {
		c.Close()
	}
	add("environment", strings.Contains(strings.Join(os.Environ(), "\n"), word))
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, path := range commands {
		if path == fmt.Sprintf("/proc/%d/cmdline", os.Getpid()) {
			continue
		}
		data, _ := os.ReadFile(path)
		add("process", strings.Contains(string(data), word))
	}
	add("memory", freshMemoryHolds(word))
	return found, nil
}

// freshMemoryHolds looks for the word in memory that the kernel hands out.
func freshMemoryHolds(word string) bool {
	const size = 32 << 20
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Munmap(memory) }()
	return strings.Contains(unsafe.String(&memory[0], len(memory)), word)
}

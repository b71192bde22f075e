package container

import (
	"errors"
	"runtime"
	"sync"
)

// spawner runs functions on one thread that lives as long as it does. The
// kernel ties "die with the parent" to the parent's thread, and Go ends threads
// as it likes; so all sandboxes are children of this one.
type spawner struct {
	calls  chan func()
	closed chan struct{}
	once   sync.Once
}

func newSpawner() *spawner {
	s := &spawner{calls: make(chan func()), closed: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for {
			select {
			case call := <-s.calls:
				call()
			case <-s.closed:
				return
			}
		}
	}()
	return s
}

// do runs call on the spawner's thread and returns its error.
func (s *spawner) do(call func() error) error {
	done := make(chan error, 1)
	select {
	case s.calls <- func() { done <- call() }:
		return <-done
	case <-s.closed:
		return errors.New("the back end is closed")
	}
}

// close ends the thread after the call that runs.
func (s *spawner) close() { s.once.Do(func() { close(s.closed) }) }

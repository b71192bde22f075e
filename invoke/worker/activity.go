package worker

import "sync"

// activity counts what is under way. Unlike a sync.WaitGroup it may go from none
// to one while somebody waits. The zero value is ready; it is safe for
// concurrent use.
type activity struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // closed when n falls to 0; nil if nobody has asked
}

func (a *activity) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
}

func (a *activity) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n--; a.n == 0 && a.zero != nil {
		close(a.zero)
		a.zero = nil
	}
}

// none returns a channel that is closed once nothing is, or has been, under way.
func (a *activity) none() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if a.zero == nil {
		a.zero = make(chan struct{})
	}
	return a.zero
}

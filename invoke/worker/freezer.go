package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kiln/sandbox"
)

// freezeDelay is how long an idle environment keeps running. A function that
// is called again at once then costs neither a freeze nor a thaw, and the
// freeze is never on an invocation's path.
const freezeDelay = 5 * time.Millisecond

// freezeLimit is how long freezing may take. It is given up when it takes longer,
// as when a task waits for a disk that does not answer.
const freezeLimit = time.Second

// freezer freezes one process's sandbox between invocations.
type freezer struct {
	box sandbox.Sandbox
	log *slog.Logger

	cancel atomic.Pointer[context.CancelFunc] // of the freeze under way

	mu      sync.Mutex
	frozen  bool
	wanted  bool // an idle period is on
	pending *time.Timer
}

// freezeSoon begins an idle period.
func (f *freezer) freezeSoon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = true
	if f.pending == nil {
		f.pending = time.AfterFunc(freezeDelay, f.freeze)
		return
	}
	f.pending.Reset(freezeDelay)
}

func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.wanted || f.frozen {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), freezeLimit)
	defer cancel()
	f.cancel.Store(&cancel)
	if err := f.box.Freeze(ctx); err != nil { // it is thawed then
		if !errors.Is(err, context.Canceled) {
			f.log.Warn("an idle environment could not be frozen", "err", err)
		}
		return
	}
	f.frozen = true
}

// interrupt gives up a freeze that is under way.
func (f *freezer) interrupt() {
	if cancel := f.cancel.Load(); cancel != nil {
		(*cancel)()
	}
}

// thaw ends the idle period. The environment runs when it returns.
func (f *freezer) thaw(ctx context.Context) error {
	f.interrupt()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = false
	if !f.frozen {
		return nil
	}
	if err := f.box.Thaw(ctx); err != nil {
		return err
	}
	f.frozen = false
	return nil
}

// stop makes sure that nothing is frozen any more from now on; the sandbox is
// about to be destroyed.
func (f *freezer) stop() {
	f.interrupt()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = false
	if f.pending != nil {
		f.pending.Stop()
	}
}

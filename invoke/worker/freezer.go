package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"kiln/sandbox"
)

// freezeDelay is how long an idle environment keeps running. A function that
// is called again at once then costs neither a freeze nor a thaw, and the
// freeze is never on an invocation's path.
const freezeDelay = 5 * time.Millisecond

// freezer freezes one process's sandbox between invocations.
type freezer struct {
	box sandbox.Sandbox
	log *slog.Logger

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
	if err := f.box.Freeze(context.Background()); err != nil {
		f.log.Warn("an idle environment could not be frozen", "err", err)
		return
	}
	f.frozen = true
}

// thaw ends the idle period. The environment runs when it returns.
func (f *freezer) thaw(ctx context.Context) error {
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
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = false
	if f.pending != nil {
		f.pending.Stop()
	}
}

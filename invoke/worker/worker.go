// Package worker is the worker of the data plane: it creates, runs, freezes and
// ends execution environments in sandboxes, each in a slot that placement gave
// to a worker manager, and serves invocations straight from the front ends.
//
// A slot's life:
//
//  1. CreateSlot (placement): admission; the slot holds its room.
//  2. StartSlot (manager): the environment is made and initialized.
//  3. Invoke (front end), with a manager's reservation, one at a time. After
//     each the worker tells the manager that the slot is idle.
//  4. EndSlot (manager), or the platform lost it: the worker tells the manager.
//
// The worker is the arbiter of its slots: see lock.
package worker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"kiln/invoke"
	"kiln/lambda"
	"kiln/sandbox"
)

// The user that functions run as inside their sandboxes, as on AWS (sbx_user1051).
const (
	SandboxUID = 993
	SandboxGID = 990
)

// Reports is whom the worker tells about its slots: the worker manager. Report
// must not block for long and must not call the worker from within.
type Reports interface {
	Report(ctx context.Context, r invoke.SlotReport)
}

// Config is what a Worker is made of. All fields but StorageDir, Capacity, Starts and
// Draining are required.
type Config struct {
	ID        invoke.WorkerID
	Zone      string
	Backend   sandbox.Backend
	Resources Resources
	Logs      LogSink
	Reports   Reports
	Logger    *slog.Logger
	// StorageDir is where the environments' /tmp lie; "" if that is no disk.
	StorageDir string
	// Capacity is what slots may take in all; zero means the machine's.
	Capacity invoke.Resources
	// SlotOverheadMB is the back end's own memory for each slot.
	SlotOverheadMB int
	// Starts is how many sandboxes may be starting at once; zero chooses.
	Starts int
}

// Worker runs slots. It is safe for concurrent use.
type Worker struct {
	cfg       Config
	name      string
	began     time.Time
	starts    chan struct{}
	sandboxes atomic.Uint64
	attempts  atomic.Uint64
	memory    *memoryMeter

	mu       sync.Mutex
	slots    map[invoke.SlotID]*slot
	draining bool
	busy     activity // environments that are starting, busy or ending
}

// slot is a lock with what it guards. mu is held only for moments; the
// environment belongs to whoever the lock's state says.
type slot struct {
	id       invoke.SlotID
	v        *lambda.Version
	mu       sync.Mutex
	lock     lock
	cancel   context.CancelFunc // ends a start that is under way
	env      *environment       // nil until it has started
	memoryMB int
}

// New returns a worker without slots. Close ends it.
func New(cfg Config) *Worker {
	if cfg.Starts == 0 {
		cfg.Starts = 2 * runtime.NumCPU()
	}
	var name [3]byte
	rand.Read(name[:]) //nolint:errcheck // never fails
	w := &Worker{
		cfg:    cfg,
		name:   hex.EncodeToString(name[:]),
		began:  time.Now(),
		starts: make(chan struct{}, cfg.Starts),
		memory: newMemoryMeter(),
		slots:  map[invoke.SlotID]*slot{},
	}
	if w.cfg.Capacity == (invoke.Resources{}) {
		w.cfg.Capacity = machine(w.memory, cfg.StorageDir)
	}
	return w
}

// CreateSlot claims room for a slot. It refuses with invoke.ErrNoRoom or
// invoke.ErrDraining. A slot that exists already is left as it is.
func (w *Worker) CreateSlot(_ context.Context, id invoke.SlotID, v *lambda.Version, _ time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.draining {
		return invoke.ErrDraining
	}
	if _, ok := w.slots[id]; ok {
		return nil
	}
	if !w.memory.fits(w.unsettled()) || !diskFits(w.cfg.StorageDir) {
		return invoke.ErrNoRoom
	}
	w.slots[id] = &slot{id: id, v: v, lock: newLock(0), memoryMB: v.Config.MemoryMB}
	return nil
}

// unsettled is the memory in MB that slots are expected to take but have not
// taken yet, because they are only starting. w.mu is held.
func (w *Worker) unsettled() int {
	mb := 0
	for _, s := range w.slots {
		s.mu.Lock()
		if s.lock.state == invoke.SlotStarting {
			mb += w.cfg.SlotOverheadMB + expectedMB(s.memoryMB)
		}
		s.mu.Unlock()
	}
	return mb
}

// StartSlot makes the slot's environment and returns at once; a SlotReport
// tells when it is idle or has failed.
func (w *Worker) StartSlot(_ context.Context, id invoke.SlotID, v *lambda.Version, epoch invoke.Epoch) error {
	s := w.find(id)
	if s == nil {
		return invoke.ErrUnknownSlot
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock.state != invoke.SlotStarting || s.cancel != nil || epoch < s.lock.epoch {
		return invoke.ErrStaleReservation
	}
	s.lock.epoch = epoch
	s.v = v
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	w.busy.begin()
	go w.start(ctx, s)
	return nil
}

func (w *Worker) start(ctx context.Context, s *slot) {
	defer w.busy.end()
	log := w.cfg.Logger.With("slot", s.id, "function", s.v.Key.String())
	env, err := w.newEnvironment(ctx, s.v, log)
	if err == nil {
		// A fault of the function's is not the slot's end: its first invocation
		// tries again and reports what it gets.
		if _, err = env.boot(ctx, lambda.MaxInitDuration); err != nil {
			env.release()
		}
	}
	if err != nil {
		w.drop(s, invoke.EndStartFailed, err)
		return
	}
	env.rest()
	s.mu.Lock()
	started := s.lock.started()
	if started {
		s.env = env
	}
	s.mu.Unlock()
	if !started { // ended meanwhile
		env.release()
		return
	}
	w.report(s, "", nil)
}

// Invoke runs one invocation in the slot that r reserves. It returns when the
// answer is there, which may be before the slot is idle again; ctx only bounds
// the start of it. invoke.ErrStaleReservation and invoke.ErrUnknownSlot mean
// that no code of the function's has begun.
func (w *Worker) Invoke(ctx context.Context, r invoke.Reservation, inv *invoke.Invocation) (invoke.Result, error) {
	s := w.find(r.Slot)
	if s == nil {
		return invoke.Result{}, invoke.ErrUnknownSlot
	}
	s.mu.Lock()
	if err := s.lock.accept(r); err != nil {
		s.mu.Unlock()
		return invoke.Result{}, err
	}
	env := s.env
	w.busy.begin()
	s.mu.Unlock()

	run := &run{e: env, inv: inv, answer: make(chan outcome, 1), idle: func() { w.idle(s) },
		retake: func() bool { return w.retake(s, r.Sequence+1) }}
	go func() {
		defer w.busy.end()
		// The invocation goes on when its caller leaves, as on AWS.
		w.perform(context.WithoutCancel(ctx), s, run)
	}()
	out := <-run.answer
	return out.result, out.err
}

// perform runs an invocation whose slot has been taken for it.
func (w *Worker) perform(ctx context.Context, s *slot, r *run) {
	if !r.e.enter(turnWait) {
		// The runtime is still at something after its last answer: nothing of this
		// invocation has begun, so it may go elsewhere. The slot is idle after that.
		r.answer <- outcome{err: invoke.ErrStaleReservation}
		r.e.enter(0)
		r.e.leave()
		w.idle(s)
		return
	}
	if r.e.lost {
		r.answer <- outcome{err: invoke.ErrUnknownSlot}
		r.e.leave()
		return
	}
	if err := r.do(ctx); err != nil {
		r.e.release()
		r.e.leave()
		w.drop(s, invoke.EndFailed, err)
		return
	}
	r.e.leave()
	if !r.early {
		w.idle(s)
	}
}

// idle gives the slot back after its invocation.
func (w *Worker) idle(s *slot) {
	s.mu.Lock()
	finished := s.lock.finish()
	s.mu.Unlock()
	if finished {
		w.report(s, "", nil)
	}
}

// retake makes a slot busy again that was idle from its answer on, unless
// somebody has made use of that.
func (w *Worker) retake(s *slot, sequence uint64) bool {
	s.mu.Lock()
	retaken := s.lock.retake(sequence)
	s.mu.Unlock()
	if retaken {
		w.report(s, "", nil)
	}
	return retaken
}

// EndSlot ends a slot that is idle at the sequence or has not started, and
// refuses with invoke.ErrStaleReservation otherwise. Its room is free when the
// manager gets the report of its end.
func (w *Worker) EndSlot(_ context.Context, id invoke.SlotID, epoch invoke.Epoch, sequence uint64, reason invoke.EndReason) error {
	s := w.find(id)
	if s == nil {
		return invoke.ErrUnknownSlot
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.lock.end(epoch, sequence); err != nil {
		return err
	}
	w.busy.begin()
	go func() {
		defer w.busy.end()
		w.retire(s, reason)
	}()
	return nil
}

// retire frees a slot whose lock has ended.
func (w *Worker) retire(s *slot, reason invoke.EndReason) {
	s.mu.Lock()
	env := s.env
	s.env = nil
	if s.cancel != nil {
		s.cancel()
	}
	s.mu.Unlock()
	if env != nil {
		env.enter(0) // its runtime may still be at something
		env.release()
		env.leave()
	}
	w.forget(s, reason, nil)
}

// drop ends a slot that the platform lost.
func (w *Worker) drop(s *slot, reason invoke.EndReason, err error) {
	s.mu.Lock()
	lost := s.lock.lose()
	s.env = nil
	s.mu.Unlock()
	if lost {
		w.forget(s, reason, err)
	}
}

func (w *Worker) forget(s *slot, reason invoke.EndReason, err error) {
	w.mu.Lock()
	delete(w.slots, s.id)
	w.mu.Unlock()
	w.report(s, reason, err)
}

func (w *Worker) report(s *slot, reason invoke.EndReason, err error) {
	w.cfg.Reports.Report(context.Background(), invoke.SlotReport{Slot: w.describe(s), Reason: reason, Err: err})
}

func (w *Worker) describe(s *slot) invoke.Slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return invoke.Slot{ID: s.id, Worker: w.cfg.ID, Version: s.v.Key, MemoryMB: s.memoryMB,
		State: s.lock.state, Sequence: s.lock.sequence}
}

func (w *Worker) find(id invoke.SlotID) *slot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slots[id]
}

// Slots lists every slot as it is now, for a manager that takes over.
func (w *Worker) Slots(context.Context) ([]invoke.Slot, error) {
	w.mu.Lock()
	all := make([]*slot, 0, len(w.slots))
	for _, s := range w.slots {
		all = append(all, s)
	}
	w.mu.Unlock()
	out := make([]invoke.Slot, len(all))
	for i, s := range all {
		out[i] = w.describe(s)
	}
	return out, nil
}

// Status is the worker's report to the placement service.
func (w *Worker) Status() invoke.WorkerStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	used := invoke.Resources{Slots: len(w.slots), MemoryMB: w.memory.usedMB() + w.unsettled()}
	for _, s := range w.slots {
		s.mu.Lock()
		used.StorageMB += s.v.Config.EphemeralStorageMB
		s.mu.Unlock()
	}
	return invoke.WorkerStatus{ID: w.cfg.ID, Zone: w.cfg.Zone, Started: w.began, Draining: w.draining,
		Capacity: w.cfg.Capacity, Used: used, Slots: len(w.slots)}
}

// Drain makes the worker refuse new slots and waits until no environment is
// starting or busy, or ctx ends.
func (w *Worker) Drain(ctx context.Context) error {
	w.mu.Lock()
	w.draining = true
	w.mu.Unlock()
	select {
	case <-w.busy.none():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all slots, busy ones too, and returns when nothing of them is left.
func (w *Worker) Close() {
	w.mu.Lock()
	w.draining = true
	all := make([]*slot, 0, len(w.slots))
	for _, s := range w.slots {
		all = append(all, s)
	}
	w.mu.Unlock()
	var ending sync.WaitGroup
	for _, s := range all {
		s.mu.Lock()
		busy, env := s.lock.state == invoke.SlotBusy, s.env
		lost := s.lock.lose()
		s.mu.Unlock()
		switch {
		case busy: // its own goroutine sees the process end, and releases nothing
			ending.Go(func() { env.kill() })
		case lost:
			ending.Go(func() {
				if env != nil {
					env.kill()
				}
				w.retire(s, invoke.EndDrain)
			})
		}
	}
	ending.Wait()
	<-w.busy.none()
	for _, s := range all { // those that were busy
		s.mu.Lock()
		env := s.env
		s.env = nil
		s.mu.Unlock()
		if env != nil {
			env.release()
		}
	}
}

func (w *Worker) random(b []byte) { rand.Read(b) } //nolint:errcheck // never fails

func (w *Worker) invocationID() string {
	return w.name + "-" + strconv.FormatUint(w.attempts.Add(1), 36)
}

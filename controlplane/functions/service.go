// Package functions is the registry of functions: their life cycle, their
// versions and what they reserve.
//
// A deterministic core (lifecycle.go) decides what a command does to a function.
// Service is the shell around it: it keeps functions in etcd, changes them in
// transactions that never lose a concurrent change, and has their code prepared.
// Catalog is the data plane's view: a cache that follows the registry and outlives
// its store.
package functions

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"kiln/lambda"
)

// Intake checks and stores deployment packages. Its errors are for callers.
type Intake interface {
	Intake(ctx context.Context, account string, zip []byte) (lambda.Package, error)
}

// Preparer makes a version ready to run: its code's image and its runtime's. An
// error ends the preparation for good and makes the version Failed; the message
// of a *lambda.Error is shown to callers. Prepare may be called again for a
// version that it has prepared before.
type Preparer interface {
	Prepare(ctx context.Context, v *lambda.Version) error
}

// Follower is a view of the registry that this process serves from.
type Follower interface {
	// Reached returns once the view shows the given revision of the store, or ctx
	// ends, or the view is cut off from the store.
	Reached(ctx context.Context, revision int64)
}

// Limits are the quotas of an account.
type Limits struct {
	Concurrency   int
	MinUnreserved int
	CodeBytes     int64
}

// DefaultLimits returns AWS's quotas.
func DefaultLimits() Limits {
	return Limits{
		Concurrency:   lambda.DefaultAccountConcurrency,
		MinUnreserved: lambda.MinUnreservedConcurrency,
		CodeBytes:     lambda.MaxCodeStorageBytes,
	}
}

// Config says what a Service works with.
type Config struct {
	// Client is the store. The service does not close it.
	Client *clientv3.Client
	Region string
	Limits Limits // the zero value means DefaultLimits
	Intake Intake
	// Preparer is called from background goroutines, for several versions at a time.
	Preparer Preparer
	// Follower, if set, is waited for before an answer: whoever has seen a state
	// through the service finds nothing older through the follower.
	Follower Follower
	Logger   *slog.Logger // nil drops what is logged
}

const (
	// storeTimeout bounds one operation's use of the store.
	storeTimeout = 5 * time.Second
	// followTimeout bounds the wait for the Follower.
	followTimeout = time.Second
	// attempts is how often a command is tried when others keep changing what it
	// depends on.
	attempts = 100
)

// Service is the registry. Its methods are safe for concurrent use, also by
// several processes on one store. Use: New, Start, any methods, Close.
type Service struct {
	config Config
	store  store
	now    func() time.Time
	newID  func() string
	prep   preparations

	// locks keep this process's own commands on an account from outrunning each
	// other; the store's comparisons are what makes them correct.
	locks sync.Map // account → chan struct{} that holds one token while locked
}

// New returns a service that is not preparing anything yet.
func New(config Config) *Service {
	if config.Limits == (Limits{}) {
		config.Limits = DefaultLimits()
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s := &Service{
		config: config,
		store:  store{config.Client},
		now:    func() time.Time { return time.Now().UTC().Truncate(time.Millisecond) },
		newID:  uuid.NewString,
	}
	s.prep.init(s)
	return s
}

// Start takes up the preparations that an earlier process left unfinished.
// Preparations go on in the background until Close.
func (s *Service) Start(ctx context.Context) error {
	return s.prep.resume(ctx)
}

// Close stops the preparations under way and returns when they have stopped;
// the next Start takes them up again. Operations after Close still work but
// prepare nothing.
func (s *Service) Close() { s.prep.close() }

// environment returns what a command applied now knows.
func (s *Service) environment() environment {
	return environment{region: s.config.Region, limits: s.config.Limits, now: s.now(), newID: s.newID}
}

// do applies a command and stores what came of it. It returns once the store has
// acknowledged the change and the follower shows it.
func (s *Service) do(ctx context.Context, c command) (effects, error) {
	eff, revision, err := s.change(ctx, c)
	if err != nil {
		return effects{}, err
	}
	s.follow(ctx, revision)
	if eff.prepare != nil {
		s.prep.begin(eff.prepare)
	}
	return eff, nil
}

// change is do without the consequences. revision is 0 if nothing was written.
func (s *Service) change(ctx context.Context, c command) (eff effects, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	lock, _ := s.locks.LoadOrStore(c.key().Account, make(chan struct{}, 1))
	select {
	case lock.(chan struct{}) <- struct{}{}:
		defer func() { <-lock.(chan struct{}) }()
	case <-ctx.Done():
		return effects{}, 0, storeError(ctx.Err())
	}
	for attempt := range attempts {
		before, err := s.store.load(ctx, c)
		if err != nil {
			return effects{}, 0, storeError(err)
		}
		after, eff, err := apply(s.environment(), before.state, c)
		if err != nil {
			return effects{}, 0, err
		}
		if after.record == before.record {
			return eff, 0, nil
		}
		revision, ok, err := s.store.commit(ctx, before, after, eff)
		if err != nil {
			return effects{}, 0, storeError(err)
		}
		if ok {
			return eff, revision, nil
		}
		// Another process was faster; what it did decides anew.
		pause := time.Duration(rand.Int64N(int64(time.Millisecond) * int64(min(attempt+1, 20))))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return effects{}, 0, storeError(ctx.Err())
		}
	}
	return effects{}, 0, storeError(errors.New("too many concurrent changes of the account"))
}

// follow waits for the follower to show revision.
func (s *Service) follow(ctx context.Context, revision int64) {
	if s.config.Follower == nil || revision == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	s.config.Follower.Reached(ctx, revision)
}

// storeError is what a caller sees of a failure of the store: the end of its own
// context as such, anything else as something to retry.
func storeError(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return unavailable(err)
}

package functions

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"kiln/lambda"
)

// confirmTimeout bounds the read that confirms a refusal.
const confirmTimeout = time.Second

// CatalogConfig says what a Catalog follows and where it keeps its copy.
type CatalogConfig struct {
	// Client is the store. The catalog does not close it.
	Client *clientv3.Client
	Region string
	// Dir is a directory for the catalog's copy on disk, created when missing.
	Dir    string
	Logger *slog.Logger // nil drops what is logged
}

// Catalog is the data plane's view of the registry: all functions and versions in
// memory, kept up to date by a watch. While the store is away it goes on answering
// from what it has, also after a restart, from its copy on disk.
//
// Its methods are safe for concurrent use.
type Catalog struct {
	region string
	store  store
	disk   disk
	logger *slog.Logger
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// mu guards what readers see. It is held for moments only, never while
	// subscribers run or the disk or the store is asked.
	mu       sync.RWMutex
	identity string // of the store that the entries are from
	revision int64  // of the store that the entries show, 0 for none
	entries  map[lambda.FunctionKey]*entry
	// connected is whether the watch has caught up and not broken off since.
	connected bool
	// moved is closed and replaced whenever revision or connected changes.
	moved chan struct{}

	// notify serializes what subscribers are told; it is taken before mu.
	notify      sync.Mutex
	subscribers map[int]func(Change)
	lastID      int

	synced     chan struct{}
	syncedOnce sync.Once
}

var _ Follower = (*Catalog)(nil)

// OpenCatalog returns a catalog with what its copy on disk knows, if it has one,
// and begins to follow the store in the background. Close must be called.
func OpenCatalog(config CatalogConfig) (*Catalog, error) {
	c, err := newCatalog(config)
	if err != nil {
		return nil, err
	}
	c.start()
	return c, nil
}

// newCatalog returns a catalog that does not follow the store yet.
func newCatalog(config CatalogConfig) (*Catalog, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	c := &Catalog{
		region:      config.Region,
		store:       store{config.Client},
		logger:      config.Logger,
		entries:     map[lambda.FunctionKey]*entry{},
		moved:       make(chan struct{}),
		subscribers: map[int]func(Change){},
		synced:      make(chan struct{}),
	}
	if err := c.disk.open(config.Dir); err != nil {
		return nil, err
	}
	s, err := c.disk.load()
	switch {
	case err != nil:
		c.logger.Warn("the copy of the function catalog cannot be used", "error", err)
	case s != nil:
		c.identity, c.revision, c.entries = s.Identity, s.Revision, s.entries()
	}
	return c, nil
}

func (c *Catalog) start() {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.wg.Go(func() { c.run(ctx) })
	c.wg.Go(func() { c.save(ctx) })
}

// Close stops following and writes the copy on disk. The catalog still answers
// from memory afterwards.
func (c *Catalog) Close() {
	c.cancel()
	c.wg.Wait()
}

// Synced is closed once the catalog has shown the store's current state for the
// first time.
func (c *Catalog) Synced() <-chan struct{} { return c.synced }

// Resolve returns the version that an invoke of the qualifier ("" for $LATEST)
// runs now, and its function. During an update of $LATEST that is what ran before.
// The errors are those that AWS gives on Invoke.
//
// A hit takes no I/O. A refusal is confirmed by the store first if that can be
// reached, so whoever has seen a function become active can invoke it at once.
func (c *Catalog) Resolve(ctx context.Context, account, name, qualifier string) (*lambda.Version, *lambda.Function, error) {
	key := lambda.FunctionKey{Account: account, Name: name}
	c.mu.RLock()
	e, connected := c.entries[key], c.connected
	c.mu.RUnlock()
	v, f, refusal := e.resolve(c.region, key, qualifier)
	if refusal == nil {
		return v, f, nil
	}
	number, published := versionNumber(qualifier)
	if !published && qualifier != "" && qualifier != lambda.Latest {
		return nil, nil, refusal // no read can find it
	}
	var err error
	if connected {
		var fresh *entry
		if fresh, err = c.confirm(ctx, key, number); err == nil {
			return fresh.resolve(c.region, key, qualifier)
		}
	}
	if lambda.CodeOf(refusal) == lambda.CodeNotFound {
		return nil, nil, unavailable(err) // it may well exist: only the store could tell
	}
	return nil, nil, refusal
}

// confirm reads a function, and a version of it unless number is 0, from the store.
func (c *Catalog) confirm(ctx context.Context, key lambda.FunctionKey, number int) (*entry, error) {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	r, v, _, err := c.store.function(ctx, key, number)
	if err != nil {
		return nil, err
	}
	e := &entry{record: r, versions: map[int]*lambda.Version{}}
	if v != nil {
		e.versions[number] = v
	}
	return e, nil
}

// Subscribe reports every function that the catalog knows, then every change, in
// order and one at a time, until the returned function is called. notify must not
// block, nor call Subscribe; it may call Resolve.
func (c *Catalog) Subscribe(notify func(Change)) (cancel func()) {
	c.notify.Lock()
	defer c.notify.Unlock()
	c.mu.RLock()
	entries := c.entries
	known := make([]Change, 0, len(entries))
	for key, e := range entries {
		if e.record != nil {
			known = append(known, Change{Key: key, Function: &e.record.Function})
		}
	}
	c.mu.RUnlock()
	for _, k := range known {
		notify(k)
	}
	c.lastID++
	id := c.lastID
	c.subscribers[id] = notify
	return func() {
		c.notify.Lock()
		defer c.notify.Unlock()
		delete(c.subscribers, id)
	}
}

// Reached returns once the catalog shows the given revision of the store and its
// subscribers have been told, or ctx ends, or the catalog is cut off.
func (c *Catalog) Reached(ctx context.Context, revision int64) {
	for {
		c.mu.RLock()
		done, moved := c.revision >= revision || !c.connected, c.moved
		c.mu.RUnlock()
		if done {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

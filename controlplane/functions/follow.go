package functions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"kiln/lambda"
)

const (
	followRetryMin = 50 * time.Millisecond
	followRetryMax = 2 * time.Second
	// progressInterval is how often a watch that has not caught up is asked how far
	// it is; once it has, it is asked every idleProgress, so that a catalog that no
	// change concerns does not fall behind what the store still remembers.
	progressInterval = 20 * time.Millisecond
	idleProgress     = time.Minute
	// identityTimeout bounds the first read of a connection.
	identityTimeout = 5 * time.Second
)

// errCompacted says that the store no longer has the revisions the catalog misses.
var errCompacted = errors.New("the store has compacted what the catalog missed")

// run follows the store until ctx ends, over and over.
func (c *Catalog) run(ctx context.Context) {
	retry := followRetryMin
	for ctx.Err() == nil {
		err := c.follow(ctx)
		wasConnected := c.disconnect()
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errCompacted) {
			c.forgetRevision()
			continue
		}
		if wasConnected {
			retry = followRetryMin
			c.logger.Warn("the function catalog lost its store and answers from what it has", "error", err)
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
		retry = min(2*retry, followRetryMax)
	}
}

// follow brings the catalog up to date and keeps it so until the watch ends.
func (c *Catalog) follow(ctx context.Context) error {
	idCtx, cancel := context.WithTimeout(ctx, identityTimeout)
	identity, current, err := c.store.identity(idCtx)
	cancel()
	if err != nil {
		return err
	}
	// A copy of another store, or of one that was set back, is worth nothing.
	if identity != c.identity || c.revision == 0 || c.revision > current {
		if current, err = c.reload(ctx, identity); err != nil {
			return err
		}
	}

	// Only the watch's own word proves that it has caught up: there may have been no
	// change of a function for it to report. A stream is asked as a whole and answers
	// only if none of its watches begins in the future, so this one has a stream of
	// its own and begins with what is known already.
	ctx = metadata.AppendToOutgoingContext(clientv3.WithRequireLeader(ctx), "kiln-catalog", uuid.NewString())
	ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	watch := c.store.client.Watch(ctx, rootPrefix, clientv3.WithPrefix(), clientv3.WithRev(c.revision))
	ask := time.NewTimer(0)
	defer ask.Stop()
	for {
		select {
		case <-ask.C:
			if err := c.store.client.RequestProgress(ctx); err != nil {
				return fmt.Errorf("ask the watch for its progress: %w", err)
			}
			if c.isConnected() {
				ask.Reset(idleProgress)
			} else {
				ask.Reset(progressInterval)
			}
		case r, ok := <-watch:
			switch {
			case !ok:
				return errors.New("the watch ended")
			case r.CompactRevision != 0:
				return errCompacted
			case r.Err() != nil:
				return fmt.Errorf("watch: %w", r.Err())
			case len(r.Events) > 0:
				if err := c.apply(r.Events); err != nil {
					return err
				}
			case r.IsProgressNotify():
				c.advance(r.Header.Revision)
			}
			if c.revision >= current {
				c.connect()
			}
		}
	}
}

// reload replaces all entries with the store's current ones.
func (c *Catalog) reload(ctx context.Context, identity string) (int64, error) {
	entries := map[lambda.FunctionKey]*entry{}
	revision, err := c.store.scan(ctx, all(rootPrefix), func(_ int64, key string, value []byte) (bool, error) {
		return true, edit(entries, entries, key, value)
	})
	if err != nil {
		return 0, err
	}
	c.mu.RLock()
	before := c.entries
	c.mu.RUnlock()
	touched := map[lambda.FunctionKey]*entry{}
	for key := range before {
		touched[key] = nil // unless it is among the new ones
	}
	for key, e := range entries {
		touched[key] = e
	}
	c.replace(touched, identity, revision)
	return revision, nil
}

// apply brings one batch of events, which holds transactions whole, into the
// catalog.
func (c *Catalog) apply(events []*clientv3.Event) error {
	touched := map[lambda.FunctionKey]*entry{}
	var revision int64
	for _, e := range events {
		if e.Kv.ModRevision <= c.revision {
			continue // known already
		}
		value := e.Kv.Value
		if e.Type == mvccpb.DELETE {
			value = nil
		}
		// Only this goroutine writes c.entries: reading needs no lock here.
		if err := edit(touched, c.entries, string(e.Kv.Key), value); err != nil {
			return err
		}
		revision = max(revision, e.Kv.ModRevision)
	}
	if revision > 0 {
		c.replace(touched, c.identity, revision)
	}
	return nil
}

// edit brings one key into touched; a nil value is its deletion. Functions that
// are not among touched yet are taken from entries.
func edit(touched, entries map[lambda.FunctionKey]*entry, key string, value []byte) error {
	p, ok := parseKey(key)
	if !ok {
		return nil // nothing that the catalog shows
	}
	e := touched[p.function]
	if e == nil {
		e = entries[p.function].edit()
		touched[p.function] = e
	}
	var err error
	switch {
	case p.number == 0 && value == nil:
		e.record = nil
	case p.number == 0:
		e.record, err = decode[record](value)
	case value == nil:
		delete(e.versions, p.number)
	default:
		e.versions[p.number], err = decode[lambda.Version](value)
	}
	if err != nil {
		return fmt.Errorf("decode %s: %w", key, err)
	}
	return nil
}

// replace sets the touched entries, tells the subscribers, and only then shows the
// new revision to those who wait for it.
func (c *Catalog) replace(touched map[lambda.FunctionKey]*entry, identity string, revision int64) {
	c.notify.Lock()
	defer c.notify.Unlock()
	changes := make([]Change, 0, len(touched))
	c.mu.Lock()
	if identity != c.identity {
		c.identity, c.revision = identity, 0
	}
	for key, after := range touched {
		before := c.entries[key]
		if after == nil || after.empty() {
			delete(c.entries, key)
			after = nil
		} else {
			c.entries[key] = after
		}
		if before != nil || after != nil {
			changes = append(changes, change(key, before, after))
		}
	}
	c.mu.Unlock()
	for _, ch := range changes {
		for _, notify := range c.subscribers {
			notify(ch)
		}
	}
	c.advance(revision)
	if len(changes) > 0 {
		c.disk.changed()
	}
}

// advance sets the revision that the entries show.
func (c *Catalog) advance(revision int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if revision > c.revision || !c.connected {
		c.revision = revision
		c.wake()
	}
}

// forgetRevision makes the next connection reload. What is known still serves.
func (c *Catalog) forgetRevision() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revision = 0
}

func (c *Catalog) connect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.connected {
		c.connected = true
		c.wake()
		c.syncedOnce.Do(func() { close(c.synced) })
	}
}

// disconnect reports whether the catalog was connected until now.
func (c *Catalog) disconnect() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.connected
	if was {
		c.connected = false
		c.wake()
	}
	return was
}

func (c *Catalog) isConnected() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.connected
}

// wake lets those who wait look again; c.mu is held.
func (c *Catalog) wake() {
	close(c.moved)
	c.moved = make(chan struct{})
}

package functions

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"kiln/controlplane"
	"kiln/lambda"
	"kiln/store/etcd"
)

func openCatalog(t *testing.T, server *etcd.Server, dir string) *Catalog {
	t.Helper()
	c, err := OpenCatalog(CatalogConfig{Client: server.Client(), Region: "us-east-1", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// followed returns a service with a catalog that it waits for.
func followed(t *testing.T, server *etcd.Server, dir string) (*fixture, *Catalog) {
	t.Helper()
	c := openCatalog(t, server, dir)
	<-c.Synced()
	return newFixture(t, server, func(config *Config) { config.Follower = c }), c
}

// resolve returns "code size/generation" or the error's code.
func resolve(t *testing.T, c *Catalog, name, qualifier string) string {
	t.Helper()
	v, f, err := c.Resolve(t.Context(), testAccount, name, qualifier)
	if err != nil {
		return string(lambda.CodeOf(err))
	}
	if f.Key != key(name) {
		t.Errorf("%s resolves to function %s", name, f.Key)
	}
	return fmt.Sprintf("%d/%d", v.Code.Size, v.Key.Generation)
}

func wantResolve(t *testing.T, c *Catalog, name, qualifier, want string) {
	t.Helper()
	if got := resolve(t, c, name, qualifier); got != want {
		t.Errorf("%s:%s resolves to %s, want %s", name, qualifier, got, want)
	}
}

// stopReads makes the catalog's confirming reads fail, so that answers can only
// come from memory.
func stopReads(c *Catalog) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected = false
}

func TestCatalogServesWhatServes(t *testing.T) {
	f, c := followed(t, startStore(t, t.TempDir()), t.TempDir())
	ctx := t.Context()
	wantResolve(t, c, "f", "", "NotFound")

	release := f.preparer.hold()
	if _, err := f.Create(ctx, newFunction("f", "1")); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.Resolve(ctx, testAccount, "f", "")
	wantError(t, err, lambda.CodeConflict, "The operation cannot be performed at this time. The function is currently in the following state: Pending")
	release()
	f.settled("f", "")
	wantResolve(t, c, "f", "", "1/1")

	release = f.preparer.hold()
	if _, err := f.UpdateCode(ctx, controlplane.CodeChange{Key: key("f"), Zip: []byte("22"), Publish: true}); err != nil {
		t.Fatal(err)
	}
	wantResolve(t, c, "f", "$LATEST", "1/1")
	wantResolve(t, c, "f", "1", "Conflict")
	release()
	f.settled("f", "")
	wantResolve(t, c, "f", "$LATEST", "2/2")
	wantResolve(t, c, "f", "1", "2/2")
	wantResolve(t, c, "f", "2", "NotFound")
	wantResolve(t, c, "f", "alias", "NotFound")

	f.preparer.fail(fmt.Errorf("no"))
	if _, err := f.UpdateCode(ctx, controlplane.CodeChange{Key: key("f"), Zip: []byte("333")}); err != nil {
		t.Fatal(err)
	}
	f.settled("f", "")
	wantResolve(t, c, "f", "", "2/2")
	if _, err := f.Create(ctx, newFunction("g", "1")); err != nil {
		t.Fatal(err)
	}
	f.settled("g", "")
	wantResolve(t, c, "g", "", "Conflict")

	if err := f.Delete(ctx, key("f"), "1"); err != nil {
		t.Fatal(err)
	}
	wantResolve(t, c, "f", "1", "NotFound")
	if err := f.Delete(ctx, key("f"), ""); err != nil {
		t.Fatal(err)
	}
	wantResolve(t, c, "f", "", "NotFound")
	f.preparer.fail(nil)
	f.create("f", "1")
	wantResolve(t, c, "f", "", "1/4") // generations go on
}

// Whoever has seen a state through the service finds it in the catalog's memory,
// without the store's help.
func TestCatalogReadsWhatWasSeen(t *testing.T) {
	f, c := followed(t, startStore(t, t.TempDir()), t.TempDir())
	f.create("f", "x")
	for i := range 50 {
		memory := 200 + i
		if _, err := f.UpdateConfig(t.Context(), controlplane.ConfigChange{Key: key("f"), MemoryMB: &memory}); err != nil {
			t.Fatal(err)
		}
		f.settled("f", "")
		if v, _, err := c.Resolve(t.Context(), testAccount, "f", ""); err != nil || v.Config.MemoryMB != memory {
			t.Fatalf("resolved %+v, %v; want %d MB", v, err, memory)
		}
	}
}

func TestCatalogConfirmsRefusals(t *testing.T) {
	server := startStore(t, t.TempDir())
	c := openCatalog(t, server, t.TempDir())
	<-c.Synced()
	c.Close() // its watch has ended: memory will not learn of the function
	c.connect()
	f := newFixture(t, server)
	f.create("f", "x")
	wantResolve(t, c, "f", "", "1/1")
	stopReads(c)
	wantResolve(t, c, "f", "", "Unavailable")
}

func TestCatalogOutlivesTheStore(t *testing.T) {
	storeDir, copyDir := t.TempDir(), t.TempDir()
	server := startStore(t, storeDir)
	f, c := followed(t, server, copyDir)
	f.create("stays", "x")
	f.create("goes", "x")
	if _, err := f.Publish(t.Context(), controlplane.Publication{Key: key("stays")}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	server.Close()
	wantResolve(t, c, "stays", "", "1/1")
	wantResolve(t, c, "stays", "1", "1/1")
	c.Close()

	// A new process while the store is still away.
	c = openCatalog(t, server, copyDir)
	wantResolve(t, c, "stays", "", "1/1")
	wantResolve(t, c, "stays", "1", "1/1")
	wantResolve(t, c, "goes", "", "1/1")
	wantResolve(t, c, "never-seen", "", "Unavailable")
	select {
	case <-c.Synced():
		t.Error("synced without a store")
	default:
	}
	c.Close()

	// The store is back and has changed meanwhile.
	server = startStore(t, storeDir)
	f = newFixture(t, server)
	if err := f.Delete(t.Context(), key("goes"), ""); err != nil {
		t.Fatal(err)
	}
	f.create("new", "x")
	c = openCatalog(t, server, copyDir)
	<-c.Synced()
	wantResolve(t, c, "new", "", "1/2")
	wantResolve(t, c, "goes", "", "NotFound")
	stopReads(c)
	wantResolve(t, c, "stays", "", "1/1")
	wantResolve(t, c, "goes", "", "Unavailable") // not known any more
}

func TestCatalogReloadsAfterCompaction(t *testing.T) {
	server, copyDir := startStore(t, t.TempDir()), t.TempDir()
	f, c := followed(t, server, copyDir)
	f.create("stays", "x")
	f.create("goes", "x")
	c.Close()
	if err := f.Delete(t.Context(), key("goes"), ""); err != nil {
		t.Fatal(err)
	}
	r, err := server.Client().Put(t.Context(), "unrelated", "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Client().Compact(t.Context(), r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	c, err = newCatalog(CatalogConfig{Client: server.Client(), Region: "us-east-1", Dir: copyDir})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var deleted []string
	c.Subscribe(func(ch Change) {
		mu.Lock()
		defer mu.Unlock()
		if ch.Function == nil {
			deleted = append(deleted, fmt.Sprint(ch.Key.Name, ch.Outdated))
		}
	})
	c.start()
	defer c.Close()
	<-c.Synced()
	stopReads(c)
	wantResolve(t, c, "stays", "", "1/1")
	wantResolve(t, c, "goes", "", "Unavailable") // not known any more
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"goes[000000000000:goes:$LATEST@1]"}; !slices.Equal(deleted, want) {
		t.Errorf("deleted %v, want %v", deleted, want)
	}
}

func TestCatalogIsSyncedOnlyOnceCaughtUp(t *testing.T) {
	server, copyDir := startStore(t, t.TempDir()), t.TempDir()
	f, c := followed(t, server, copyDir)
	f.create("f", "x")
	c.Close()
	// More revisions than etcd catches up with in one batch.
	r, _, _, err := f.store.function(t.Context(), key("f"), 0)
	if err != nil {
		t.Fatal(err)
	}
	const last = 2500
	for i := range last + 1 {
		r.Function.ReservedConcurrency = &i
		if _, err := server.Client().Do(t.Context(), put(recordKey(key("f")), r)); err != nil {
			t.Fatal(err)
		}
	}
	c, err = newCatalog(CatalogConfig{Client: server.Client(), Region: "us-east-1", Dir: copyDir})
	if err != nil {
		t.Fatal(err)
	}
	early := make(chan int, last+1)
	c.Subscribe(func(ch Change) {
		select {
		case <-c.Synced():
			early <- *ch.Function.ReservedConcurrency
		default:
		}
	})
	c.start()
	defer c.Close()
	<-c.Synced()
	stopReads(c)
	_, fn, err := c.Resolve(t.Context(), testAccount, "f", "")
	if err != nil || fn.ReservedConcurrency == nil || *fn.ReservedConcurrency != last {
		t.Errorf("synced at %+v, %v; want %d reserved", fn, err, last)
	}
	if len(early) > 0 {
		t.Errorf("synced before change %d was shown", <-early)
	}
}

func TestCatalogOfAnotherStoreIsDropped(t *testing.T) {
	copyDir := t.TempDir()
	f, c := followed(t, startStore(t, t.TempDir()), copyDir)
	f.create("old", "x")
	c.Close()

	server := startStore(t, t.TempDir())
	f = newFixture(t, server)
	for i := range 10 { // beyond the old store's revision
		f.create(fmt.Sprint("new", i), "x")
	}
	c = openCatalog(t, server, copyDir)
	<-c.Synced()
	wantResolve(t, c, "old", "", "NotFound")
	stopReads(c)
	wantResolve(t, c, "new0", "", "1/1")
}

func TestBrokenCopyIsNotUsed(t *testing.T) {
	server, copyDir := startStore(t, t.TempDir()), t.TempDir()
	newFixture(t, server).create("f", "x")
	if err := os.WriteFile(filepath.Join(copyDir, copyFile), []byte(`{"format":1,"records":[{`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := openCatalog(t, server, copyDir)
	<-c.Synced()
	stopReads(c)
	wantResolve(t, c, "f", "", "1/1")
}

func TestSubscribersSeeEveryChange(t *testing.T) {
	f, c := followed(t, startStore(t, t.TempDir()), t.TempDir())
	ctx := t.Context()
	f.create("f", "x")
	var mu sync.Mutex
	var got []string
	cancel := c.Subscribe(func(ch Change) {
		mu.Lock()
		defer mu.Unlock()
		text := ch.Key.Name
		switch {
		case ch.Function == nil:
			text += " deleted"
		case ch.Function.ReservedConcurrency != nil:
			text += fmt.Sprint(" reserves ", *ch.Function.ReservedConcurrency)
		}
		slices.SortFunc(ch.Outdated, func(a, b lambda.VersionKey) int { return len(a.Number) - len(b.Number) })
		for _, k := range ch.Outdated {
			text += fmt.Sprintf(" -%s@%d", k.Number, k.Generation)
		}
		got = append(got, text)
	})
	// expect compares what has come since the last call: the service returns only
	// after the subscribers have been told.
	expect := func(step string, want ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", step, got, want)
		}
		got = nil
	}
	expect("subscribe", "f")
	if err := f.PutConcurrency(ctx, key("f"), 7); err != nil {
		t.Fatal(err)
	}
	expect("reserve", "f reserves 7")
	if err := f.DeleteConcurrency(ctx, key("f")); err != nil {
		t.Fatal(err)
	}
	expect("unreserve", "f")
	if _, err := f.Publish(ctx, controlplane.Publication{Key: key("f")}); err != nil {
		t.Fatal(err)
	}
	expect("publish", "f")
	if _, err := f.UpdateCode(ctx, controlplane.CodeChange{Key: key("f"), Zip: []byte("xx")}); err != nil {
		t.Fatal(err)
	}
	f.settled("f", "")
	expect("update", "f", "f -$LATEST@1")
	if err := f.Delete(ctx, key("f"), ""); err != nil {
		t.Fatal(err)
	}
	expect("delete", "f deleted -1@1 -$LATEST@2")
	cancel()
	f.create("g", "x")
	expect("cancelled")
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	server, err := etcd.Start(t.Context(), etcd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCatalog(CatalogConfig{Client: server.Client(), Region: "us-east-1", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	<-c.Synced()
	p := &fakePreparer{}
	p.hold()
	s := New(Config{Client: server.Client(), Region: "us-east-1", Intake: fakeIntake{}, Preparer: p, Follower: c})
	for i := range 2 * concurrentPreparations {
		if _, err := s.Create(t.Context(), newFunction(fmt.Sprint("f", i), "x")); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	c.Close()
	server.Close()
	eventually(t, func() error {
		if after := runtime.NumGoroutine(); after > before {
			stacks := make([]byte, 1<<20)
			return fmt.Errorf("%d goroutines, %d before:\n%s", after, before, stacks[:runtime.Stack(stacks, true)])
		}
		return nil
	})
}

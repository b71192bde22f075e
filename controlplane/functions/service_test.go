package functions

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"kiln/controlplane"
	"kiln/lambda"
	"kiln/store/etcd"
)

const testAccount = "000000000000"

// fakeIntake takes any bytes as a package.
type fakeIntake struct{}

func (fakeIntake) Intake(_ context.Context, _ string, zip []byte) (lambda.Package, error) {
	if string(zip) == "broken" {
		return lambda.Package{}, lambda.Errorf(lambda.CodeInvalidZip, "Could not unzip uploaded file. Please check your file, then try to upload again.")
	}
	sum := sha256.Sum256(zip)
	text := base64.StdEncoding.EncodeToString(sum[:])
	return lambda.Package{SHA256: text, Size: int64(len(zip)), Archive: "zip/" + text, Image: "image/" + text}, nil
}

// fakePreparer prepares at once, unless it is told to wait or to fail.
type fakePreparer struct {
	mu    sync.Mutex
	gate  chan struct{} // when set, preparations wait until it is closed
	err   error
	calls int
}

func (p *fakePreparer) Prepare(ctx context.Context, _ *lambda.Version) error {
	p.mu.Lock()
	p.calls++
	gate, err := p.gate, p.err
	p.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// hold makes preparations wait until the returned function is called.
func (p *fakePreparer) hold() (release func()) {
	gate := make(chan struct{})
	p.mu.Lock()
	p.gate = gate
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.gate = nil
		p.mu.Unlock()
		close(gate)
	}
}

func (p *fakePreparer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func startStore(t *testing.T, dir string) *etcd.Server {
	t.Helper()
	s, err := etcd.Start(t.Context(), etcd.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

type fixture struct {
	*Service
	t        *testing.T
	server   *etcd.Server
	preparer *fakePreparer
}

func newFixture(t *testing.T, server *etcd.Server, edit ...func(*Config)) *fixture {
	t.Helper()
	p := &fakePreparer{}
	c := Config{Client: server.Client(), Region: "us-east-1", Intake: fakeIntake{}, Preparer: p}
	for _, e := range edit {
		e(&c)
	}
	s := New(c)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &fixture{s, t, server, p}
}

func key(name string) lambda.FunctionKey { return lambda.FunctionKey{Account: testAccount, Name: name} }

func newFunction(name, code string) controlplane.NewFunction {
	return controlplane.NewFunction{Key: key(name), Zip: []byte(code), Config: lambda.Config{MemoryMB: 128, Timeout: 3 * time.Second}}
}

func (f *fixture) create(name, code string) *lambda.Version {
	f.t.Helper()
	if _, err := f.Create(f.t.Context(), newFunction(name, code)); err != nil {
		f.t.Fatal(err)
	}
	return f.settled(name, "")
}

// settled waits until no preparation of the version is under way.
func (f *fixture) settled(name, qualifier string) *lambda.Version {
	f.t.Helper()
	var v *lambda.Version
	eventually(f.t, func() (err error) {
		if v, _, err = f.Get(f.t.Context(), key(name), qualifier); err != nil {
			return err
		}
		if v.State == lambda.StatePending || v.UpdateStatus == lambda.UpdateInProgress {
			return fmt.Errorf("%s is %s/%s", v.Key, v.State, v.UpdateStatus)
		}
		return nil
	})
	return v
}

// eventually waits for check to pass.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func wantError(t *testing.T, err error, code lambda.Code, message string) {
	t.Helper()
	var e *lambda.Error
	if !errors.As(err, &e) || e.Code != code || e.Message != message {
		t.Fatalf("error %v, want %s: %s", err, code, message)
	}
}

func TestLifeCycleThroughTheStore(t *testing.T) {
	f := newFixture(t, startStore(t, t.TempDir()))
	ctx := t.Context()
	release := f.preparer.hold()
	arn := "arn:aws:lambda:us-east-1:000000000000:function:f"

	v, err := f.Create(ctx, newFunction("f", "one"))
	if err != nil {
		t.Fatal(err)
	}
	if v.State != lambda.StatePending || v.StateReasonCode != "Creating" || v.Code.Size != 3 || v.RevisionID == "" {
		t.Fatalf("created %+v", v)
	}
	_, err = f.Create(ctx, newFunction("f", "one"))
	wantError(t, err, lambda.CodeConflict, "Function already exist: f")
	_, err = f.Publish(ctx, controlplane.Publication{Key: key("f")})
	wantError(t, err, lambda.CodeConflict, "The operation cannot be performed at this time. The function is currently in the following state: Pending")
	release()
	first := f.settled("f", "")
	if first.State != lambda.StateActive || first.StateReason != "" || first.RevisionID == v.RevisionID {
		t.Fatalf("settled as %+v", first)
	}

	release = f.preparer.hold()
	v, err = f.UpdateCode(ctx, controlplane.CodeChange{Key: key("f"), Zip: []byte("three"), RevisionID: first.RevisionID})
	if err != nil {
		t.Fatal(err)
	}
	if v.UpdateStatus != lambda.UpdateInProgress || v.State != lambda.StateActive || v.Key.Generation <= first.Key.Generation {
		t.Fatalf("updated to %+v", v)
	}
	_, err = f.UpdateConfig(ctx, controlplane.ConfigChange{Key: key("f")})
	wantError(t, err, lambda.CodeConflict, "The operation cannot be performed at this time. An update is in progress for resource: "+arn)
	_, err = f.UpdateCode(ctx, controlplane.CodeChange{Key: key("f"), Zip: []byte("x"), RevisionID: first.RevisionID})
	wantError(t, err, lambda.CodePreconditionFailed, "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")
	release()
	f.settled("f", "")

	f.preparer.fail(lambda.Errorf(lambda.CodeNotSupported, "no such runtime here"))
	if _, err = f.UpdateCode(ctx, controlplane.CodeChange{Key: key("f"), Zip: []byte("bad")}); err != nil {
		t.Fatal(err)
	}
	if v = f.settled("f", ""); v.UpdateStatus != lambda.UpdateFailed || v.UpdateReason != "no such runtime here" || v.UpdateReasonCode != "InvalidConfiguration" || v.State != lambda.StateActive {
		t.Fatalf("failed update is %+v", v)
	}
	f.preparer.fail(errors.New("a secret of the platform's"))
	if _, err = f.Create(ctx, newFunction("g", "bad")); err != nil {
		t.Fatal(err)
	}
	if v = f.settled("g", ""); v.State != lambda.StateFailed || v.StateReasonCode != "InternalError" || strings.Contains(v.StateReason, "secret") {
		t.Fatalf("failed creation is %+v", v)
	}

	_, _, err = f.Get(ctx, key("f"), "7")
	wantError(t, err, lambda.CodeNotFound, "Function not found: "+arn+":7")
	wantError(t, f.Delete(ctx, key("f"), "$LATEST"), lambda.CodeInvalidParameter, "$LATEST version cannot be deleted without deleting the function.")
	if err := f.Delete(ctx, key("f"), ""); err != nil {
		t.Fatal(err)
	}
	_, _, err = f.Get(ctx, key("f"), "")
	wantError(t, err, lambda.CodeNotFound, "Function not found: "+arn)
}

func TestBrokenPackageLeavesNothing(t *testing.T) {
	f := newFixture(t, startStore(t, t.TempDir()))
	if _, err := f.Create(t.Context(), newFunction("f", "broken")); lambda.CodeOf(err) != lambda.CodeInvalidZip {
		t.Fatalf("error %v", err)
	}
	if _, _, err := f.Get(t.Context(), key("f"), ""); lambda.CodeOf(err) != lambda.CodeNotFound {
		t.Fatalf("error %v", err)
	}
}

func TestDryRun(t *testing.T) {
	f := newFixture(t, startStore(t, t.TempDir()))
	before := f.create("f", "one")
	v, err := f.UpdateCode(t.Context(), controlplane.CodeChange{Key: key("f"), Zip: []byte("three"), DryRun: true, Publish: true})
	if err != nil || v.Code.Size != 5 {
		t.Fatalf("dry run: %+v, %v", v, err)
	}
	after, _, err := f.Get(t.Context(), key("f"), "")
	if err != nil || mustJSON(t, after) != mustJSON(t, before) {
		t.Fatalf("the dry run changed %+v to %+v (%v)", before, after, err)
	}
}

func TestDeletedNamesAreNotReused(t *testing.T) {
	f := newFixture(t, startStore(t, t.TempDir()))
	seen := map[lambda.VersionKey]bool{}
	for i := range 3 {
		request := newFunction("f", "same code")
		request.Publish = true
		published, err := f.Create(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint(i + 1); published.Key.Number != want {
			t.Errorf("round %d published %s, want %s", i, published.Key.Number, want)
		}
		for _, v := range []*lambda.Version{f.settled("f", ""), f.settled("f", published.Key.Number)} {
			if seen[v.Key] {
				t.Errorf("%s names two things", v.Key)
			}
			if v.State != lambda.StateActive {
				t.Errorf("%s is %s", v.Key, v.State)
			}
			seen[v.Key] = true
		}
		if err := f.Delete(t.Context(), key("f"), ""); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConcurrentUpdatesWithOneRevision(t *testing.T) {
	server := startStore(t, t.TempDir())
	// Two services, as two processes would have, and no lock in common.
	services := []*fixture{newFixture(t, server), newFixture(t, server)}
	before := services[0].create("f", "code")
	for round := range 20 {
		results := make(chan error, len(services))
		for i, s := range services {
			go func() {
				description := fmt.Sprint(round, "-", i)
				_, err := s.UpdateConfig(t.Context(), controlplane.ConfigChange{Key: key("f"), Description: &description, RevisionID: before.RevisionID})
				results <- err
			}()
		}
		var failed int
		for range services {
			if err := <-results; err != nil {
				if lambda.CodeOf(err) != lambda.CodePreconditionFailed {
					t.Fatal(err)
				}
				failed++
			}
		}
		if failed != 1 {
			t.Fatalf("round %d: %d of 2 updates of one revision failed, want 1", round, failed)
		}
		before = services[0].settled("f", "")
	}
}

func TestConcurrentCreationsCountRight(t *testing.T) {
	server := startStore(t, t.TempDir())
	services := []*fixture{newFixture(t, server), newFixture(t, server)}
	const each = 25
	var wg sync.WaitGroup
	for i, s := range services {
		for n := range each {
			wg.Go(func() {
				if _, err := s.Create(t.Context(), newFunction(fmt.Sprintf("f-%d-%d", i, n), "code")); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	usage, err := services[0].AccountUsage(t.Context(), testAccount)
	if err != nil {
		t.Fatal(err)
	}
	if usage.FunctionCount != 2*each || usage.UsedCodeSize != 2*each*4 {
		t.Errorf("usage %+v, want %d functions of 4 bytes", usage, 2*each)
	}
}

func TestReservedConcurrency(t *testing.T) {
	f := newFixture(t, startStore(t, t.TempDir()))
	ctx := t.Context()
	f.create("f", "code")
	f.create("g", "code")
	if got, err := f.GetConcurrency(ctx, key("f")); err != nil || got != nil {
		t.Fatalf("reserved %v, %v; want none", got, err)
	}
	if err := f.PutConcurrency(ctx, key("f"), 600); err != nil {
		t.Fatal(err)
	}
	wantError(t, f.PutConcurrency(ctx, key("g"), 301), lambda.CodeInvalidParameter, "Specified ReservedConcurrentExecutions for function "+
		"decreases account's UnreservedConcurrentExecution below its minimum value of [100].")
	if err := f.PutConcurrency(ctx, key("g"), 300); err != nil {
		t.Fatal(err)
	}
	if got, err := f.GetConcurrency(ctx, key("f")); err != nil || got == nil || *got != 600 {
		t.Fatalf("reserved %v, %v; want 600", got, err)
	}
	if usage, err := f.AccountUsage(ctx, testAccount); err != nil || usage.UnreservedConcurrentExecutions != 100 {
		t.Fatalf("usage %+v, %v", usage, err)
	}
	if err := f.DeleteConcurrency(ctx, key("g")); err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(ctx, key("f"), ""); err != nil {
		t.Fatal(err)
	}
	if usage, err := f.AccountUsage(ctx, testAccount); err != nil || usage.UnreservedConcurrentExecutions != 1000 {
		t.Fatalf("usage %+v, %v", usage, err)
	}
}

func TestRestartFindsEverythingAndResumes(t *testing.T) {
	dir := t.TempDir()
	server := startStore(t, dir)
	f := newFixture(t, server)
	active := f.create("active", "code")
	f.preparer.hold()
	if _, err := f.Create(t.Context(), newFunction("pending", "code")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.UpdateCode(t.Context(), controlplane.CodeChange{Key: key("active"), Zip: []byte("new"), Publish: true}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	server.Close()

	f = newFixture(t, startStore(t, dir))
	if v := f.settled("pending", ""); v.State != lambda.StateActive {
		t.Errorf("pending became %s", v.State)
	}
	v := f.settled("active", "")
	if v.Code.Size != 3 || v.Key.Generation <= active.Key.Generation || v.UpdateStatus != lambda.UpdateSuccessful {
		t.Errorf("active became %+v", v)
	}
	if v := f.settled("active", "1"); v.State != lambda.StateActive {
		t.Errorf("version 1 became %s", v.State)
	}
	if f.preparer.calls != 2 {
		t.Errorf("%d preparations after the restart, want 2", f.preparer.calls)
	}
}

func TestReferences(t *testing.T) {
	f := newFixture(t, startStore(t, t.TempDir()))
	ctx := t.Context()
	blob := func(code string) string {
		p, _ := fakeIntake{}.Intake(ctx, "", []byte(code))
		return p.Image
	}
	f.create("f", "published")
	if _, err := f.Publish(ctx, controlplane.Publication{Key: key("f")}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.UpdateCode(ctx, controlplane.CodeChange{Key: key("f"), Zip: []byte("replaced")}); err != nil {
		t.Fatal(err)
	}
	f.settled("f", "")
	if _, err := f.UpdateCode(ctx, controlplane.CodeChange{Key: key("f"), Zip: []byte("serving")}); err != nil {
		t.Fatal(err)
	}
	f.settled("f", "")
	defer f.preparer.hold()()
	if _, err := f.UpdateCode(ctx, controlplane.CodeChange{Key: key("f"), Zip: []byte("latest")}); err != nil {
		t.Fatal(err)
	}
	got, err := f.References(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]bool{"published": true, "replaced": false, "serving": true, "latest": true} {
		if _, ok := got[blob(code)]; ok != want {
			t.Errorf("code %q is referenced: %v, want %v", code, ok, want)
		}
	}
}

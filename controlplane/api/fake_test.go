package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kiln/controlplane"
	"kiln/lambda"
)

const (
	region  = "us-east-1"
	account = "000000000000"
	roleARN = "arn:aws:iam::000000000000:role/r"
)

// registry is Functions in memory: just enough to see what the edge asks for.
type registry struct {
	mu       sync.Mutex
	versions map[string][]*lambda.Version // by name, $LATEST first
	shared   map[string]*lambda.Function
	err      error // when set, every call fails with it

	created controlplane.NewFunction
	config  controlplane.ConfigChange
	code    controlplane.CodeChange
	page    controlplane.Page
}

func newRegistry() *registry {
	return &registry{versions: map[string][]*lambda.Version{}, shared: map[string]*lambda.Function{}}
}

func (r *registry) find(key lambda.FunctionKey, qualifier string) (*lambda.Version, error) {
	if r.err != nil {
		return nil, r.err
	}
	if qualifier == "" {
		qualifier = lambda.Latest
	}
	for _, v := range r.versions[key.Name] {
		if v.Key.Number == qualifier {
			return v, nil
		}
	}
	return nil, lambda.Errorf(lambda.CodeNotFound, "Function not found: %s", lambda.FunctionARN(region, key.Account, key.Name))
}

func (r *registry) Create(_ context.Context, f controlplane.NewFunction) (*lambda.Version, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	r.created = f
	v := &lambda.Version{Key: lambda.VersionKey{FunctionKey: f.Key, Number: lambda.Latest}, Region: region, Config: f.Config,
		Code: lambda.Package{SHA256: "c2hh", Size: int64(len(f.Zip))}, RevisionID: "r1",
		LastModified: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), State: lambda.StateActive, UpdateStatus: lambda.UpdateSuccessful}
	r.versions[f.Key.Name] = []*lambda.Version{v}
	r.shared[f.Key.Name] = &lambda.Function{Key: f.Key, Tags: f.Tags}
	if f.Publish {
		return r.publish(f.Key)
	}
	return v, nil
}

func (r *registry) publish(key lambda.FunctionKey) (*lambda.Version, error) {
	v, err := r.find(key, "")
	if err != nil {
		return nil, err
	}
	c := *v
	c.Key.Number = strconv.Itoa(len(r.versions[key.Name]))
	r.versions[key.Name] = append(r.versions[key.Name], &c)
	return &c, nil
}

func (r *registry) Get(_ context.Context, key lambda.FunctionKey, qualifier string) (*lambda.Version, *lambda.Function, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, err := r.find(key, qualifier)
	return v, r.shared[key.Name], err
}

func (r *registry) List(_ context.Context, _ string, all bool, page controlplane.Page) ([]*lambda.Version, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.page = page
	var out []*lambda.Version
	for _, vs := range r.versions {
		if all {
			out = append(out, vs...)
		} else {
			out = append(out, vs[0])
		}
	}
	slices.SortFunc(out, func(a, b *lambda.Version) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	if page.Marker == "" && len(out) > page.Max {
		return out[:page.Max], "next", r.err
	}
	return out, "", r.err
}

func (r *registry) UpdateCode(_ context.Context, c controlplane.CodeChange) (*lambda.Version, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.code = c
	return r.find(c.Key, "")
}

func (r *registry) UpdateConfig(_ context.Context, c controlplane.ConfigChange) (*lambda.Version, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.config = c
	return r.find(c.Key, "")
}

func (r *registry) Delete(_ context.Context, key lambda.FunctionKey, qualifier string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.find(key, qualifier)
	if err == nil {
		delete(r.versions, key.Name)
	}
	return err
}

func (r *registry) Publish(_ context.Context, p controlplane.Publication) (*lambda.Version, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.publish(p.Key)
}

func (r *registry) Versions(_ context.Context, key lambda.FunctionKey, page controlplane.Page) ([]*lambda.Version, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.page = page
	_, err := r.find(key, "")
	return r.versions[key.Name], "", err
}

func (r *registry) reserve(key lambda.FunctionKey, n *int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.find(key, ""); err != nil {
		return err
	}
	r.shared[key.Name].ReservedConcurrency = n
	return nil
}

func (r *registry) PutConcurrency(_ context.Context, key lambda.FunctionKey, n int) error {
	return r.reserve(key, &n)
}

func (r *registry) DeleteConcurrency(_ context.Context, key lambda.FunctionKey) error {
	return r.reserve(key, nil)
}

func (r *registry) GetConcurrency(_ context.Context, key lambda.FunctionKey) (*int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.find(key, ""); err != nil {
		return nil, err
	}
	return r.shared[key.Name].ReservedConcurrency, nil
}

func (r *registry) AccountUsage(context.Context, string) (controlplane.AccountUsage, error) {
	return controlplane.AccountUsage{ConcurrentExecutions: 1000, UnreservedConcurrentExecutions: 900, TotalCodeSize: 1 << 30,
		FunctionCount: 3, UsedCodeSize: 77}, r.err
}

// plane is an Invoker that remembers the last request.
type plane struct {
	mu   sync.Mutex
	last InvokeRequest
	resp InvokeResponse
	err  error
}

func (p *plane) Invoke(_ context.Context, r InvokeRequest) (InvokeResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = r
	return p.resp, p.err
}

// gate is an Authenticator that wants any signature.
type gate struct{ err error }

func (g gate) Authenticate(r *http.Request) (controlplane.Caller, error) {
	if r.Header.Get("Authorization") == "" {
		return controlplane.Caller{}, lambda.Errorf(lambda.CodeMissingAuthentication, "Missing Authentication Token")
	}
	return controlplane.Caller{Account: account, ARN: "arn:aws:iam::" + account + ":user/me"}, g.err
}

// edge is an API under test with the services behind it.
type edge struct {
	t      testing.TB
	api    *API
	server *httptest.Server
	reg    *registry
	plane  *plane
	logs   *bytes.Buffer
}

func newEdge(t testing.TB) *edge {
	e := &edge{t: t, reg: newRegistry(), plane: &plane{}, logs: &bytes.Buffer{}}
	e.api = New(Config{
		Functions: e.reg, Invoker: e.plane, Auth: gate{}, Region: region,
		Architectures:     []lambda.Architecture{lambda.X86_64},
		RuntimeVersionARN: func(r lambda.Runtime) string { return "arn:aws:lambda:us-east-1::runtime:" + string(r) },
		CodeURL:           func(v *lambda.Version) string { return "http://127.0.0.1" + CodePath + v.Key.Name },
		Code:              http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "zip of "+r.URL.Path) }),
		Logs: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, CallerOf(r.Context()).Account, r.Header.Get("X-Amz-Target"))
		}),
		Logger: slog.New(slog.NewTextHandler(e.logs, nil)),
	})
	e.server = httptest.NewServer(e.api)
	t.Cleanup(e.server.Close)
	return e
}

// function makes a function named name with one published version.
func (e *edge) function(name string) {
	cfg := lambda.Config{Role: roleARN, Runtime: "python3.12", Handler: "a.b", PackageType: lambda.PackageZip, Architecture: lambda.X86_64,
		MemoryMB: 128, Timeout: 3 * time.Second, EphemeralStorageMB: 512, TracingMode: "PassThrough",
		Logging: lambda.Logging{Format: lambda.LogText, Group: "/aws/lambda/" + name}}
	_, err := e.reg.Create(context.Background(), controlplane.NewFunction{Key: lambda.FunctionKey{Account: account, Name: name},
		Config: cfg, Zip: []byte("zip"), Publish: true, Tags: map[string]string{"k": "v"}})
	if err != nil {
		e.t.Fatal(err)
	}
}

// answer is a response as a client reads it.
type answer struct {
	status  int
	header  http.Header
	body    string
	members map[string]any
}

// message is the message under the key that the shape has.
func (a answer) message(key string) string { s, _ := a.members[key].(string); return s }

func (e *edge) do(method, path, body string, headers ...string) answer {
	e.t.Helper()
	r, err := http.NewRequest(method, e.server.URL+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header.Set("Authorization", "any")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(text)}
	_ = json.Unmarshal(text, &a.members)
	if len(resp.Header.Get("X-Amzn-RequestId")) != 36 && !strings.HasPrefix(path, CodePath) {
		e.t.Errorf("%s %s: request ID %q", method, path, resp.Header.Get("X-Amzn-RequestId"))
	}
	return a
}

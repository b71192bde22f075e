// Package api is the edge of the control plane: it serves AWS Lambda's REST
// API. It authenticates a request, decodes it by the generated model, checks
// the model's constraints and AWS's limits, hands plain domain types to the
// services behind its interfaces, and writes their answers and errors as AWS
// does. It keeps no state.
//
// To add an operation, write its behaviour as a method of API and name it in
// the table of behaviours; route, shapes and constraints are there already.
package api

import (
	"context"
	"log/slog"
	"net/http"

	"kiln/controlplane"
	"kiln/controlplane/api/model"
	"kiln/controlplane/api/rest"
	"kiln/lambda"
)

// Functions is the registry of functions. Its errors are *lambda.Error where a
// caller may see them. All methods are safe for concurrent use.
type Functions interface {
	// Create makes a function; it returns the published version if that was asked for.
	Create(ctx context.Context, f controlplane.NewFunction) (*lambda.Version, error)
	// Get returns the version that qualifier names, $LATEST for "". It is linearizable.
	Get(ctx context.Context, key lambda.FunctionKey, qualifier string) (*lambda.Version, *lambda.Function, error)
	// List returns a page of an account's functions, and the marker of the next page or "".
	List(ctx context.Context, account string, allVersions bool, page controlplane.Page) ([]*lambda.Version, string, error)
	// UpdateCode replaces $LATEST's code, and publishes it if that was asked for.
	UpdateCode(ctx context.Context, c controlplane.CodeChange) (*lambda.Version, error)
	// UpdateConfig replaces the parts of $LATEST's configuration that are given.
	UpdateConfig(ctx context.Context, c controlplane.ConfigChange) (*lambda.Version, error)
	// Delete removes one version, or the whole function when qualifier is "".
	Delete(ctx context.Context, key lambda.FunctionKey, qualifier string) error
	// Publish makes a version of $LATEST; it returns the last one if nothing has changed since.
	Publish(ctx context.Context, p controlplane.Publication) (*lambda.Version, error)
	// Versions returns a page of a function's versions, $LATEST first.
	Versions(ctx context.Context, key lambda.FunctionKey, page controlplane.Page) ([]*lambda.Version, string, error)
	// PutConcurrency reserves a part of the account's concurrency for the function.
	PutConcurrency(ctx context.Context, key lambda.FunctionKey, reserved int) error
	// GetConcurrency returns nil when none is reserved.
	GetConcurrency(ctx context.Context, key lambda.FunctionKey) (*int, error)
	// DeleteConcurrency gives the reserved part back. None reserved is no error.
	DeleteConcurrency(ctx context.Context, key lambda.FunctionKey) error
	// AccountUsage sums up what the account's functions take of its limits.
	AccountUsage(ctx context.Context, account string) (controlplane.AccountUsage, error)
}

// Invoker is the way into the synchronous data plane. Errors that kept the
// function's code from running are *lambda.Error; what the code did is in the
// response.
type Invoker interface {
	Invoke(ctx context.Context, r InvokeRequest) (InvokeResponse, error)
}

// Authenticator finds out who sent a request. It may replace r.Body by a reader
// that fails with a *lambda.Error when the body is not the one that was signed.
type Authenticator interface {
	Authenticate(r *http.Request) (controlplane.Caller, error)
}

// Config is what an API is made of. Functions, Invoker, Auth, Region and
// Architectures are required.
type Config struct {
	Functions Functions
	Invoker   Invoker
	Auth      Authenticator
	// Region is the only one that ARNs may name.
	Region string
	// Architectures are those that functions can run on here; the first is the default.
	Architectures []lambda.Architecture
	// RuntimeVersionARN names the image that a runtime runs on now; nil or "" leaves it out of answers.
	RuntimeVersionARN func(lambda.Runtime) string
	// CodeURL returns a URL that the version's archive can be fetched from without further
	// credentials; nil leaves Code.Location out of answers.
	CodeURL func(*lambda.Version) string
	// Code serves such URLs, if they are under CodePath; their proof of permission is its concern.
	Code http.Handler
	// Logs serves the CloudWatch Logs API to authenticated callers; see CallerOf.
	Logs http.Handler
	// Logger gets internal errors, once each; nil is slog's default.
	Logger *slog.Logger
}

// CodePath is where Config.Code is mounted.
const CodePath = "/2015-03-31/kiln/code/"

// API serves AWS Lambda's API. It is safe for concurrent use.
type API struct {
	Config
	router     *rest.Router
	operations map[string]operation
}

// New returns a handler for the API. It must see request URLs as the client
// sent them: an http.ServeMux in front would clean paths that it should refuse.
func New(cfg Config) *API {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	a := &API{Config: cfg, router: rest.NewRouter(model.Routes())}
	a.operations = a.behaviours()
	return a
}

// callerKey is the context key of CallerOf.
type callerKey struct{}

// CallerOf returns who sent the request that Config.Logs is serving.
func CallerOf(ctx context.Context) controlplane.Caller {
	c, _ := ctx.Value(callerKey{}).(controlplane.Caller)
	return c
}

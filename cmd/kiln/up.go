package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type upCommand struct {
	Data        string        `help:"The directory for all state." default:"${data}" env:"KILN_DATA" type:"path"`
	Listen      string        `help:"Where to serve the API." default:"127.0.0.1:3001"`
	Isolation   string        `help:"What functions run in: gvisor (a user-space kernel each) or container (namespaces and cgroups; weaker, for trusted code)." enum:"gvisor,container" default:"gvisor"`
	Egress      bool          `help:"Let functions reach the network through NAT." default:"true" negatable:""`
	IdleTimeout time.Duration `help:"How long an idle execution environment is kept." default:"10m"`
	DrainFor    time.Duration `help:"How long running invocations may take to finish at the end." default:"30s"`
	LogLevel    slog.Level    `help:"DEBUG, INFO, WARN or ERROR." default:"INFO"`
	LogFormat   string        `help:"text or json." enum:"text,json" default:"text"`
}

func (c *upCommand) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

func (c *upCommand) Run() error {
	begun := time.Now()
	if os.Geteuid() != 0 {
		return errors.New("kiln up needs root, to make sandboxes: run it with sudo")
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	unlock, err := lockData(data)
	if err != nil {
		return err
	}
	defer unlock()
	listener, err := listen(c.Listen)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	log := c.logger()
	front := &gate{}
	server := &http.Server{Handler: front, ReadHeaderTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), MaxHeaderBytes: 1 << 20}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	m, err := startMachine(ctx, machineConfig{
		data: data, isolation: c.Isolation, egress: c.Egress, idleTimeout: c.IdleTimeout,
		endpoint: "http://" + listener.Addr().String(), log: log,
	})
	if err != nil {
		server.Close() //nolint:errcheck // nothing is served yet
		return err
	}
	front.open(m.handler)
	log.Info("ready", "endpoint", m.cfg.endpoint, "isolation", c.Isolation, "data", data, "after", time.Since(begun).Round(time.Millisecond))
	greet(m.cfg.endpoint, data)

	select {
	case <-ctx.Done():
		log.Info("draining", "for", c.DrainFor)
	case err = <-served:
		log.Error("the listener failed", "err", err)
	}
	stop() // a second signal ends the process at once
	return errors.Join(err, c.shutDown(server, m))
}

// shutDown lets what is under way finish, then takes everything down.
func (c *upCommand) shutDown(server *http.Server, m *machine) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.DrainFor)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil { // the drain time is over
		server.Close() //nolint:errcheck // it is cut off
	}
	return m.stop(ctx)
}

// greet tells a person at a terminal what to try.
func greet(endpoint, data string) {
	fmt.Printf(`Kiln is ready at %s

  export AWS_ENDPOINT_URL=%s AWS_REGION=us-east-1 AWS_SHARED_CREDENTIALS_FILE=%s
  aws lambda list-functions

or, without AWS's tools:

  kiln functions --data %s
`, endpoint, endpoint, filepath.Join(data, credentialsFile), data)
}

// gate is the handler of the listener: it says that Kiln is starting until the
// rest is ready.
type gate struct {
	handler atomic.Pointer[http.Handler]
}

func (g *gate) open(h http.Handler) { g.handler.Store(&h) }

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := g.handler.Load()
	switch {
	case r.URL.Path == "/healthz" && h != nil:
		fmt.Fprintln(w, "ok")
	case h != nil:
		(*h).ServeHTTP(w, r)
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, `{"Type":"Service","message":"Kiln is starting."}`, http.StatusServiceUnavailable)
	}
}

// lockData makes sure that one process at a time uses a data directory. The
// lock goes with the process, however it ends.
func lockData(data string) (unlock func(), err error) {
	path := filepath.Join(data, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner, _ := os.ReadFile(path)
		f.Close()
		return nil, fmt.Errorf("the data directory %s is in use by another kiln (process %s): stop it, or name another directory with --data", data, strings.TrimSpace(string(owner)))
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return func() { f.Close() }, nil
}

func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken by another process: stop it, or choose another address with --listen", address)
	}
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return l, nil
}

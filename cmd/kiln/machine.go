package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"kiln/controlplane/api"
	"kiln/controlplane/functions"
	"kiln/controlplane/iam"
	"kiln/controlplane/packages"
	"kiln/invoke"
	"kiln/invoke/counting"
	"kiln/invoke/frontend"
	"kiln/invoke/placement"
	"kiln/invoke/worker"
	"kiln/invoke/worker/volume"
	"kiln/invoke/workermanager"
	"kiln/lambda"
	"kiln/network"
	"kiln/observe/logs"
	"kiln/runtime/images"
	"kiln/sandbox"
	"kiln/sandbox/container"
	"kiln/sandbox/gvisor"
	"kiln/sandbox/image"
	"kiln/store/blob"
	"kiln/store/etcd"
)

const (
	// region and account are those of a Kiln on one machine.
	region  = "us-east-1"
	account = "000000000000"

	zone = "zone-1"
	// firstEpoch is the epoch of owners that nobody was before.
	firstEpoch = invoke.Epoch(1)
	// heartbeatEvery is how often the worker reports to placement.
	heartbeatEvery = 500 * time.Millisecond
)

type machineConfig struct {
	data        string
	isolation   string
	egress      bool
	idleTimeout time.Duration
	endpoint    string
	log         *slog.Logger
}

// machine is all roles in one process, joined by their interfaces.
type machine struct {
	cfg     machineConfig
	handler http.Handler

	mu      sync.Mutex
	closers []func(ctx context.Context) error // in the order of their making

	etcd     *etcd.Server
	blobs    *blob.Directory
	packages *packages.Service
	runtimes *images.Store
	catalog  *functions.Catalog
	registry *functions.Service
	logs     *logs.Store

	resources *resources
	backend   sandbox.Backend

	counter *counting.Service
	placer  *placement.Service
	manager *workermanager.Service
	worker  *worker.Worker
	front   *frontend.Service
}

// startMachine starts every role. On error all that had started is stopped.
func startMachine(ctx context.Context, cfg machineConfig) (_ *machine, err error) {
	m := &machine{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.stop(context.WithoutCancel(ctx)))
		}
	}()
	// State and sandboxes do not need each other to start.
	var state, boxes error
	var both sync.WaitGroup
	both.Go(func() { state = m.startState(ctx) })
	both.Go(func() { boxes = m.startSandboxes(ctx) })
	both.Wait()
	if err := errors.Join(state, boxes); err != nil {
		return nil, err
	}
	m.startDataPlane()
	if err := m.startControlPlane(ctx); err != nil {
		return nil, err
	}
	if err := m.startEdge(); err != nil {
		return nil, err
	}
	return m, nil
}

// atEnd registers what undoes a step of the start.
func (m *machine) atEnd(close func(ctx context.Context) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closers = append(m.closers, close)
}

// stop takes everything down, last made first. What is still running when ctx
// ends is cut off.
func (m *machine) stop(ctx context.Context) error {
	var errs []error
	for _, close := range slices.Backward(m.closers) {
		errs = append(errs, close(ctx))
	}
	m.closers = nil
	return errors.Join(errs...)
}

func (m *machine) dir(name string) string { return filepath.Join(m.cfg.data, name) }

func (m *machine) startState(ctx context.Context) (err error) {
	if m.etcd, err = etcd.Start(ctx, etcd.Config{Dir: m.dir("etcd"), Logger: m.cfg.log}); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	m.atEnd(func(context.Context) error { m.etcd.Close(); return nil })
	if m.blobs, err = blob.Open(m.dir("blobs")); err != nil {
		return err
	}
	if m.packages, err = packages.New(m.blobs, packages.Options{WorkDir: m.dir("work")}); err != nil {
		return err
	}
	if m.runtimes, err = images.Open(images.Config{Dir: m.dir("runtimes")}); err != nil {
		return err
	}
	m.catalog, err = functions.OpenCatalog(functions.CatalogConfig{
		Client: m.etcd.Client(), Region: region, Dir: m.dir("catalog"), Logger: m.cfg.log})
	if err != nil {
		return err
	}
	m.atEnd(func(context.Context) error { m.catalog.Close(); return nil })
	if m.logs, err = logs.Open(m.dir("logs"), logs.Options{}); err != nil {
		return err
	}
	m.atEnd(func(context.Context) error { return m.logs.Close() })
	return nil
}

func (m *machine) startSandboxes(ctx context.Context) (err error) {
	if err := m.openBackends(ctx); err != nil {
		return err
	}
	r := &resources{log: m.cfg.log, inside: m.cfg.isolation == "container"}
	m.resources = r
	if r.network, err = network.Open(ctx, network.Config{Dir: m.dir("network"), Egress: m.cfg.egress, Ready: readySlots, Log: m.cfg.log}); err != nil {
		return err
	}
	m.atEnd(func(context.Context) error { return r.network.Close() })
	if r.volumes, err = volume.Open(volume.Config{Dir: m.dir("volumes")}); err != nil {
		return err
	}
	m.atEnd(func(context.Context) error { return r.volumes.Close() })
	if r.mounts, err = image.Open(image.Config{Dir: m.dir("mounts")}); err != nil {
		return err
	}
	m.atEnd(func(context.Context) error { return r.mounts.Close() })
	return r.writeResolvConf(m.dir("network"))
}

// openBackends cleans up after every back end, since the last run may have had
// another one, and keeps the one that was chosen.
func (m *machine) openBackends(ctx context.Context) error {
	for _, isolation := range isolations {
		b, err := m.openBackend(isolation)
		if err == nil {
			err = b.Sweep(ctx)
		}
		switch {
		case isolation == m.cfg.isolation && err != nil:
			return fmt.Errorf("isolation %s: %w", isolation, err)
		case isolation == m.cfg.isolation:
			m.backend = b
			m.atEnd(func(context.Context) error { return b.Close() })
		case err != nil:
			m.cfg.log.Warn("sandboxes of another isolation may be left from the last run", "isolation", isolation, "err", err)
		default:
			if err := b.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// isolations are the back ends there are.
var isolations = []string{"gvisor", "container"}

func (m *machine) openBackend(isolation string) (sandbox.Backend, error) {
	dir, group := filepath.Join(m.dir("sandboxes"), isolation), "kiln/"+instanceOf(m.cfg.data)+"-"+isolation
	if isolation == "container" {
		return container.New(container.Config{StateDir: dir, CgroupParent: group})
	}
	return gvisor.New(gvisor.Config{StateDir: dir, CgroupParent: group})
}

func (m *machine) startDataPlane() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	run := func(f func(context.Context)) { running.Go(func() { f(ctx) }) }
	m.atEnd(func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})

	local := &localWorker{}
	m.counter = counting.NewService(counting.Config{IdleTimeout: m.cfg.idleTimeout}, firstEpoch)
	// Worker and placement share a process here: silence means a machine without
	// time to spare, not a dead worker.
	m.placer = placement.NewService(placement.Config{DeadAfter: 10 * time.Second}, local, watcher{m})
	m.manager = workermanager.NewService(workermanager.Config{IdleTimeout: m.cfg.idleTimeout}, firstEpoch, m.placer, local)
	m.resources.runtimes, m.resources.blobs = m.runtimes, m.blobs
	overhead := 4
	if m.cfg.isolation == "gvisor" {
		overhead = 40
	}
	m.worker = worker.New(worker.Config{
		ID: invoke.WorkerID("worker-" + randomHex(4)), Zone: zone, Backend: m.backend, Resources: m.resources,
		StorageDir: m.cfg.data,
		Logs:       logSink{m.logs}, Reports: m.manager, Logger: m.cfg.log, SlotOverheadMB: overhead,
	})
	local.worker = m.worker
	m.front = frontend.New(frontend.Config{ID: invoke.FrontEndID("frontend-" + randomHex(4)), Resolver: m.catalog,
		Counter: m.counter, Manager: m.manager, Workers: local, Logger: m.cfg.log})

	m.placer.Heartbeat(m.worker.Status())
	run(m.counter.Run)
	run(m.placer.Run)
	run(m.manager.Run)
	run(m.front.Run)
	run(m.beat)
	m.atEnd(func(ctx context.Context) error {
		err := m.worker.Drain(ctx)
		m.worker.Close()
		m.manager.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			m.cfg.log.Warn("invocations were cut off: they did not finish in the time to drain")
			return nil
		}
		return err
	})
	// Limits and versions come from the registry, now and with every change.
	stop := m.catalog.Subscribe(func(c functions.Change) {
		var reserved *int
		if c.Function != nil {
			reserved = c.Function.ReservedConcurrency
		}
		m.counter.SetReserved(c.Key, reserved)
		if len(c.Outdated) > 0 {
			m.manager.Outdate(c.Key, func(v lambda.VersionKey) bool { return !slices.Contains(c.Outdated, v) })
		}
	})
	m.atEnd(func(context.Context) error { stop(); return nil })
}

// watcher passes on to the manager what placement finds out about the worker;
// the manager is made after placement.
type watcher struct{ m *machine }

// WorkerLost implements placement.Watcher.
func (w watcher) WorkerLost(id invoke.WorkerID) { w.m.manager.WorkerLost(id) }

// WorkerDraining implements placement.Watcher.
func (w watcher) WorkerDraining(id invoke.WorkerID) { w.m.manager.WorkerDraining(id) }

// beat reports the worker's health to placement.
func (m *machine) beat(ctx context.Context) {
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.placer.Heartbeat(m.worker.Status())
		case <-ctx.Done():
			return
		}
	}
}

func (m *machine) startControlPlane(ctx context.Context) error {
	m.registry = functions.New(functions.Config{
		Client: m.etcd.Client(), Region: region, Intake: m.packages,
		Preparer: preparer{m.packages, m.runtimes, m.cfg.log}, Follower: m.catalog, Logger: m.cfg.log,
	})
	m.atEnd(func(context.Context) error { m.registry.Close(); return nil })
	if err := m.registry.Start(ctx); err != nil {
		return fmt.Errorf("take up unfinished preparations: %w", err)
	}
	select { // known functions are served from the copy on disk in any case
	case <-m.catalog.Synced():
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	return nil
}

func (m *machine) startEdge() error {
	credentials, err := iam.OpenCredentials(m.dir(credentialsFile), account, region)
	if err != nil {
		return err
	}
	verifier := iam.NewVerifier(credentials, region)
	downloads := packages.NewDownloads(m.packages, m.cfg.endpoint+api.CodePath, m.cfg.log)
	m.handler = api.New(api.Config{
		Functions:         m.registry,
		Invoker:           invoker{m.front},
		Auth:              verifier,
		Region:            region,
		Architectures:     architectures(),
		RuntimeVersionARN: m.runtimeVersion,
		CodeURL:           downloads.URL,
		Code:              downloads,
		Logs:              logs.NewHandler(m.logs, region, account),
		Logger:            m.cfg.log,
	})
	return os.WriteFile(m.dir(endpointFile), []byte(m.cfg.endpoint+"\n"), 0o644)
}

// runtimeVersion names the image that a runtime has now, if it has one.
func (m *machine) runtimeVersion(r lambda.Runtime) string {
	list, err := m.runtimes.List()
	if err != nil {
		return ""
	}
	for _, s := range list {
		if s.Runtime == r && s.Built {
			return images.Image{Digest: s.Digest}.VersionARN(region)
		}
	}
	return ""
}

func architectures() []lambda.Architecture {
	if runtime.GOARCH == "arm64" {
		return []lambda.Architecture{lambda.ARM64}
	}
	return []lambda.Architecture{lambda.X86_64}
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // never fails
	return hex.EncodeToString(b)
}

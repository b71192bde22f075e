package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"kiln/controlplane/api"
	"kiln/controlplane/packages"
	"kiln/invoke"
	"kiln/invoke/frontend"
	"kiln/invoke/worker"
	"kiln/invoke/worker/volume"
	"kiln/lambda"
	"kiln/network"
	"kiln/observe/logs"
	"kiln/runtime/images"
	"kiln/sandbox"
	"kiln/sandbox/image"
	"kiln/store/blob"
)

const (
	// runtimeAPIPort is where every environment finds its Runtime API, as on AWS.
	runtimeAPIPort = 9001
	// readySlots is how many network slots are kept made ahead.
	readySlots = 16
)

// resources gives the worker what the other packages make.
type resources struct {
	log      *slog.Logger
	inside   bool // the back end shares the namespace's loopback interface
	network  *network.Network
	volumes  *volume.Pool
	mounts   *image.Mounter
	runtimes *images.Store
	blobs    *blob.Directory
	resolv   string // path of the resolv.conf that sandboxes see
}

// writeResolvConf derives the sandboxes' resolv.conf from the machine's.
func (r *resources) writeResolvConf(dir string) error {
	content, err := network.ResolvConf("/etc/resolv.conf")
	if err != nil {
		return err
	}
	r.resolv = filepath.Join(dir, "resolv.conf")
	return os.WriteFile(r.resolv, content, 0o644)
}

// Files implements worker.Resources.
func (r *resources) Files(ctx context.Context, v *lambda.Version) (worker.Files, error) {
	img, err := r.runtimes.Ensure(ctx, v.Config.Runtime, nil)
	if err != nil {
		return worker.Files{}, err
	}
	root, releaseRoot, err := r.mounts.Mount(ctx, img.Path)
	if err != nil {
		return worker.Files{}, err
	}
	code, releaseCode, err := r.mountCode(ctx, v)
	if err != nil {
		releaseRoot()
		return worker.Files{}, err
	}
	return worker.Files{
		Root: root,
		Mounts: []sandbox.Mount{
			{Source: code, Target: "/var/task"},
			{Source: r.resolv, Target: "/etc/resolv.conf"},
		},
		Entrypoint:     entrypoint(img, v, root, code),
		Env:            img.Env,
		RuntimeVersion: img.Version,
		RuntimeARN:     img.VersionARN(v.Region),
		Release: func() {
			releaseCode()
			releaseRoot()
		},
	}, nil
}

func (r *resources) mountCode(ctx context.Context, v *lambda.Version) (string, func(), error) {
	path, err := r.blobs.Path(v.Code.Image)
	if err != nil {
		return "", nil, err
	}
	return r.mounts.Mount(ctx, path)
}

// entrypoint finds the program of a function; nil if it brings none.
func entrypoint(img images.Image, v *lambda.Version, root, code string) []string {
	if v.Config.Runtime.Family() != lambda.FamilyProvided {
		return img.Command(v.Config.MemoryMB, v.Config.Environment["AWS_LAMBDA_EXEC_WRAPPER"])
	}
	for _, path := range images.ProvidedBootstraps() {
		host := filepath.Join(root, path)
		if below, err := filepath.Rel("/var/task", path); err == nil && filepath.IsLocal(below) {
			host = filepath.Join(code, below)
		}
		if _, err := os.Lstat(host); err == nil {
			return []string{path}
		}
	}
	return nil
}

// Endpoint implements worker.Resources.
func (r *resources) Endpoint(ctx context.Context) (worker.Endpoint, error) {
	slot, err := r.network.Acquire(ctx)
	if err != nil {
		return worker.Endpoint{}, err
	}
	var l net.Listener
	host := "127.0.0.1"
	if r.inside {
		l, err = slot.ListenInside(runtimeAPIPort)
	} else {
		l, err = slot.ListenGateway(runtimeAPIPort)
		host = slot.Gateway.String()
	}
	if err != nil {
		r.network.Release(slot)
		return worker.Endpoint{}, err
	}
	return worker.Endpoint{
		Namespace: slot.Path,
		Listener:  l,
		Address:   net.JoinHostPort(host, strconv.Itoa(runtimeAPIPort)),
		Release:   func() { r.network.Release(slot) },
	}, nil
}

// Scratch implements worker.Resources.
func (r *resources) Scratch(ctx context.Context, sizeMB int) (worker.Scratch, error) {
	v, err := r.volumes.Acquire(ctx, sizeMB)
	if err != nil {
		return worker.Scratch{}, err
	}
	return worker.Scratch{Path: v.Path, Release: func() { r.volumes.Release(v) }}, nil
}

// preparer makes a version's images before it becomes active.
type preparer struct {
	packages *packages.Service
	runtimes *images.Store
	log      *slog.Logger
}

// Prepare implements functions.Preparer.
func (p preparer) Prepare(ctx context.Context, v *lambda.Version) error {
	if _, err := p.runtimes.Ensure(ctx, v.Config.Runtime, func(step string) {
		p.log.Info("making a runtime", "runtime", v.Config.Runtime, "step", step)
	}); err != nil {
		return lambda.Errorf(lambda.CodeInvalidParameter, "The runtime %s is not available: %w", v.Config.Runtime, err)
	}
	return p.packages.BuildImage(ctx, v.Code)
}

// localWorker reaches the one worker of this process.
type localWorker struct{ worker *worker.Worker }

func (l *localWorker) CreateSlot(ctx context.Context, _ invoke.WorkerID, s invoke.SlotID, v *lambda.Version, expires time.Time) error {
	return l.worker.CreateSlot(ctx, s, v, expires)
}

func (l *localWorker) StartSlot(ctx context.Context, _ invoke.WorkerID, s invoke.SlotID, v *lambda.Version, e invoke.Epoch) error {
	return l.worker.StartSlot(ctx, s, v, e)
}

func (l *localWorker) EndSlot(ctx context.Context, _ invoke.WorkerID, s invoke.SlotID, e invoke.Epoch, sequence uint64, reason invoke.EndReason) error {
	return l.worker.EndSlot(ctx, s, e, sequence, reason)
}

func (l *localWorker) Slots(ctx context.Context, _ invoke.WorkerID) ([]invoke.Slot, error) {
	return l.worker.Slots(ctx)
}

func (l *localWorker) Invoke(ctx context.Context, r invoke.Reservation, inv *invoke.Invocation) (invoke.Result, error) {
	return l.worker.Invoke(ctx, r, inv)
}

// logSink writes function logs to the store.
type logSink struct{ store *logs.Store }

// Put implements worker.LogSink.
func (s logSink) Put(group, stream string, at time.Time, message string) {
	s.store.Put(group, stream, logs.Event{Time: at, Message: message})
}

// invoker is the front end as the API's edge sees it.
type invoker struct{ front *frontend.Service }

// Invoke implements api.Invoker.
func (i invoker) Invoke(ctx context.Context, r api.InvokeRequest) (api.InvokeResponse, error) {
	resp, err := i.front.Invoke(ctx, frontend.Request{
		Account:   r.Function.Account,
		Name:      r.Function.Name,
		Qualifier: r.Function.Qualifier,
		DryRun:    r.DryRun,
		Invocation: &invoke.Invocation{
			RequestID:     r.RequestID,
			TraceID:       r.TraceID,
			ClientContext: r.ClientContext,
			Payload:       r.Payload,
			Tail:          r.Tail,
		},
	})
	if err != nil {
		return api.InvokeResponse{}, err
	}
	return api.InvokeResponse{
		ExecutedVersion: resp.Version.Key.Number,
		FunctionError:   resp.Result.FunctionError,
		LogResult:       resp.Result.LogTail,
		Payload:         resp.Result.Payload,
	}, nil
}

// instanceOf names a data directory in a few characters.
func instanceOf(data string) string {
	sum := sha256.Sum256([]byte(data))
	return fmt.Sprintf("kiln-%s", hex.EncodeToString(sum[:4]))
}

var _ api.Invoker = invoker{}

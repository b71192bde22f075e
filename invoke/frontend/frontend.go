// Package frontend is the front end of the synchronous data plane: it takes an
// authenticated invoke through resolution, counting, reservation and the worker.
//
// It is stateless but for the units of concurrency that its invokes hold, which
// it lists for the counting service, so any number of front ends serve side by
// side.
package frontend

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kiln/invoke"
	"kiln/lambda"
)

// Resolver knows which version a name stands for now. It answers from a cache.
type Resolver interface {
	Resolve(ctx context.Context, account, name, qualifier string) (*lambda.Version, *lambda.Function, error)
}

// Counter grants units of concurrency.
type Counter interface {
	Acquire(ctx context.Context, front invoke.FrontEndID, fn lambda.FunctionKey) (invoke.Unit, error)
	Release(u invoke.Unit)
	// Renew keeps what the front end holds; false means that the counter does
	// not know it any more and wants Rebuild.
	Renew(front invoke.FrontEndID) (invoke.Epoch, bool)
	Rebuild(epoch invoke.Epoch, front invoke.FrontEndID, units []invoke.Unit) error
}

// Manager reserves slots.
type Manager interface {
	Reserve(ctx context.Context, v *lambda.Version) (invoke.Reservation, error)
	// Return gives back a reservation that was not used, or was refused.
	Return(ctx context.Context, r invoke.Reservation)
}

// Workers reaches the workers by their IDs.
type Workers interface {
	Invoke(ctx context.Context, r invoke.Reservation, inv *invoke.Invocation) (invoke.Result, error)
}

// Config is what a Service is made of; all fields are required.
type Config struct {
	ID       invoke.FrontEndID
	Resolver Resolver
	Counter  Counter
	Manager  Manager
	Workers  Workers
	Logger   *slog.Logger
}

// Service is one front end. It is safe for concurrent use.
type Service struct {
	cfg Config

	mu    sync.Mutex
	units map[uint64]invoke.Unit // held by invokes in flight
	// listings counts the calls of Rebuild, and epoch is that of the last.
	listings uint64
	epoch    invoke.Epoch

	invokes, throttles, errors atomic.Uint64
}

// Request is an invoke of an authenticated and authorized caller.
type Request struct {
	// Account and Name are the function's; Qualifier is "" for $LATEST.
	Account, Name, Qualifier string
	// DryRun stops after resolution.
	DryRun bool
	// Invocation is completed by the front end (its FunctionARN).
	Invocation *invoke.Invocation
}

// Response is what came of a Request.
type Response struct {
	// Version is the version that was resolved, and ran unless DryRun was set.
	Version *lambda.Version
	Result  invoke.Result
}

// New returns a front end. Run must be running for its units to stay granted.
func New(cfg Config) *Service {
	return &Service{cfg: cfg, units: map[uint64]invoke.Unit{}}
}

// renewEvery is how often a front end shows the counting service that it lives.
const renewEvery = time.Second

// Run keeps the front end's units granted until ctx ends.
func (s *Service) Run(ctx context.Context) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		s.renew()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) renew() {
	epoch, known := s.cfg.Counter.Renew(s.cfg.ID)
	if known {
		return
	}
	s.mu.Lock()
	units := make([]invoke.Unit, 0, len(s.units))
	for _, u := range s.units {
		units = append(units, u)
	}
	s.listings++
	s.epoch = epoch
	s.mu.Unlock()
	s.list(epoch, units)
}

// list tells the counting service of units in flight.
func (s *Service) list(epoch invoke.Epoch, units []invoke.Unit) {
	if err := s.cfg.Counter.Rebuild(epoch, s.cfg.ID, units); err != nil {
		s.cfg.Logger.Warn("the counting service did not take the units in flight", "err", err)
	}
}

// Invoke performs one invoke. Errors are *lambda.Error with the codes that the
// API shows; errors of the function itself are in the Response. When ctx ends
// while the invoke waits for an environment it is given up; once the function's
// code has begun it runs on.
func (s *Service) Invoke(ctx context.Context, req Request) (Response, error) {
	v, _, err := s.cfg.Resolver.Resolve(ctx, req.Account, req.Name, req.Qualifier)
	if err != nil {
		return Response{}, err
	}
	resp := Response{Version: v}
	if req.DryRun {
		return resp, nil
	}
	req.Invocation.FunctionARN = lambda.FunctionARN(v.Region, v.Key.Account, v.Key.Name)
	if req.Qualifier != "" {
		req.Invocation.FunctionARN += ":" + req.Qualifier
	}
	s.invokes.Add(1)
	s.mu.Lock()
	listings := s.listings
	s.mu.Unlock()
	unit, err := s.cfg.Counter.Acquire(ctx, s.cfg.ID, v.Key.FunctionKey)
	if err != nil {
		s.throttles.Add(1)
		return resp, err
	}
	s.hold(unit, listings)
	defer s.release(unit)
	resp.Result, err = s.run(ctx, v, req.Invocation)
	if err != nil {
		s.errors.Add(1)
	}
	return resp, err
}

func (s *Service) run(ctx context.Context, v *lambda.Version, inv *invoke.Invocation) (invoke.Result, error) {
	var (
		a      attempt
		r      invoke.Reservation
		result invoke.Result
		err    error
	)
	for next := reserve; ; {
		switch next {
		case reserve:
			r, err = s.cfg.Manager.Reserve(ctx, v)
			next = a.reserved(err)
		case send:
			if ctx.Err() != nil { // the caller left while waiting
				s.cfg.Manager.Return(context.WithoutCancel(ctx), r)
				return result, fmt.Errorf("the caller left: %w", ctx.Err())
			}
			result, err = s.cfg.Workers.Invoke(ctx, r, inv)
			if notBegun(err) {
				s.cfg.Manager.Return(context.WithoutCancel(ctx), r)
			}
			next = a.answered(err)
		case succeed:
			return result, nil
		case fail:
			return result, a.err
		}
	}
}

// hold notes a unit. If the units were listed while it was on its way, it was
// missing there, and is added.
func (s *Service) hold(u invoke.Unit, listings uint64) {
	s.mu.Lock()
	s.units[u.ID] = u
	missed, epoch := s.listings != listings, s.epoch
	s.mu.Unlock()
	if missed {
		s.list(epoch, []invoke.Unit{u})
	}
}

func (s *Service) release(u invoke.Unit) {
	s.mu.Lock()
	delete(s.units, u.ID)
	s.mu.Unlock()
	s.cfg.Counter.Release(u)
}

// Stats counts what the front end has done since it was made.
type Stats struct {
	Invokes   uint64 // that named a function that exists
	Throttles uint64
	Errors    uint64 // of the platform
	InFlight  int
}

// Stats returns the counts as they are now.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Invokes: s.invokes.Load(), Throttles: s.throttles.Load(), Errors: s.errors.Load(), InFlight: len(s.units)}
}

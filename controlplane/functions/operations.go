package functions

import (
	"context"

	"kiln/controlplane"
	"kiln/lambda"
)

// Create makes a function and returns its $LATEST, or version "1" if the request
// says to publish; both are Pending until prepared.
func (s *Service) Create(ctx context.Context, request controlplane.NewFunction) (*lambda.Version, error) {
	// What cannot succeed is refused before its package is unpacked.
	if err := s.precheck(ctx, create{request: request}, func(_ environment, st state) error {
		if st.record != nil {
			return alreadyExists(request.Key)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	code, err := s.config.Intake.Intake(ctx, request.Key.Account, request.Zip)
	if err != nil {
		return nil, err
	}
	request.Zip = nil
	return s.result(ctx, create{request, code})
}

// UpdateCode replaces the code of $LATEST and returns it, or the published version
// if the request says to publish. What ran before serves until the new code is
// prepared. A dry run returns what $LATEST would be, and changes nothing.
func (s *Service) UpdateCode(ctx context.Context, request controlplane.CodeChange) (*lambda.Version, error) {
	c := updateCode{request: request}
	err := s.precheck(ctx, c, func(env environment, st state) error {
		_, err := c.check(env, st)
		return err
	})
	if err != nil {
		return nil, err
	}
	if c.code, err = s.config.Intake.Intake(ctx, request.Key.Account, request.Zip); err != nil {
		return nil, err
	}
	c.request.Zip = nil
	return s.result(ctx, c)
}

// UpdateConfig changes the configuration of $LATEST and returns it.
func (s *Service) UpdateConfig(ctx context.Context, request controlplane.ConfigChange) (*lambda.Version, error) {
	return s.result(ctx, updateConfig{request})
}

// Publish makes a version of $LATEST and returns it; if nothing has changed since
// the last one was published, it returns that.
func (s *Service) Publish(ctx context.Context, request controlplane.Publication) (*lambda.Version, error) {
	return s.result(ctx, publishVersion{request})
}

// Delete deletes one published version, or with qualifier "" the function with
// all its versions and what it reserved.
func (s *Service) Delete(ctx context.Context, key lambda.FunctionKey, qualifier string) error {
	if qualifier == "" {
		_, err := s.do(ctx, deleteFunction{key})
		return err
	}
	_, err := s.do(ctx, deleteVersion{key, qualifier})
	return err
}

// PutConcurrency reserves concurrency for the function out of its account's.
func (s *Service) PutConcurrency(ctx context.Context, key lambda.FunctionKey, reserved int) error {
	_, err := s.do(ctx, reserve{key, &reserved})
	return err
}

// DeleteConcurrency gives the function's reserved concurrency back, if it has any.
func (s *Service) DeleteConcurrency(ctx context.Context, key lambda.FunctionKey) error {
	_, err := s.do(ctx, reserve{key, nil})
	return err
}

// GetConcurrency returns the function's reserved concurrency, nil for none.
func (s *Service) GetConcurrency(ctx context.Context, key lambda.FunctionKey) (*int, error) {
	_, f, err := s.Get(ctx, key, "")
	if err != nil {
		return nil, err
	}
	return f.ReservedConcurrency, nil
}

// Get returns the version that qualifier names ($LATEST for "") as the API shows
// it, and its function. It sees every change acknowledged before.
func (s *Service) Get(ctx context.Context, key lambda.FunctionKey, qualifier string) (*lambda.Version, *lambda.Function, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	number, published := versionNumber(qualifier)
	if !published && qualifier != "" && qualifier != lambda.Latest {
		return nil, nil, notFound(s.config.Region, key, qualifier)
	}
	r, v, revision, err := s.store.function(ctx, key, number)
	if err != nil {
		return nil, nil, storeError(err)
	}
	if r == nil || published && v == nil {
		return nil, nil, notFound(s.config.Region, key, qualifier)
	}
	s.follow(ctx, revision)
	if !published {
		v = r.Latest
	}
	return v, &r.Function, nil
}

// precheck returns the error that a command meets in the current state whatever
// its package is. The command is checked again when it is applied.
func (s *Service) precheck(ctx context.Context, c command, check func(environment, state) error) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	now, err := s.store.load(ctx, c)
	if err != nil {
		return storeError(err)
	}
	return check(s.environment(), now.state)
}

// result applies a command and returns the version that answers it.
func (s *Service) result(ctx context.Context, c command) (*lambda.Version, error) {
	eff, err := s.do(ctx, c)
	if err != nil {
		return nil, err
	}
	return eff.result, nil
}

// AccountUsage returns an account's quotas and how much of them is used.
func (s *Service) AccountUsage(ctx context.Context, name string) (controlplane.AccountUsage, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	resp, err := s.config.Client.Get(ctx, accountKey(name))
	if err != nil {
		return controlplane.AccountUsage{}, storeError(err)
	}
	a := &account{}
	if len(resp.Kvs) > 0 {
		if a, err = decode[account](resp.Kvs[0].Value); err != nil {
			return controlplane.AccountUsage{}, err
		}
	}
	return controlplane.AccountUsage{
		ConcurrentExecutions:           s.config.Limits.Concurrency,
		UnreservedConcurrentExecutions: s.config.Limits.Concurrency - a.Reserved,
		CodeSizeUnzipped:               lambda.MaxUnzippedBytes,
		CodeSizeZipped:                 lambda.MaxZipBytes,
		TotalCodeSize:                  s.config.Limits.CodeBytes,
		FunctionCount:                  int64(a.Functions),
		UsedCodeSize:                   a.CodeBytes,
	}, nil
}

// References returns the blob keys of all packages that any function still uses,
// for the blob store's collector. A package that intake has just stored may not
// be among them yet: only old blobs may be taken for garbage.
func (s *Service) References(ctx context.Context) (map[string]struct{}, error) {
	keys := map[string]struct{}{}
	add := func(v *lambda.Version) {
		if v != nil {
			keys[v.Code.Archive] = struct{}{}
			keys[v.Code.Image] = struct{}{}
		}
	}
	revision, err := s.store.scan(ctx, all(recordPrefix), func(_ int64, _ string, value []byte) (bool, error) {
		r, err := decode[record](value)
		if err != nil {
			return false, err
		}
		add(r.Latest)
		add(r.Serving)
		return true, nil
	})
	if err != nil {
		return nil, storeError(err)
	}
	versions := all(versionPrefix)
	versions.revision = revision
	_, err = s.store.scan(ctx, versions, func(_ int64, _ string, value []byte) (bool, error) {
		v, err := decode[lambda.Version](value)
		add(v)
		return err == nil, err
	})
	if err != nil {
		return nil, storeError(err)
	}
	delete(keys, "")
	return keys, nil
}

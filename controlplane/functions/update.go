package functions

import (
	"reflect"

	"kiln/controlplane"
	"kiln/lambda"
)

// updateCode is UpdateFunctionCode with code that intake has stored.
type updateCode struct {
	request controlplane.CodeChange
	code    lambda.Package
}

func (c updateCode) key() lambda.FunctionKey { return c.request.Key }

func (c updateCode) wants(r *record) []int {
	if c.request.Publish {
		return lastPublished(r)
	}
	return nil
}

// check returns the error that the request meets whatever its code is.
func (c updateCode) check(env environment, s state) (*record, error) {
	r, err := env.changeable(s, c.key(), c.request.RevisionID)
	if err != nil {
		return nil, err
	}
	if r.Latest.Config.PackageType == lambda.PackageImage {
		return nil, imageFunctionNeedsImage()
	}
	return r, nil
}

func (c updateCode) apply(env environment, s state) (state, effects, error) {
	r, err := c.check(env, s)
	if err != nil {
		return s, effects{}, err
	}
	before := s
	r = r.clone()
	if err := env.chargeCode(&s, r, c.code.Size-r.Latest.Code.Size); err != nil {
		return s, effects{}, err
	}
	latest := *r.Latest
	latest.Code = c.code
	if c.request.Architecture != "" {
		latest.Config.Architecture = c.request.Architecture
	}
	if c.request.DryRun {
		return before, effects{result: &latest}, nil
	}
	env.stamp(&latest)
	r.replaceLatest(&latest)
	s.record = r
	eff := effects{prepare: r.Latest, result: r.Latest}
	if c.request.Publish {
		if eff.result = unchangedSincePublished(s); eff.result == nil {
			v, err := env.publish(&s, r, nil)
			if err != nil {
				return s, effects{}, err
			}
			pend(v)
			r.Awaiting = r.Function.LastPublished
			eff.put, eff.result = []*lambda.Version{v}, v
		}
	}
	return s, eff, nil
}

// updateConfig is UpdateFunctionConfiguration.
type updateConfig struct {
	request controlplane.ConfigChange
}

func (c updateConfig) key() lambda.FunctionKey { return c.request.Key }

func (c updateConfig) wants(*record) []int { return nil }

func (c updateConfig) apply(env environment, s state) (state, effects, error) {
	r, err := env.changeable(s, c.key(), c.request.RevisionID)
	if err != nil {
		return s, effects{}, err
	}
	r = r.clone()
	latest := *r.Latest
	latest.Config = merged(latest.Config, c.request)
	env.stamp(&latest)
	s.record = r
	// A change that no environment can see is done at once, unless what it changes
	// is itself not yet what serves.
	if r.serving() == r.Latest && sameEnvironment(latest.Config, r.Latest.Config) {
		r.Latest = &latest
		return s, effects{result: r.Latest}, nil
	}
	r.replaceLatest(&latest)
	return s, effects{prepare: r.Latest, result: r.Latest}, nil
}

// merged returns the configuration after the change.
func merged(config lambda.Config, change controlplane.ConfigChange) lambda.Config {
	set(&config.Description, change.Description)
	set(&config.Role, change.Role)
	set(&config.Runtime, change.Runtime)
	set(&config.Handler, change.Handler)
	set(&config.MemoryMB, change.MemoryMB)
	set(&config.Timeout, change.Timeout)
	set(&config.EphemeralStorageMB, change.EphemeralStorageMB)
	set(&config.Logging, change.Logging)
	set(&config.TracingMode, change.TracingMode)
	set(&config.KMSKeyARN, change.KMSKeyARN)
	set(&config.DeadLetterTarget, change.DeadLetterTarget)
	if change.Environment != nil {
		config.Environment = change.Environment
	}
	return config
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// sameEnvironment reports whether environments of a can go on as those of b.
func sameEnvironment(a, b lambda.Config) bool {
	for _, c := range []*lambda.Config{&a, &b} {
		// No environment sees these.
		c.Description, c.KMSKeyARN, c.DeadLetterTarget = "", "", ""
		if len(c.Environment) == 0 {
			c.Environment = nil
		}
	}
	return reflect.DeepEqual(a, b)
}

package functions

import (
	"strconv"

	"kiln/controlplane"
	"kiln/lambda"
)

// create makes a function whose code intake has stored as code.
type create struct {
	request controlplane.NewFunction
	code    lambda.Package
}

func (c create) key() lambda.FunctionKey { return c.request.Key }

func (c create) wants(*record) []int { return nil }

func (c create) apply(env environment, s state) (state, effects, error) {
	if s.record != nil {
		return s, effects{}, alreadyExists(c.key())
	}
	latest := &lambda.Version{
		Key: lambda.VersionKey{
			FunctionKey: c.key(),
			Number:      lambda.Latest,
			Generation:  s.account.LastGeneration + 1,
		},
		Region: env.region,
		Config: c.request.Config,
		Code:   c.code,
	}
	env.stamp(latest)
	pend(latest)
	r := &record{
		Function: lambda.Function{Key: c.key(), LastPublished: s.retired, Tags: c.request.Tags},
		Latest:   latest,
	}
	if err := env.chargeCode(&s, r, c.code.Size); err != nil {
		return s, effects{}, err
	}
	s.account.Functions++
	eff := effects{prepare: latest, result: latest}
	if c.request.Publish {
		v, err := env.publish(&s, r, nil)
		if err != nil {
			return s, effects{}, err
		}
		r.Awaiting = r.Function.LastPublished
		eff.put, eff.result = []*lambda.Version{v}, v
	}
	s.record = r
	return s, eff, nil
}

// publish makes the next published version of r's $LATEST, in the same state as
// that. It changes r.
func (env environment) publish(s *state, r *record, description *string) (*lambda.Version, error) {
	v := *r.Latest
	r.Function.LastPublished++
	r.Published = &publishedMark{Number: r.Function.LastPublished, Fingerprint: fingerprint(r.Latest)}
	v.Key.Number = strconv.Itoa(r.Function.LastPublished)
	if description != nil {
		v.Config.Description = *description
	}
	env.stamp(&v)
	return &v, env.chargeCode(s, r, v.Code.Size)
}

// publishVersion is PublishVersion.
type publishVersion struct {
	request controlplane.Publication
}

func (c publishVersion) key() lambda.FunctionKey { return c.request.Key }

func (c publishVersion) wants(r *record) []int { return lastPublished(r) }

func (c publishVersion) apply(env environment, s state) (state, effects, error) {
	r, err := env.changeable(s, c.key(), c.request.RevisionID)
	if err != nil {
		return s, effects{}, err
	}
	if sum := c.request.CodeSHA256; sum != "" && sum != r.Latest.Code.SHA256 {
		return s, effects{}, codeMismatch(sum, r.Latest.Code.SHA256)
	}
	// What could not be prepared can't become a version either.
	if r.Latest.State != lambda.StateActive || r.Latest.UpdateStatus != lambda.UpdateSuccessful {
		return s, effects{}, wrongState(lambda.StateFailed)
	}
	if v := unchangedSincePublished(s); v != nil {
		return s, effects{result: v}, nil
	}
	r = r.clone()
	v, err := env.publish(&s, r, c.request.Description)
	if err != nil {
		return s, effects{}, err
	}
	latest := *r.Latest
	latest.RevisionID = env.newID()
	r.Latest = &latest
	s.record = r
	return s, effects{put: []*lambda.Version{v}, result: v}, nil
}

// lastPublished names the version that publishing again may return.
func lastPublished(r *record) []int {
	if r == nil || r.Published == nil {
		return nil
	}
	return []int{r.Published.Number}
}

// unchangedSincePublished returns the last published version if $LATEST is still
// the same, else nil.
func unchangedSincePublished(s state) *lambda.Version {
	if p := s.record.Published; p != nil && p.Fingerprint == fingerprint(s.record.Latest) {
		return s.versions[p.Number]
	}
	return nil
}

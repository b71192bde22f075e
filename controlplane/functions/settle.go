package functions

import (
	"kiln/lambda"
)

// settle ends the preparation of one generation of $LATEST. It comes from the
// service itself; a function that has gone or moved on is left as it is.
type settle struct {
	function   lambda.FunctionKey
	generation uint64
	// failure is nil when the preparation succeeded.
	failure *failure
}

// failure is why a version could not be prepared, as the API shows it.
type failure struct {
	code, reason string
}

func (c settle) key() lambda.FunctionKey { return c.function }

func (c settle) wants(r *record) []int {
	if r == nil || r.Awaiting == 0 {
		return nil
	}
	return []int{r.Awaiting}
}

func (c settle) apply(env environment, s state) (state, effects, error) {
	if s.record == nil || s.record.Latest.Key.Generation != c.generation || !s.record.preparing() {
		return s, effects{}, nil
	}
	r := s.record.clone()
	latest := *r.Latest
	latest.RevisionID = env.newID()
	c.finish(&latest)
	r.Latest = &latest
	if c.failure == nil {
		r.Serving = nil
	}
	eff := effects{result: r.Latest}
	if v := s.versions[r.Awaiting]; v != nil {
		published := *v
		published.RevisionID = env.newID()
		c.finish(&published)
		eff.put = []*lambda.Version{&published}
	}
	if c.failure != nil && r.Awaiting != 0 {
		// The same code may be published again, as a new version.
		r.Published = nil
	}
	r.Awaiting = 0
	s.record = r
	return s, eff, nil
}

// finish moves a version to the outcome. An update that failed leaves the state
// alone: what served before still does.
func (c settle) finish(v *lambda.Version) {
	if c.failure == nil {
		activate(v)
		return
	}
	v.UpdateStatus, v.UpdateReason, v.UpdateReasonCode = lambda.UpdateFailed, c.failure.reason, c.failure.code
	if v.State != lambda.StateActive {
		v.State, v.StateReason, v.StateReasonCode = lambda.StateFailed, c.failure.reason, c.failure.code
	}
}

// deleteFunction is DeleteFunction without a qualifier.
type deleteFunction struct {
	function lambda.FunctionKey
}

func (c deleteFunction) key() lambda.FunctionKey { return c.function }

func (c deleteFunction) wants(*record) []int { return nil }

func (c deleteFunction) apply(env environment, s state) (state, effects, error) {
	r, err := env.existing(s, c.function)
	if err != nil {
		return s, effects{}, err
	}
	s.account.Functions--
	s.account.CodeBytes -= r.CodeBytes
	s.account.LastGeneration = max(s.account.LastGeneration, r.Latest.Key.Generation)
	if reserved := r.Function.ReservedConcurrency; reserved != nil {
		s.account.Reserved -= *reserved
	}
	s.record = nil
	s.retired = r.Function.LastPublished
	return s, effects{removeAll: true, retire: r.Function.LastPublished}, nil
}

// deleteVersion is DeleteFunction of one published version. A version that does
// not exist is as good as deleted.
type deleteVersion struct {
	function  lambda.FunctionKey
	qualifier string
}

func (c deleteVersion) key() lambda.FunctionKey { return c.function }

func (c deleteVersion) wants(*record) []int {
	if n, ok := versionNumber(c.qualifier); ok {
		return []int{n}
	}
	return nil
}

func (c deleteVersion) apply(env environment, s state) (state, effects, error) {
	if c.qualifier == lambda.Latest {
		return s, effects{}, latestNotDeletable()
	}
	if !lambda.IsVersionNumber(c.qualifier) {
		return s, effects{}, aliasNotDeletable()
	}
	r, err := env.existing(s, c.function)
	if err != nil {
		return s, effects{}, err
	}
	n, _ := versionNumber(c.qualifier)
	v := s.versions[n]
	if v == nil {
		return s, effects{}, nil
	}
	r = r.clone()
	if err := env.chargeCode(&s, r, -v.Code.Size); err != nil {
		return s, effects{}, err
	}
	if r.Published != nil && r.Published.Number == n {
		r.Published = nil
	}
	if r.Awaiting == n {
		r.Awaiting = 0
	}
	s.record = r
	return s, effects{remove: []int{n}}, nil
}

// reserve is PutFunctionConcurrency, or DeleteFunctionConcurrency when
// concurrency is nil.
type reserve struct {
	function    lambda.FunctionKey
	concurrency *int
}

func (c reserve) key() lambda.FunctionKey { return c.function }

func (c reserve) wants(*record) []int { return nil }

func (c reserve) apply(env environment, s state) (state, effects, error) {
	r, err := env.existing(s, c.function)
	if err != nil {
		return s, effects{}, err
	}
	var before, after int
	if p := r.Function.ReservedConcurrency; p != nil {
		before = *p
	}
	if c.concurrency != nil {
		after = *c.concurrency
	}
	total := s.account.Reserved - before + after
	if after > before && env.limits.Concurrency-total < env.limits.MinUnreserved {
		return s, effects{}, reservedTooHigh(env.limits.MinUnreserved)
	}
	r = r.clone()
	r.Function.ReservedConcurrency = c.concurrency
	s.account.Reserved = total
	s.record = r
	return s, effects{}, nil
}

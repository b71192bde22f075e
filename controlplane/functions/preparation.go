package functions

import (
	"context"
	"errors"
	"sync"
	"time"

	"kiln/lambda"
)

const (
	// concurrentPreparations is how many versions are prepared at a time.
	concurrentPreparations = 4
	settleRetryMin         = 100 * time.Millisecond
	settleRetryMax         = 10 * time.Second
)

// preparations runs the Preparer in the background and tells the registry what
// came of it.
type preparations struct {
	service *Service
	ctx     context.Context
	cancel  context.CancelFunc
	slots   chan struct{}

	mu      sync.Mutex
	closed  bool
	running map[lambda.VersionKey]bool
	wg      sync.WaitGroup
}

func (p *preparations) init(s *Service) {
	p.service = s
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.slots = make(chan struct{}, concurrentPreparations)
	p.running = map[lambda.VersionKey]bool{}
}

// resume begins all preparations that the store says are unfinished.
func (p *preparations) resume(ctx context.Context) error {
	_, err := p.service.store.scan(ctx, all(recordPrefix), func(_ int64, _ string, value []byte) (bool, error) {
		r, err := decode[record](value)
		if err == nil && r.preparing() {
			p.begin(r.Latest)
		}
		return err == nil, err
	})
	if err != nil {
		return storeError(err)
	}
	return nil
}

// begin prepares v in the background, unless that is under way.
func (p *preparations) begin(v *lambda.Version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.running[v.Key] {
		return
	}
	p.running[v.Key] = true
	p.wg.Go(func() {
		p.run(v)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, v.Key)
	})
}

func (p *preparations) run(v *lambda.Version) {
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return
	}
	err := p.service.config.Preparer.Prepare(p.ctx, v)
	<-p.slots
	if p.ctx.Err() != nil {
		return // whatever it was, the next start tries again
	}
	c := settle{function: v.Key.FunctionKey, generation: v.Key.Generation}
	if err != nil {
		c.failure = failureOf(err)
		p.service.config.Logger.Warn("a version cannot be prepared", "version", v.Key.String(), "error", err)
	}
	p.settle(c)
}

// settle reports an outcome to the registry, for as long as it takes.
func (p *preparations) settle(c settle) {
	for retry := settleRetryMin; ; retry = min(2*retry, settleRetryMax) {
		_, err := p.service.do(p.ctx, c)
		if err == nil || p.ctx.Err() != nil {
			return
		}
		p.service.config.Logger.Warn("the outcome of a preparation cannot be stored yet", "function", c.function.String(), "error", err)
		select {
		case <-time.After(retry):
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *preparations) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
}

// failureOf maps an error of the Preparer to the API's reason codes. Only coded
// errors are meant for callers.
func failureOf(err error) *failure {
	var coded *lambda.Error
	if !errors.As(err, &coded) || coded.Code == lambda.CodeInternal {
		return &failure{code: "InternalError", reason: "The function could not be prepared because of an internal error."}
	}
	f := &failure{code: "InternalError", reason: coded.Message}
	switch coded.Code {
	case lambda.CodeInvalidZip:
		f.code = "InvalidZipFileException"
	case lambda.CodeInvalidParameter, lambda.CodeNotSupported:
		f.code = "InvalidConfiguration"
	}
	return f
}

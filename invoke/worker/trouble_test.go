package worker

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"kiln/invoke"
	"kiln/sandbox"
)

// An invocation that comes at once after an answer waits for a runtime that is
// not quite done, and is refused when it turns out to work on.
func TestInvocationBehindALingeringRuntime(t *testing.T) {
	works := make(chan struct{})
	b := newBench(t, func(p *proc) sandbox.Exit {
		id, _, _ := p.next()
		p.post("invocation/"+id+"/response", `"first"`)
		<-works
		return echo(p)
	})
	b.slot(testVersion(time.Minute))
	if _, err := b.invoke(1, "1", false); err != nil {
		t.Fatal(err)
	}
	var err error
	for sequence := uint64(2); sequence < 4; sequence++ { // 2 if it is in time, else 3 after the slot was retaken
		if _, err = b.invoke(sequence, "2", false); !errors.Is(err, invoke.ErrStaleReservation) {
			t.Fatalf("sequence %d: %v", sequence, err)
		}
	}
	close(works)
	for s := (invoke.Slot{}); s.Sequence != 3 || s.State != invoke.SlotIdle; {
		s = (<-b.reports).Slot
	}
	if res, err := b.invoke(3, `"third"`, false); err != nil || string(res.Payload) != `"third"` {
		t.Errorf("%s %v", res.Payload, err)
	}
}

// A start that fails half-way gives back all it took, the listener too.
func TestFailedStartClosesItsListener(t *testing.T) {
	b := newBench(t, echo)
	b.scratchErr = errors.New("no space")
	if s := b.slot(testVersion(time.Second)); s.State != invoke.SlotEnded {
		t.Fatalf("%+v", s)
	}
	if c, err := net.Dial("tcp", b.listeners[0].Addr().String()); err == nil {
		c.Close()
		t.Error("the Runtime API's listener is still open")
	}
}

// The platform may lose an environment, whose slot is idle already, just as the
// slot is ended: what it took is given back once.
func TestEndOfALostEnvironment(t *testing.T) {
	b := newBench(t, echo)
	b.slot(testVersion(time.Second))
	b.w.find("s1").env.release()
	if err := b.w.EndSlot(context.Background(), "s1", 1, 1, invoke.EndIdle); err != nil {
		t.Fatal(err)
	}
	if s := (<-b.reports).Slot; s.State != invoke.SlotEnded {
		t.Errorf("%+v", s)
	}
}

// Close does not wait for an invocation whose process is only starting, however
// long that may run.
func TestCloseWhileAnInvocationStartsItsProcess(t *testing.T) {
	b := newBench(t, func(p *proc) sandbox.Exit {
		p.post("init/error", "{}")
		return sandbox.Exit{Code: 1}
	})
	b.slot(testVersion(time.Hour)) // its initialization has failed: the invocation starts a process
	creating, created := make(chan struct{}), make(chan struct{})
	b.b.program = func(p *proc) sandbox.Exit {
		<-p.killed
		return sandbox.Exit{}
	}
	b.b.creating = func() {
		close(creating)
		<-created
	}
	answer := make(chan error, 1)
	go func() {
		_, err := b.invoke(1, "1", false)
		answer <- err
	}()
	<-creating
	closed := make(chan struct{})
	go func() {
		b.w.Close()
		close(closed)
	}()
	for !b.w.find("s1").env.wasKilled() {
		time.Sleep(time.Millisecond)
	}
	close(created)
	<-closed
	if err := <-answer; !errors.Is(err, errCutOff) {
		t.Errorf("the invocation that was cut off: %v", err)
	}
}

// The time in which the platform makes a sandbox is not taken from the
// function's.
func TestSandboxesTimeIsNotTheFunctions(t *testing.T) {
	first := true
	b := newBench(t, func(p *proc) sandbox.Exit {
		if first {
			first = false
			p.post("init/error", "{}")
			return sandbox.Exit{Code: 1}
		}
		return echo(p)
	})
	v := testVersion(100 * time.Millisecond)
	b.slot(v)
	b.b.creating = func() { time.Sleep(2 * v.Config.Timeout) }
	if res, err := b.invoke(1, `"in time"`, false); err != nil || string(res.Payload) != `"in time"` {
		t.Errorf("%s %v", res.Payload, err)
	}
}

// A freeze that does not come to an end does not keep the next invocation
// waiting, nor the slot's end.
func TestFreezeThatTakesForEver(t *testing.T) {
	b := newBench(t, echo)
	freezing := make(chan struct{}, 10)
	b.b.freeze = func(ctx context.Context) error {
		freezing <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	b.slot(testVersion(time.Minute))
	<-freezing
	if res, err := b.invoke(1, `"thawed"`, false); err != nil || string(res.Payload) != `"thawed"` {
		t.Fatalf("%s %v", res.Payload, err)
	}
	<-freezing
}

// Invocations come and go while others wait for the worker to be empty.
func TestDrainDuringInvocations(t *testing.T) {
	var a activity
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20000 {
				a.begin()
				a.end()
			}
		})
		all.Go(func() {
			for range 20000 {
				<-a.none()
			}
		})
	}
	all.Wait()
}

// Short lines count for what they cost here, not for what they cost the function.
func TestManyShortLinesAreThrottled(t *testing.T) {
	o := &output{emit: func(time.Time, string) {}}
	short := bytes.Repeat([]byte("x\n"), 2*outputRate/lineCost)
	o.split(short, time.Now())
	if o.throttle(len(short)) == 0 {
		t.Error("the function may go on at once")
	}
}

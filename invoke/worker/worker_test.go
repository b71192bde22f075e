package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kiln/invoke"
	"kiln/sandbox"
)

func TestInvocationsInARow(t *testing.T) {
	b := newBench(t, echo)
	if s := b.slot(testVersion(3 * time.Second)); s.State != invoke.SlotIdle || s.Sequence != 1 {
		t.Fatalf("after its start: %+v", s)
	}
	for n := uint64(1); n <= 3; n++ {
		res, err := b.invoke(n, `{"n":1}`, true)
		if err != nil || string(res.Payload) != `{"n":1}` || res.FunctionError != "" {
			t.Fatalf("invocation %d: %s %q %v", n, res.Payload, res.FunctionError, err)
		}
		if s := (<-b.reports).Slot; s.State != invoke.SlotIdle || s.Sequence != n+1 {
			t.Fatalf("after invocation %d: %+v", n, s)
		}
		tail := string(res.LogTail)
		for _, want := range []string{"START RequestId: req-", "event {\"n\":1}", "END RequestId: req-", "Memory Size: 128 MB\tMax Memory Used: 42 MB"} {
			if !strings.Contains(tail, want) {
				t.Errorf("the tail has no %q:\n%s", want, tail)
			}
		}
		if strings.Contains(tail, "Init Duration") != (n == 1) {
			t.Errorf("Init Duration in the report of invocation %d:\n%s", n, tail)
		}
	}
	if b.b.created != 1 {
		t.Errorf("%d processes for three invocations", b.b.created)
	}
}

func TestReservationsThatAreRefused(t *testing.T) {
	b := newBench(t, echo)
	b.slot(testVersion(3 * time.Second))
	ctx := context.Background()
	for _, test := range []struct {
		r    invoke.Reservation
		want error
	}{
		{invoke.Reservation{Slot: "other", Sequence: 1, Epoch: 1}, invoke.ErrUnknownSlot},
		{invoke.Reservation{Slot: "s1", Sequence: 2, Epoch: 1}, invoke.ErrStaleReservation},
		{invoke.Reservation{Slot: "s1", Sequence: 0, Epoch: 1}, invoke.ErrStaleReservation},
		{invoke.Reservation{Slot: "s1", Sequence: 1, Epoch: 0}, invoke.ErrStaleReservation},
	} {
		if _, err := b.w.Invoke(ctx, test.r, &invoke.Invocation{RequestID: "x"}); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v, want %v", test.r, err, test.want)
		}
	}
	if strings.Contains(b.log(), "START RequestId") {
		t.Error("a refused invocation ran")
	}
	if _, err := b.invoke(1, "1", false); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

// Each of these functions fails its first invocation in its own way; the next
// invocation of the same slot works, in a new process.
func TestFailuresResetTheEnvironment(t *testing.T) {
	for _, test := range []struct {
		name    string
		fail    program
		payload string // has to be in the answer
		report  string // has to be in the log
		lingers bool
	}{
		{"exit 3", func(p *proc) sandbox.Exit {
			p.next()
			return sandbox.Exit{Code: 3}
		}, `"errorType":"Runtime.ExitError","errorMessage":"RequestId: req-1 Error: Runtime exited with error: exit status 3"`, "Status: error\tError Type: Runtime.ExitError", false},
		{"exit 0", func(p *proc) sandbox.Exit {
			p.next()
			return sandbox.Exit{}
		}, `Runtime exited without providing a reason`, "Error Type: Runtime.ExitError", false},
		{"out of memory", func(p *proc) sandbox.Exit {
			p.next()
			return sandbox.Exit{Code: 137, Signal: 9, OOM: true}
		}, `"errorType":"Runtime.OutOfMemory","errorMessage":"RequestId: req-1 Error: Runtime exited with error: signal: killed"`, "Error Type: Runtime.OutOfMemory", false},
		{"never answers", func(p *proc) sandbox.Exit {
			p.next()
			<-p.killed
			return sandbox.Exit{}
		}, `Task timed out after 1.00 seconds`, "Duration: 1000.00 ms\tBilled Duration: 1", false},
		{"answers and then hangs", func(p *proc) sandbox.Exit {
			id, _, _ := p.next()
			p.post("invocation/"+id+"/response", `"first"`)
			<-p.killed
			return sandbox.Exit{}
		}, `"first"`, "Status: timeout", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			runs := 0
			b := newBench(t, func(p *proc) sandbox.Exit {
				if runs++; runs == 1 {
					return test.fail(p)
				}
				return echo(p)
			})
			b.slot(testVersion(time.Second))
			res, err := b.invoke(1, "1", false)
			if err != nil || !strings.Contains(string(res.Payload), test.payload) {
				t.Errorf("answer %s, error %v", res.Payload, err)
			}
			if s := (<-b.reports).Slot; s.State != invoke.SlotIdle || s.Sequence != 2 {
				t.Errorf("after the failure: %+v", s)
			}
			next := uint64(2)
			if test.lingers {
				// The slot was idle with the answer, but its runtime is not: the worker takes
				// it back, and what is sent there has not begun and may go elsewhere.
				if s := (<-b.reports).Slot; s.State != invoke.SlotBusy || s.Sequence != 3 {
					t.Errorf("while it works on: %+v", s)
				}
				if _, err := b.invoke(2, "2", false); !errors.Is(err, invoke.ErrStaleReservation) {
					t.Errorf("an invocation behind one that does not end: %v", err)
				}
				if s := (<-b.reports).Slot; s.State != invoke.SlotIdle || s.Sequence != 3 {
					t.Errorf("after its end: %+v", s)
				}
				next = 3
			}
			if !strings.Contains(b.log(), test.report) {
				t.Errorf("the log has no %q:\n%s", test.report, b.log())
			}
			res, err = b.invoke(next, `"again"`, false)
			if err != nil || string(res.Payload) != `"again"` {
				t.Errorf("the next invocation: %s %v", res.Payload, err)
			}
			if b.b.created != 2 {
				t.Errorf("%d processes", b.b.created)
			}
		})
	}
}

// An initialization that fails leaves the slot idle; the invocation tries again
// and gets what it gets.
func TestInitializationFailures(t *testing.T) {
	t.Run("error", func(t *testing.T) {
		b := newBench(t, func(p *proc) sandbox.Exit {
			p.post("init/error", `{"errorType":"Runtime.ImportModuleError","errorMessage":"no module"}`)
			return sandbox.Exit{Code: 1}
		})
		if s := b.slot(testVersion(time.Second)); s.State != invoke.SlotIdle {
			t.Fatalf("%+v", s)
		}
		res, err := b.invoke(1, "1", false)
		if err != nil || res.FunctionError != "Unhandled" || string(res.Payload) != `{"errorType":"Runtime.ImportModuleError","errorMessage":"no module"}` {
			t.Errorf("%s %q %v", res.Payload, res.FunctionError, err)
		}
		if b.b.created != 2 {
			t.Errorf("%d processes, want one at the start and one for the invocation", b.b.created)
		}
		if !strings.Contains(b.log(), "INIT_REPORT Init Duration: ") || !strings.Contains(b.log(), "Phase: init\tStatus: error") {
			t.Errorf("log:\n%s", b.log())
		}
	})
	t.Run("entry point", func(t *testing.T) {
		b := newBench(t, nil)
		b.slot(testVersion(time.Second))
		res, err := b.invoke(1, "1", false)
		if err != nil || !strings.Contains(string(res.Payload), "Runtime.InvalidEntrypoint") {
			t.Errorf("%s %v", res.Payload, err)
		}
	})
	t.Run("platform", func(t *testing.T) {
		b := newBench(t, echo)
		b.b.createErr = errors.New("no more namespaces")
		ctx := context.Background()
		v := testVersion(time.Second)
		if err := b.w.CreateSlot(ctx, "s1", v, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := b.w.StartSlot(ctx, "s1", v, 1); err != nil {
			t.Fatal(err)
		}
		r := <-b.reports
		if r.Slot.State != invoke.SlotEnded || r.Reason != invoke.EndStartFailed || r.Err == nil {
			t.Errorf("%+v", r)
		}
	})
}

func TestEndSlot(t *testing.T) {
	b := newBench(t, echo)
	b.slot(testVersion(time.Second))
	ctx := context.Background()
	if err := b.w.EndSlot(ctx, "s1", 1, 2, invoke.EndIdle); !errors.Is(err, invoke.ErrStaleReservation) {
		t.Errorf("at a wrong sequence: %v", err)
	}
	if err := b.w.EndSlot(ctx, "s1", 1, 1, invoke.EndIdle); err != nil {
		t.Fatal(err)
	}
	if r := <-b.reports; r.Slot.State != invoke.SlotEnded || r.Reason != invoke.EndIdle {
		t.Errorf("%+v", r)
	}
	if _, err := b.invoke(1, "1", false); !errors.Is(err, invoke.ErrUnknownSlot) {
		t.Errorf("an invocation of the ended slot: %v", err)
	}
}

// Output that was printed before the answer is in the log before REPORT, also
// when it is much and its last line has no end.
func TestOutputIsComplete(t *testing.T) {
	b := newBench(t, func(p *proc) sandbox.Exit {
		for {
			id, _, err := p.next()
			if err != nil || id == "" {
				return sandbox.Exit{}
			}
			for i := range 5000 {
				fmt.Fprintf(p.stdout, "line %d\n", i)
			}
			fmt.Fprint(p.stdout, "no end")
			p.post("invocation/"+id+"/response", "1")
		}
	})
	b.slot(testVersion(5 * time.Second))
	res, err := b.invoke(1, "1", true)
	if err != nil {
		t.Fatal(err)
	}
	log := b.log()
	for _, want := range []string{"line 0\nline 1\n", "line 4999\nno end\nEND RequestId: req-1\nREPORT"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q", want)
		}
	}
	if len(res.LogTail) != 4096 || !strings.HasSuffix(strings.TrimSpace(string(res.LogTail)), "ms") {
		t.Errorf("a tail of %d bytes that ends with %q", len(res.LogTail), res.LogTail[max(0, len(res.LogTail)-40):])
	}
}

func TestCloseEndsBusySlots(t *testing.T) {
	b := newBench(t, func(p *proc) sandbox.Exit {
		p.next()
		<-p.killed
		return sandbox.Exit{}
	})
	b.slot(testVersion(time.Hour))
	answer := make(chan error, 1)
	go func() {
		_, err := b.invoke(1, "1", false)
		answer <- err
	}()
	for !strings.Contains(b.log(), "START RequestId") {
		time.Sleep(time.Millisecond)
	}
	b.w.Close()
	if err := <-answer; !errors.Is(err, errCutOff) { // it is no error of the function's
		t.Errorf("the invocation that was cut off: %v", err)
	}
}

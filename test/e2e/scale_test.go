package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// burst makes n invokes at once and returns the answers and the errors.
func (s *server) burst(n int, name string) (answers []answer, failures []string) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			a, err := s.try(name, fmt.Sprint(i))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failures = append(failures, exception(err))
			case a.err != "" || !strings.Contains(a.payload, fmt.Sprintf("[%d,", i)):
				failures = append(failures, fmt.Sprintf("invoke %d: %s %s", i, a.err, a.payload))
			default:
				answers = append(answers, a)
			}
		})
	}
	all.Wait()
	return answers, failures
}

const sleeper = `
import time
def handler(event, context):
    time.sleep(0.1)
    return [event, context.aws_request_id]
`

// TestConcurrency gives 200 invokes at once an environment each or one after
// another, and 1,000 in a row the same one.
func TestConcurrency(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			s := newServer(t, "--isolation", isolation)
			s.python("sleeper", sleeper, func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(60) })
			answers, failures := s.burst(200, "sleeper")
			if len(answers) != 200 {
				t.Errorf("%d of 200 invokes worked; %v", len(answers), failures[:min(3, len(failures))])
			}
			ids := map[string]bool{}
			for _, a := range answers {
				ids[a.payload] = true
			}
			if len(ids) != len(answers) {
				t.Errorf("%d different answers to %d invokes", len(ids), len(answers))
			}
			s.python("counter", "n = 0\ndef handler(event, context):\n  global n\n  n += 1\n  return n\n")
			for i := 1; i <= 1000; i++ {
				if a := s.invoke("counter", "1"); a.payload != fmt.Sprint(i) {
					t.Fatalf("invocation %d answered %s %s", i, a.err, a.payload)
				}
			}
		})
	}
}

// TestReservedConcurrency lets no more run at once than is reserved.
func TestReservedConcurrency(t *testing.T) {
	s := newServer(t, "--isolation", "container")
	s.python("limited", sleeper)
	ctx := context.Background()
	reserve := func(n int32) {
		t.Helper()
		if _, err := s.lambda.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String("limited"), ReservedConcurrentExecutions: &n}); err != nil {
			t.Fatal(err)
		}
	}
	const throttle = "TooManyRequestsException: Rate Exceeded."
	reserve(0)
	if _, err := s.try("limited", "1"); exception(err) != throttle {
		t.Errorf("with none reserved: %s", exception(err))
	}
	reserve(3)
	answers, failures := s.burst(10, "limited")
	if len(answers) < 3 {
		t.Errorf("only %d of 3 ran", len(answers))
	}
	for _, f := range failures {
		if f != throttle {
			t.Errorf("failure %s", f)
		}
	}
	if len(failures) == 0 {
		t.Error("ten at once were let through")
	}
	if _, err := s.lambda.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String("limited"), ReservedConcurrentExecutions: aws.Int32(901)}); !strings.Contains(exception(err), "below its minimum value of [100]") {
		t.Errorf("901 reserved: %s", exception(err))
	}
	if _, err := s.lambda.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: aws.String("limited")}); err != nil {
		t.Fatal(err)
	}
	if _, failures := s.burst(10, "limited"); len(failures) != 0 {
		t.Errorf("without a reservation: %v", failures)
	}
}

// TestIdleEnvironmentsEnd reclaims what is not used.
func TestIdleEnvironmentsEnd(t *testing.T) {
	s := newServer(t, "--isolation", "container", "--idle-timeout", "1s")
	s.python("f", "n = 0\ndef handler(event, context):\n  global n\n  n += 1\n  return n\n")
	s.invoke("f", "1").wants(t, "1")
	s.invoke("f", "1").wants(t, "2")
	if got := len(traces(t, s.data)); got < 5 {
		t.Fatalf("only %d traces of a running Kiln are to be seen: the test looks in the wrong places", got)
	}
	sandboxes := func() int { // groups below that of the back end
		return len(slices.DeleteFunc(cgroups(s.data), func(path string) bool { return strings.HasSuffix(path, "-container") }))
	}
	if sandboxes() == 0 {
		t.Fatal("no cgroup of a sandbox is to be seen: the test looks in the wrong place")
	}
	for begun := time.Now(); sandboxes() > 0; time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("%d groups of idle sandboxes are left", sandboxes())
		}
	}
	s.invoke("f", "1").wants(t, "1")
}

// TestRestart kills Kiln and expects the functions, and no traces of the dead one.
func TestRestart(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			s := newServer(t, "--isolation", isolation)
			s.python("f", sleeper)
			s.python("long", "import time\ndef handler(event, context):\n  time.sleep(5)\n")
			if _, failures := s.burst(5, "f"); len(failures) > 0 {
				t.Fatal(failures)
			}
			go s.try("long", "1") // is cut off
			time.Sleep(300 * time.Millisecond)
			for range 3 {
				s.kill()
				s.start()
				if _, failures := s.burst(3, "f"); len(failures) > 0 {
					t.Fatal(failures)
				}
			}
			resp, err := http.Get(s.endpoint + "/healthz")
			if err != nil || resp.StatusCode != 200 {
				t.Errorf("health: %v %v", resp, err)
			}
		})
	}
}

package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// TestJSONLogs wants every line of the log to be an object with the members
// that AWS gives it: the platform's and the function's own.
func TestJSONLogs(t *testing.T) {
	s := newServer(t, "--isolation", "container")
	inJSON := func(in *lambda.CreateFunctionInput) {
		in.LoggingConfig = &types.LoggingConfig{LogFormat: types.LogFormatJson, SystemLogLevel: types.SystemLogLevelDebug}
	}
	s.python("python", "import logging\ndef handler(event, context):\n  logging.getLogger().warning('from python')\n  return 1\n", inJSON)
	s.create("node", "nodejs22.x", "index.handler", files{"index.mjs": "export const handler = async () => { console.warn('from node'); return 1; };"}, inJSON)
	for _, name := range []string{"python", "node"} {
		a := s.invoke(name, `{}`)
		seen := map[string]bool{}
		for line := range strings.Lines(a.tail) {
			var event struct {
				Type, Level, Message, RequestID string
				Record                          struct {
					RequestID string
					Metrics   struct{ DurationMs, MaxMemoryUsedMB, InitDurationMs float64 }
				}
			}
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Errorf("%s: the line %q is no JSON: %v", name, line, err)
				continue
			}
			if event.Type != "" {
				seen[event.Type] = true
				if m := event.Record.Metrics; event.Type == "platform.report" && (m.DurationMs <= 0 || m.MaxMemoryUsedMB <= 0 || m.InitDurationMs <= 0) {
					t.Errorf("%s: figures %+v", name, m)
				}
			} else {
				seen[event.Level+" "+event.Message] = true
				if event.RequestID == "" {
					t.Errorf("%s: no request ID in %s", name, line)
				}
			}
		}
		for _, want := range []string{"platform.start", "platform.runtimeDone", "platform.report"} {
			if !seen[want] {
				t.Errorf("%s: no %s in\n%s", name, want, a.tail)
			}
		}
		if !seen["WARN from "+name] && !seen["WARNING from "+name] {
			t.Errorf("%s: its own line is not in\n%s", name, a.tail)
		}
	}
}

// TestEventsOfSeveralLines wants what one call printed as one event.
func TestEventsOfSeveralLines(t *testing.T) {
	s := newServer(t, "--isolation", "container")
	s.create("f", "nodejs22.x", "index.handler", files{"index.mjs": `export const handler = async () => { console.log("one\ntwo"); };`})
	if a := s.invoke("f", "1"); !strings.Contains(a.tail, "one\ntwo\n") {
		t.Errorf("the log:\n%q", a.tail)
	}
}

// TestFollow reads a log while it is written, with kiln's own command.
func TestFollow(t *testing.T) {
	s := newServer(t, "--isolation", "container")
	s.python("f", "def handler(event, context):\n  print('line', event)\n")
	s.invoke("f", "1")
	out := &logBuffer{}
	follow := exec.Command(binary(t), "logs", "f", "--follow", "--data", s.data)
	follow.Stdout, follow.Stderr = out, out
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		follow.Process.Kill()
		follow.Wait()
	}()
	wait := func(line string) {
		t.Helper()
		for range 400 {
			if strings.Contains(out.String(), line+"\n") {
				return
			}
			time.Sleep(25 * time.Millisecond)
		}
		t.Fatalf("%q did not come:\n%s", line, out)
	}
	wait("line 1")
	for _, n := range []string{"2", "3"} {
		s.invoke("f", n)
		wait("line " + n)
	}
	if n := strings.Count(out.String(), "line 1\n"); n != 1 {
		t.Errorf("an event was printed %d times", n)
	}
}

package logs

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
)

// TestAWSCLI reads logs with the real AWS CLI, page by page.
func TestAWSCLI(t *testing.T) {
	cli, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("needs the AWS CLI")
	}
	s, h := testHandler(t)
	server := httptest.NewServer(h)
	defer server.Close()
	const stream = "2026/11/22/[$LATEST]0a1b"
	for i := range 25 {
		s.Put(testGroup, stream, Event{Time: at(i), Message: fmt.Sprint("line ", i)})
	}
	run := func(args ...string) ([]byte, error) {
		cmd := exec.Command(cli, append([]string{"logs", "--endpoint-url", server.URL, "--region", "us-east-1", "--output", "json"}, args...)...)
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x", "AWS_CONFIG_FILE=/dev/null")
		cmd.Stderr = os.Stderr
		return cmd.Output()
	}
	out, err := run("filter-log-events", "--log-group-name", testGroup, "--page-size", "10")
	if err != nil {
		t.Fatal(err)
	}
	var filtered struct {
		Events []struct {
			LogStreamName, Message string
			Timestamp              int64
		}
	}
	if err := json.Unmarshal(out, &filtered); err != nil {
		t.Fatal(err)
	}
	if len(filtered.Events) != 25 {
		t.Fatalf("%d events", len(filtered.Events))
	}
	for i, e := range filtered.Events {
		if e.Message != fmt.Sprint("line ", i) || e.LogStreamName != stream || e.Timestamp != at(i).UnixMilli() {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	out, err = run("get-log-events", "--log-group-name", testGroup, "--log-stream-name", stream, "--limit", "2", "--query", "events[].message")
	if err != nil {
		t.Fatal(err)
	}
	var last []string
	if err := json.Unmarshal(out, &last); err != nil || len(last) != 2 || last[1] != "line 24" {
		t.Errorf("last events: %s", out)
	}
}

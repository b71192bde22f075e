package logs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// call sends a request as the SDKs do and returns the status and the body.
func call(t *testing.T, h http.Handler, operation, input string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(input))
	r.Header.Set("X-Amz-Target", "Logs_20140328."+operation)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("Content-Type") != "application/x-amz-json-1.1" || w.Header().Get("x-amzn-RequestId") == "" {
		t.Errorf("%s: headers %v", operation, w.Header())
	}
	var output map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &output); err != nil {
		t.Fatalf("%s: %q: %v", operation, w.Body, err)
	}
	return w.Code, output
}

func testHandler(t *testing.T) (*Store, *Handler) {
	s := openStore(t, t.TempDir(), Options{})
	return s, NewHandler(s, "us-east-1", "000000000000")
}

func TestAPIShapes(t *testing.T) {
	s, h := testHandler(t)
	const stream = "2026/11/22/[$LATEST]0a1b"
	s.Put(testGroup, stream, Event{Time: at(0), Message: "a\n"}, Event{Time: at(1), Message: "b <&>"})
	for _, c := range []struct{ operation, input, want string }{
		{"DescribeLogGroups", `{}`,
			`{"logGroups":[{"arn":"arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/hello:*","creationTime":0,"logGroupArn":"arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/hello","logGroupClass":"STANDARD","logGroupName":"/aws/lambda/hello","metricFilterCount":0,"storedBytes":0}]}`},
		{"DescribeLogStreams", `{"logGroupName":"/aws/lambda/hello","orderBy":"LastEventTime","descending":true}`,
			`{"logStreams":[{"arn":"arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/hello:log-stream:2026/11/22/[$LATEST]0a1b","creationTime":0,"firstEventTimestamp":1700000000000,"lastEventTimestamp":1700000000001,"lastIngestionTime":0,"logStreamName":"2026/11/22/[$LATEST]0a1b","storedBytes":0}]}`},
		{"GetLogEvents", `{"logGroupIdentifier":"arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/hello:*","logStreamName":"2026/11/22/[$LATEST]0a1b","endTime":1700000000001}`,
			`{"events":[{"ingestionTime":0,"message":"a\n","timestamp":1700000000000}],"nextBackwardToken":"b/0","nextForwardToken":"f/0"}`},
		{"FilterLogEvents", `{"logGroupName":"/aws/lambda/hello","startTime":1700000000001,"endTime":1700000000001}`,
			`{"events":[{"eventId":"0","ingestionTime":0,"logStreamName":"2026/11/22/[$LATEST]0a1b","message":"b <&>","timestamp":1700000000001}],"searchedLogStreams":[]}`},
		{"FilterLogEvents", `{"logGroupName":"/aws/lambda/hello","filterPattern":"none"}`, `{"events":[],"searchedLogStreams":[]}`},
		{"PutRetentionPolicy", `{"logGroupName":"/aws/lambda/hello","retentionInDays":3653}`, `{}`},
		{"DeleteRetentionPolicy", `{"logGroupName":"/aws/lambda/hello"}`, `{}`},
		{"DeleteLogGroup", `{"logGroupName":"/aws/lambda/hello"}`, `{}`},
		{"DescribeLogGroups", `{}`, `{"logGroups":[]}`},
	} {
		status, output := call(t, h, c.operation, c.input)
		var want any
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(blank(output))
		expected, _ := json.Marshal(want)
		if status != 200 || string(got) != string(expected) {
			t.Errorf("%s %s: %d\n got %s\nwant %s", c.operation, c.input, status, got, expected)
		}
	}
}

// blank replaces what differs from run to run.
func blank(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			switch key {
			case "creationTime", "lastIngestionTime", "ingestionTime":
				v[key] = 0
			case "storedBytes":
				v[key] = 0
			case "eventId":
				v[key] = "0"
			case "nextForwardToken", "nextBackwardToken":
				v[key] = value.(string)[:2] + "0"
			default:
				v[key] = blank(value)
			}
		}
	case []any:
		for i := range v {
			v[i] = blank(v[i])
		}
	}
	return v
}

func TestAPIErrors(t *testing.T) {
	s, h := testHandler(t)
	s.Put(testGroup, "s", Event{Time: at(0), Message: "m"})
	const group = `"logGroupName":"/aws/lambda/hello"`
	for _, c := range []struct{ operation, input, shape string }{
		{"FilterLogEvents", `{"logGroupName":"none"}`, "ResourceNotFoundException"},
		{"FilterLogEvents", `{` + group + `,"logStreamNames":["none"]}`, "ResourceNotFoundException"},
		{"FilterLogEvents", `{` + group + `,"logStreamNames":["s"],"logStreamNamePrefix":"s"}`, "InvalidParameterException"},
		{"FilterLogEvents", `{` + group + `,"filterPattern":"{ $.a = \"x\" }"}`, "InvalidParameterException"},
		{"FilterLogEvents", `{` + group + `,"limit":10001}`, "InvalidParameterException"},
		{"FilterLogEvents", `{` + group + `,"limit":0}`, "InvalidParameterException"},
		{"FilterLogEvents", `{` + group + `,"startTime":-1}`, "InvalidParameterException"},
		{"FilterLogEvents", `{` + group + `,"nextToken":"x"}`, "InvalidParameterException"},
		{"FilterLogEvents", `{}`, "InvalidParameterException"},
		{"FilterLogEvents", `{` + group + `,"limit":"x"}`, "SerializationException"},
		{"FilterLogEvents", `{`, "SerializationException"},
		{"FilterLogEvents", `"` + strings.Repeat("x", maxRequestBytes) + `"`, "SerializationException"},
		{"GetLogEvents", `{` + group + `}`, "InvalidParameterException"},
		{"GetLogEvents", `{` + group + `,"logStreamName":"none"}`, "ResourceNotFoundException"},
		{"GetLogEvents", `{"logGroupName":"none","logStreamName":"s"}`, "ResourceNotFoundException"},
		{"GetLogEvents", `{` + group + `,"logStreamName":"s","nextToken":"f/x"}`, "InvalidParameterException"},
		{"DescribeLogStreams", `{"logGroupName":"none"}`, "ResourceNotFoundException"},
		{"DescribeLogStreams", `{` + group + `,"limit":51}`, "InvalidParameterException"},
		{"DescribeLogStreams", `{` + group + `,"orderBy":"LastEventTime","logStreamNamePrefix":"s"}`, "InvalidParameterException"},
		{"DescribeLogStreams", `{` + group + `,"nextToken":"x"}`, "InvalidParameterException"},
		{"DescribeLogGroups", `{"logGroupNamePrefix":"a","logGroupNamePattern":"b"}`, "InvalidParameterException"},
		{"DeleteLogGroup", `{"logGroupName":"none"}`, "ResourceNotFoundException"},
		{"PutRetentionPolicy", `{` + group + `,"retentionInDays":2}`, "InvalidParameterException"},
		{"StartQuery", `{}`, "UnknownOperationException"},
	} {
		status, output := call(t, h, c.operation, c.input)
		if status != 400 || output["__type"] != c.shape || output["message"] == "" {
			t.Errorf("%s %.80s: %d %v, want %s", c.operation, c.input, status, output, c.shape)
		}
	}
}

func TestAPIDescribePages(t *testing.T) {
	s, h := testHandler(t)
	const count = 120
	var names []string
	for i := range count {
		name := fmt.Sprintf("g%03d", i)
		names = append(names, name)
		s.Put(name, "s", Event{Time: at(0), Message: "m"})
		// Later streams have earlier events, some at the same time.
		s.Put("streams", name, Event{Time: at((count - i) / 2), Message: "m"})
	}
	collect := func(operation, input, list, key string) []string {
		t.Helper()
		var got []string
		for token := ""; ; {
			status, output := call(t, h, operation, strings.Replace(input, "}", token+"}", 1))
			if status != 200 {
				t.Fatal(output)
			}
			items := output[list].([]any)
			if len(items) > 50 {
				t.Errorf("a page of %d", len(items))
			}
			for _, item := range items {
				got = append(got, item.(map[string]any)[key].(string))
			}
			next, ok := output["nextToken"].(string)
			if !ok {
				return got
			}
			token = `,"nextToken":"` + next + `"`
		}
	}
	if got := collect("DescribeLogGroups", `{"logGroupNamePrefix":"g"}`, "logGroups", "logGroupName"); !slices.Equal(got, names) {
		t.Errorf("groups: %v", got)
	}
	if got := collect("DescribeLogGroups", `{"logGroupNamePattern":"G11"}`, "logGroups", "logGroupName"); !slices.Equal(got, names[110:]) {
		t.Errorf("groups by pattern: %v", got)
	}
	if got := collect("DescribeLogStreams", `{"logGroupName":"streams","limit":7}`, "logStreams", "logStreamName"); !slices.Equal(got, names) {
		t.Errorf("streams: %v", got)
	}
	reversed := slices.Clone(names)
	slices.Reverse(reversed)
	if got := collect("DescribeLogStreams", `{"logGroupName":"streams","descending":true}`, "logStreams", "logStreamName"); !slices.Equal(got, reversed) {
		t.Errorf("streams descending: %v", got)
	}
	got := collect("DescribeLogStreams", `{"logGroupName":"streams","orderBy":"LastEventTime","limit":7}`, "logStreams", "logStreamName")
	if len(got) != count || got[0] != "g119" || got[1] != "g117" && got[1] != "g118" || got[count-1] != "g000" {
		t.Errorf("streams by time: %v", got)
	}
	slices.Sort(got)
	if !slices.Equal(got, names) {
		t.Errorf("streams by time: not each once: %v", got)
	}
}

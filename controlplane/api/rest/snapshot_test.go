package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kiln/controlplane/api/model"
)

// snapshots returns the directory of the wire fixtures that come with AWS's SDK.
func snapshots(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/lambda").Output()
	if err != nil {
		t.Fatalf("find the SDK's module: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "request_snapshot")
}

// newer are operations that AWS has and the model file does not.
var newer = map[string]bool{"PutResourcePolicy": true, "GetResourcePolicy": true, "DeleteResourcePolicy": true}

// TestSnapshots decodes a request of every operation, all members set, as the
// SDK sends it, and checks that no member is lost.
func TestSnapshots(t *testing.T) {
	dir := snapshots(t)
	files, err := filepath.Glob(filepath.Join(dir, "*.request.snap"))
	if err != nil || len(files) < 80 {
		t.Fatalf("%d request snapshots in %s: %v", len(files), dir, err)
	}
	router := NewRouter(model.Routes())
	seen := map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".request.snap")
		seen[name] = true
		if newer[name] {
			continue
		}
		t.Run(name, func(t *testing.T) { decodeSnapshot(t, router, name, file) })
	}
	for _, r := range model.Routes() {
		if !seen[r.Name] && r.Name != "InvokeWithResponseStream" {
			t.Errorf("no snapshot of %s", r.Name)
		}
	}
}

func decodeSnapshot(t *testing.T, router *Router, name, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(text), "\n\n")
	headers, body, _ := strings.Cut(rest, "\n\n")
	method, target, _ := strings.Cut(strings.TrimSpace(head), " ")
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	for line := range strings.SplitSeq(headers, "\n") {
		if k, v, ok := strings.Cut(line, ": "); ok {
			header.Add(k, v)
		}
	}
	route, params := router.Find(method, u)
	if route == nil || route.Name != name {
		t.Fatalf("%s %s was routed to %+v", method, target, route)
	}
	in, err := Decode(Request{Route: route, Params: params, Query: u.Query(), Header: header, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(in).Elem()
	for i, m := range model.Lookup(route.Input).Members {
		if m.In == model.InBody && !strings.Contains(body, `"`+m.Name+`"`) {
			continue // a member that this SDK does not know yet
		}
		if v.Field(i).IsZero() {
			t.Errorf("%s was lost", m.Name)
		}
	}
	if !strings.HasPrefix(body, "{") {
		return
	}
	source := in
	for i, m := range model.Lookup(route.Input).Members {
		if m.In == model.InPayload {
			source = v.Field(i).Interface()
		}
	}
	again, err := json.Marshal(source)
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal([]byte(body), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &got); err != nil {
		t.Fatal(err)
	}
	dropNewer(want, "")
	if !reflect.DeepEqual(want, got) {
		t.Errorf("decoded and encoded again:\n got %s\nwant %s", again, body)
	}
}

// newerMembers are members that AWS has and the model file does not, as
// "parent.member" where the name alone says too little.
var newerMembers = map[string]bool{
	"S3ObjectStorageMode": true, "S3FilesConfig": true, "DurableConfig.KMSKeyArn": true, "XAmznTraceId": true,
	"ConsumptionMode": true, "PropagateTags": true, "TelemetryConfig": true,
}

func dropNewer(v any, parent string) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if newerMembers[name] || newerMembers[parent+"."+name] {
				delete(v, name)
			} else {
				dropNewer(member, name)
			}
		}
	case []any:
		for _, item := range v {
			dropNewer(item, parent)
		}
	}
}

package iam

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// client calls with nothing but the credentials file, in every way that needs
// signing differently.
const client = `
import boto3, json, sys
session = boto3.Session()
c = session.client("lambda", endpoint_url=sys.argv[1])
def call(f, **arguments):
    try:
        return f(**arguments)["ResponseMetadata"]["HTTPStatusCode"]
    except Exception as e:
        return repr(e)
out = {
    "region": session.region_name,
    "account": getattr(session.get_credentials(), "account_id", None),
    "list": call(c.list_functions),
    "list, page": call(c.list_functions, Marker="a b+c/=&é~", MaxItems=3),
    "arn": call(c.get_function, FunctionName="arn:aws:lambda:us-east-1:000000000000:function:f", Qualifier="$LATEST"),
    "invoke": call(c.invoke, FunctionName="f", Payload=b'{"a": "\xc3\xa9"}', ClientContext="e30=", LogType="Tail"),
    "tags": call(c.untag_resource, Resource="arn:aws:lambda:us-east-1:000000000000:function:f", TagKeys=["z", "ä", "a b", "A"]),
    "create": call(c.create_function, FunctionName="f", Role="arn:aws:iam::0:role/r", Code={"ZipFile": b"x" * 300000}),
    "logs": call(session.client("logs", endpoint_url=sys.argv[1]).describe_log_groups, logGroupNamePrefix="/aws/lambda"),
}
import urllib.request
url = c.generate_presigned_url("get_function", Params={"FunctionName": "f", "Qualifier": "a-b"}, ExpiresIn=60)
out["presigned"] = urllib.request.urlopen(url).status
print(json.dumps(out))
`

// TestBotocore has AWS's SDK for Python read the credentials file and call.
func TestBotocore(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import boto3").Run() != nil {
		t.Skip("no boto3")
	}
	path := filepath.Join(t.TempDir(), "credentials")
	credentials, err := OpenCredentials(path, "000000000000", testRegion)
	if err != nil {
		t.Fatal(err)
	}
	verifier := NewVerifier(credentials, testRegion)
	var mu sync.Mutex
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls++
		mu.Unlock()
		_, err := verifier.Authenticate(r)
		if err == nil {
			_, err = io.ReadAll(r.Body)
		}
		if err != nil {
			t.Errorf("%s %s: %v\n%v", r.Method, r.RequestURI, err, r.Header)
			w.WriteHeader(http.StatusForbidden)
		}
		io.WriteString(w, "{}")
	}))
	defer server.Close()
	command := exec.Command(python, "-c", client, server.URL)
	command.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	command.Env = append(command.Env, "AWS_SHARED_CREDENTIALS_FILE="+path, "AWS_CONFIG_FILE=/nonexistent", "AWS_MAX_ATTEMPTS=1")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdout, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var got map[string]any
	if err := json.Unmarshal(stdout, &got); err != nil {
		t.Fatal(err)
	}
	if got["region"] != testRegion {
		t.Errorf("region %v", got["region"])
	}
	if account := got["account"]; account != nil && account != "000000000000" {
		t.Errorf("account %v", account)
	}
	delete(got, "region")
	delete(got, "account")
	for name, status := range got {
		if status != 200.0 {
			t.Errorf("%s: %v", name, status)
		}
	}
	if calls != len(got) {
		t.Errorf("%d calls came, %d were made", calls, len(got))
	}
}

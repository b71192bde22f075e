package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool returns a program of the Python environment that KILN_TEST_VENV names,
// or of the PATH.
func tool(t *testing.T, name string) string {
	t.Helper()
	if venv := os.Getenv("KILN_TEST_VENV"); venv != "" {
		name = filepath.Join(venv, "bin", name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: scripts/test installs it", err)
	}
	return path
}

// environment is what a person exports to use AWS's tools with Kiln.
func (s *server) environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") {
			env = append(env, v)
		}
	}
	return append(env, "AWS_ENDPOINT_URL="+s.endpoint, "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(s.data, "credentials"),
		"AWS_CONFIG_FILE=/dev/null", "AWS_REGION=us-east-1", "AWS_PAGER=")
}

func (s *server) run(dir string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, s.environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestAWSCLI does with the AWS CLI what its users do first.
func TestAWSCLI(t *testing.T) {
	aws := tool(t, "aws")
	s := newServer(t)
	dir := t.TempDir()
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("code.zip", files{"app.py": "def handler(event, context):\n    print('was called')\n    return event['n'] + 1\n"}.zip(t))
	write("new.zip", files{"app.py": "def handler(event, context):\n    return event['n'] + 2\n"}.zip(t))
	write("event.json", []byte(`{"n": 41}`)) // version 1 and 2 of the CLI differ in how they take it inline
	cli := func(args ...string) string {
		t.Helper()
		return s.run(dir, append([]string{aws, "--cli-read-timeout", "30", "lambda"}, args...)...)
	}
	invoke := func(want string, args ...string) string {
		t.Helper()
		out := cli(append([]string{"invoke", "--function-name", "f", "--payload", "fileb://event.json", "answer"}, args...)...)
		b, err := os.ReadFile(filepath.Join(dir, "answer"))
		if err != nil || string(b) != want {
			t.Errorf("answer %s %v, want %s", b, err, want)
		}
		return out
	}
	cli("create-function", "--function-name", "f", "--runtime", "python3.11", "--handler", "app.handler",
		"--role", role, "--zip-file", "fileb://code.zip", "--memory-size", "512")
	cli("wait", "function-active-v2", "--function-name", "f")
	tail := invoke("42", "--log-type", "Tail", "--query", "LogResult", "--output", "text")
	if log := decode(strings.TrimSpace(tail)); !strings.Contains(log, "was called") || !strings.Contains(log, "REPORT RequestId") {
		t.Errorf("the tail: %q", log)
	}
	cli("publish-version", "--function-name", "f")
	cli("update-function-code", "--function-name", "f", "--zip-file", "fileb://new.zip")
	cli("wait", "function-updated-v2", "--function-name", "f")
	invoke("43")
	invoke("42", "--qualifier", "1")
	if out := cli("list-versions-by-function", "--function-name", "f", "--query", "Versions[].Version", "--output", "text"); strings.TrimSpace(out) != "$LATEST\t1" {
		t.Errorf("versions %q", out)
	}
	url := strings.TrimSpace(cli("get-function", "--function-name", "f", "--query", "Code.Location", "--output", "text"))
	if out := s.run(dir, "curl", "-fsS", "-o", "got.zip", url); out != "" {
		t.Error(out)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "got.zip")); len(got) == 0 || got[0] != 'P' {
		t.Error("the code's location has no zip archive")
	}
	if out := s.run(dir, aws, "logs", "filter-log-events", "--log-group-name", "/aws/lambda/f", "--query", "events[].message", "--output", "text"); !strings.Contains(out, "was called") {
		t.Errorf("the log: %q", out)
	}
	cli("delete-function", "--function-name", "f")
}

const boto = `
import boto3, io, json, zipfile
from botocore.exceptions import ClientError
c = boto3.client('lambda')
z = io.BytesIO()
with zipfile.ZipFile(z, 'w') as f:
    i = zipfile.ZipInfo('index.mjs')
    i.external_attr = 0o644 << 16 # by default writestr lets only root read it
    f.writestr(i, 'export const handler = async (e) => ({got: e});')
for i in range(3):
    c.create_function(FunctionName=f'f{i}', Runtime='nodejs22.x', Handler='index.handler', Role='` + role + `',
                      Code={'ZipFile': z.getvalue()}, MemorySize=512, Environment={'Variables': {'NAME': 'b'}})
for i in range(3): c.get_waiter('function_active_v2').wait(FunctionName=f'f{i}')
names = [f['FunctionName'] for p in c.get_paginator('list_functions').paginate(PaginationConfig={'PageSize': 1}) for f in p['Functions']]
assert names == ['f0', 'f1', 'f2'], names
r = c.invoke(FunctionName=c.get_function(FunctionName='f1')['Configuration']['FunctionArn'], Payload=json.dumps({'x': 1}))
assert json.load(r['Payload']) == {'got': {'x': 1}} and r['StatusCode'] == 200, r
def fails(code, call, **args):
    try: call(**args)
    except ClientError as e: assert e.response['Error']['Code'] == code, e
    else: raise AssertionError('no ' + code)
fails('ResourceConflictException', c.create_function, FunctionName='f0', Runtime='nodejs22.x', Handler='index.handler', Role='` + role + `', Code={'ZipFile': z.getvalue()})
fails('ResourceNotFoundException', c.get_function, FunctionName='nope')
fails('InvalidParameterValueException', c.create_function, FunctionName='g', Runtime='nodejs22.x', Handler='index.handler', Role='` + role + `', Code={'ZipFile': b'no zip'})
fails('InvalidRequestContentException', c.invoke, FunctionName='f0', Payload='{nope')
fails('RequestEntityTooLargeException', c.invoke, FunctionName='f0', Payload=json.dumps('x' * (6 << 20)))
fails('PreconditionFailedException', c.publish_version, FunctionName='f0', RevisionId='00000000-0000-0000-0000-000000000000')
bad = boto3.client('lambda', aws_access_key_id='AKIAXXXXXXXXXXXXXXXX', aws_secret_access_key='x')
fails('UnrecognizedClientException', bad.list_functions)
print('all is well')
`

// TestBoto3 uses waiters, paginators and errors of AWS's SDK for Python.
func TestBoto3(t *testing.T) {
	python := tool(t, "python3")
	s := newServer(t)
	if out := s.run(t.TempDir(), python, "-c", boto); strings.TrimSpace(out) != "all is well" {
		t.Error(out)
	}
}

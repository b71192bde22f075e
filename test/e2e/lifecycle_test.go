package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// helloGo builds the Go example once.
func helloGo(t testing.TB) files {
	t.Helper()
	out := filepath.Join(t.TempDir(), "bootstrap")
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", out, "kiln/examples/hello-go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build hello-go: %v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return files{"bootstrap*": string(b)}
}

// TestLifeCycle takes functions of each language from creation to deletion.
func TestLifeCycle(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			s := newServer(t, "--isolation", isolation)
			for _, f := range []struct {
				name, runtime, handler string
				code                   files
			}{
				{"go", "provided.al2023", "bootstrap", helloGo(t)},
				{"node", "nodejs22.x", "index.handler", files{"index.mjs": `export const handler = async (e, c) => ({message: "hello", input: e, function: c.functionName});`}},
				{"python", "python3.11", "app.handler", files{"app.py": "def handler(event, context):\n    print('got', event)\n    return {'message': 'hello', 'input': event, 'function': context.function_name}\n"}},
			} {
				t.Run(f.name, func(t *testing.T) {
					s := s.with(t)
					s.create(f.name, f.runtime, f.handler, f.code)
					lifeCycle(t, s, f.name)
				})
			}
		})
	}
}

// with returns the server for a subtest.
func (s *server) with(t testing.TB) *server {
	c := *s
	c.t = t
	return &c
}

func lifeCycle(t *testing.T, s *server, name string) {
	ctx := context.Background()
	a := s.invoke(name, `{"n":1}`)
	var got struct {
		Message  string
		Input    struct{ N int }
		Function string
	}
	if err := json.Unmarshal([]byte(a.payload), &got); err != nil || a.err != "" {
		t.Fatalf("%s %s", a.err, a.payload)
	}
	if !strings.HasPrefix(got.Message, "hello") || got.Input.N != 1 || got.Function != name || a.version != "$LATEST" {
		t.Errorf("answer %+v of version %s", got, a.version)
	}
	for _, want := range []string{"START RequestId: ", "END RequestId: ", "REPORT RequestId: ", "Init Duration: "} {
		if !strings.Contains(a.tail, want) {
			t.Errorf("the log tail has no %q:\n%s", want, a.tail)
		}
	}
	// An update makes new environments; the version published before stays as it was.
	published, err := s.lambda.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name})
	if err != nil || aws.ToString(published.Version) != "1" {
		t.Fatalf("publish: %+v %v", published, err)
	}
	if _, err := s.lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, MemorySize: aws.Int32(256)}); err != nil {
		t.Fatal(err)
	}
	waiter := lambda.NewFunctionUpdatedV2Waiter(s.lambda, func(o *lambda.FunctionUpdatedV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second
	})
	if err := waiter.Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if a := s.invoke(name, `{}`); !strings.Contains(a.tail, "Memory Size: 256 MB") {
		t.Errorf("after the update:\n%s", a.tail)
	}
	if a := s.invoke(name+":1", `{}`); !strings.Contains(a.tail, "Memory Size: 128 MB") || a.version != "1" {
		t.Errorf("version 1 is %s:\n%s", a.version, a.tail)
	}
	if out, err := s.lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, InvocationType: types.InvocationTypeDryRun}); err != nil || out.StatusCode != 204 {
		t.Errorf("dry run: %+v %v", out, err)
	}
	if _, err := s.lambda.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.try(name, `{}`); !strings.HasPrefix(exception(err), "ResourceNotFoundException: Function not found: arn:aws:lambda:us-east-1:000000000000:function:"+name) {
		t.Errorf("after deletion: %v", exception(err))
	}
}

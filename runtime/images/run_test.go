package images

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kiln/lambda"
)

// inside runs a program as a function's process is run: the image is the root,
// code is /var/task, the user is 993 and the directory /var/task. Mounts are
// the process's own and go with it.
func inside(ctx context.Context, img Image, code string, env []string, args ...string) *exec.Cmd {
	const script = `set -e
		image=$1 code=$2; shift 2
		mount -t tmpfs none /mnt && mkdir /mnt/root
		mount -t erofs -o ro "$image" /mnt/root
		mount --bind "$code" /mnt/root/var/task
		mount -t proc none /mnt/root/proc
		mount -t tmpfs -o mode=1777 none /mnt/root/tmp
		mount -t tmpfs none /mnt/root/dev
		for d in null zero urandom random; do : > /mnt/root/dev/$d; mount --bind /dev/$d /mnt/root/dev/$d; done
		ulimit -n 1024
		exec chroot --userspec=993:990 --groups= /mnt/root /usr/bin/env -i -C /var/task "$@"`
	cmd := exec.CommandContext(ctx, "sh", slices.Concat([]string{"-c", script, "sh", img.Path, code}, img.Env, env, args)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// invokeInside runs a function on an image until its first report, and
// returns that with the path it was posted to.
func invokeInside(t *testing.T, img Image, code, handler, event string) (path, body string) {
	t.Helper()
	type report struct{ path, body string }
	reports, events := make(chan report, 4), make(chan string, 1)
	events <- event
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			select {
			case e := <-events:
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Lambda-Runtime-Aws-Request-Id", "request-1")
				w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(time.Minute).UnixMilli()))
				w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:f")
				io.WriteString(w, e)
			case <-r.Context().Done():
			}
			return
		}
		data, _ := io.ReadAll(r.Body)
		reports <- report{r.URL.Path, string(data)}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(api.Close)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := inside(ctx, img, code, []string{
		"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(api.URL, "http://"), "_HANDLER=" + handler,
		"AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256",
		"AWS_LAMBDA_LOG_GROUP_NAME=g", "AWS_LAMBDA_LOG_STREAM_NAME=s",
	}, img.Command(256, "")...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		cancel()
		<-ended
	}()
	select {
	case r := <-reports:
		return r.path, r.body
	case err := <-ended:
		ended <- err
		t.Fatalf("ended: %v\n%s", err, out.String())
	case <-ctx.Done():
		t.Fatal("nothing was reported")
	}
	panic("unreachable")
}

func writeCode(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The test's directories are root's alone.
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What functions can count on in an image, asked from inside.
func TestRunInImage(t *testing.T) {
	s := testStore(t)
	python := `
import os, sys, ssl, sqlite3, ctypes, zlib, bz2, lzma, hashlib, decimal, zoneinfo, locale, pwd, json, readline, uuid, curses
def handler(event, context):
    locale.setlocale(locale.LC_ALL, '')
    stale = [m for m in ('json', 'logging', 'ssl', 'boto3') if not os.path.exists(__import__('importlib.util').util.cache_from_source(__import__(m).__file__))]
    return {'version': '%d.%d' % sys.version_info[:2], 'uid': os.getuid(), 'user': pwd.getpwuid(os.getuid()).pw_name,
            'cwd': os.getcwd(), 'event': event, 'certificates': len(ssl.create_default_context().get_ca_certs()) > 50,
            'encoding': sys.getfilesystemencoding() + sys.stdout.encoding, 'path': [p for p in sys.path if p.startswith(('/var/task', '/opt', '/var/runtime'))],
            'boto3': __import__('boto3').client('sqs', region_name='us-east-1').meta.service_model.service_name,
            'zone': str(zoneinfo.ZoneInfo('Europe/Berlin')), 'uncompiled': stale}
`
	node := `
const fs = require('fs');
exports.handler = async (event, context) => ({
  version: process.versions.node.split('.')[0], uid: process.getuid(), user: require('os').userInfo().username,
  cwd: process.cwd(), event, certificates: fs.readFileSync('/etc/pki/tls/certs/ca-bundle.crt', 'utf8').split('BEGIN').length > 50,
  sdk: typeof require('@aws-sdk/client-s3').S3Client + typeof (await import('@aws-sdk/client-sqs')).SQSClient,
  zone: new Date(0).toLocaleString('de-DE', { timeZone: 'Europe/Berlin' }), heap: require('v8').getHeapStatistics().heap_size_limit < 300e6,
});
`
	shell := `#!/bin/sh
set -e
while true; do
  head=$(mktemp)
  event=$(curl -sS -D "$head" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
  id=$(grep -i lambda-runtime-aws-request-id "$head" | tr -d '[:space:]' | cut -d: -f2)
  body="{\"event\":$event,\"uid\":$(id -u),\"user\":\"$(id -un)\",\"cwd\":\"$PWD\",\"awk\":$(echo 1 2 | awk '{print $1+$2}')}"
  curl -sS -d "$body" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response"
done
`
	for _, r := range testRuntimes() {
		t.Run(string(r), func(t *testing.T) {
			img, err := s.Ensure(context.Background(), r, func(step string) { t.Log(step) })
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"uid": 993.0, "user": "sbx_user1051", "cwd": "/var/task", "event": []any{1.0}}
			files, handler := map[string]string{"bootstrap": shell}, "any"
			switch r.Family() {
			case lambda.FamilyPython:
				files, handler = map[string]string{"app.py": python}, "app.handler"
				v := pythonVersion(r)
				want["version"], want["certificates"], want["encoding"], want["zone"] = v, true, "utf-8utf-8", "Europe/Berlin"
				want["path"] = []any{"/var/task", "/opt/python/lib/python" + v + "/site-packages", "/opt/python", "/var/runtime"}
				want["boto3"], want["uncompiled"] = "sqs", []any{}
			case lambda.FamilyNode:
				files, handler = map[string]string{"index.js": node}, "index.handler"
				want["version"], want["certificates"], want["zone"], want["heap"] = nodeMajor(r), true, "1.1.1970, 01:00:00", true
				if r != "nodejs20.x" { // there, import finds the SDK from ES modules only
					want["sdk"] = "functionfunction"
				} else {
					files["index.js"] = strings.Replace(node, "(await import('@aws-sdk/client-sqs'))", "require('@aws-sdk/client-sqs')", 1)
				}
			default:
				want["awk"] = 3.0
			}
			path, body := invokeInside(t, img, writeCode(t, files), handler, "[1]")
			if path != "/2018-06-01/runtime/invocation/request-1/response" {
				t.Fatalf("%s: %s", path, body)
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			for k, w := range want {
				if fmt.Sprint(got[k]) != fmt.Sprint(w) {
					t.Errorf("%s = %v, want %v", k, got[k], w)
				}
			}
		})
	}
}

// The example functions run on the images, built as their manifests say.
func TestExamples(t *testing.T) {
	s := testStore(t)
	manifests, err := filepath.Glob("../../examples/*/kiln.json")
	if err != nil || len(manifests) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range manifests {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			var m struct {
				FunctionName, Handler, Build, CodeURI string
				Runtime                               lambda.Runtime
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &m); err != nil {
				t.Fatal(err)
			}
			if tool, _, _ := strings.Cut(m.Build, " "); tool == "cargo" && os.Getenv("KILN_TEST_CARGO") == "" {
				t.Skip("builds for a minute; set KILN_TEST_CARGO=1")
			}
			code := writeCode(t, nil)
			if err := os.CopyFS(code, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if m.Build != "" {
				// In place, as the Go example is part of this module.
				build := exec.Command("sh", "-c", strings.ReplaceAll(m.Build, "dist", filepath.Join(code, "dist")))
				build.Dir = dir
				if out, err := build.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			img, err := s.Ensure(context.Background(), m.Runtime, nil)
			if err != nil {
				t.Fatal(err)
			}
			reported, body := invokeInside(t, img, filepath.Join(code, m.CodeURI), m.Handler, `{"n":1}`)
			var got struct {
				Message, RequestID, Function string
				Input                        struct{ N int }
				MemoryMB                     int
				RemainingMS                  int64
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil || !strings.HasSuffix(reported, "/response") {
				t.Fatalf("%s: %s", reported, body)
			}
			if !strings.HasPrefix(got.Message, "hello from ") || got.Input.N != 1 || got.RequestID != "request-1" ||
				got.Function != "f" || got.MemoryMB != 256 || got.RemainingMS <= 0 {
				t.Errorf("%s", body)
			}
		})
	}
}

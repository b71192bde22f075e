package bootstrap

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// eachNode runs a test with the machine's Node.js and with those that
// KILN_TEST_NODE lists, separated by colons.
func eachNode(t *testing.T, test func(t *testing.T, node string, major int)) {
	var nodes []string
	if path, err := exec.LookPath("node"); err == nil {
		nodes = append(nodes, path)
	}
	if list := os.Getenv("KILN_TEST_NODE"); list != "" {
		nodes = append(nodes, strings.Split(list, ":")...)
	}
	if len(nodes) == 0 {
		t.Skip("no node on this machine")
	}
	for _, node := range nodes {
		out, err := exec.Command(node, "-p", "process.versions.node.split('.')[0]").Output()
		if err != nil {
			t.Fatal(err)
		}
		var major int
		if err := json.Unmarshal(out, &major); err != nil {
			t.Fatal(err)
		}
		t.Run("node"+strings.TrimSpace(string(out)), func(t *testing.T) {
			t.Parallel()
			test(t, node, major)
		})
	}
}

func TestNodeHandlers(t *testing.T) {
	echo := "async (event, context) => ({ event, id: context.awsRequestId })"
	cases := []struct {
		name, handler string
		files         map[string]string
	}{
		{"commonjs", "index.handler", map[string]string{"index.js": "exports.handler = " + echo}},
		{"module file", "index.handler", map[string]string{"index.mjs": "export const handler = " + echo}},
		{"module package", "index.handler", map[string]string{
			"index.js": "export const handler = " + echo, "package.json": `{"type":"module"}`}},
		{"cjs in a module package", "index.handler", map[string]string{
			"index.cjs": "exports.handler = " + echo, "package.json": `{"type":"module"}`}},
		{"directory", "src/app.handler", map[string]string{"src/app.js": "exports.handler = " + echo}},
		{"nested export", "dir/file.a.b", map[string]string{"dir/file.js": "exports.a = { b: " + echo + " }"}},
		{"package", "thing.handler", map[string]string{"node_modules/thing/index.js": "exports.handler = " + echo}},
		{"top-level await", "index.handler", map[string]string{
			"index.mjs": "const v = await new Promise(r => setTimeout(() => r(1), 20)); export const handler = " + echo}},
		{"promise", "index.handler", map[string]string{
			"index.js": "exports.handler = (event, c) => new Promise(r => setTimeout(() => r({ event, id: c.awsRequestId }), 5))"}},
	}
	eachNode(t, func(t *testing.T, node string, _ int) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				f := start(t, "nodejs", c.handler, c.files, nil, node)
				for range 2 {
					r := f.invoke(`{"a":"ü"}`)
					want := `{"event":{"a":"ü"},"id":"` + r.id + `"}`
					if r.path != "response" || r.body != want {
						t.Errorf("%s %s, want response %s", r.path, r.body, want)
					}
				}
			})
		}
	})
}

// Callbacks and the context's methods exist up to Node.js 22.
func TestNodeCallbacks(t *testing.T) {
	cases := []struct{ name, body, want string }{
		{"callback", "(e, c, cb) => cb(null, 'ok')", `"ok"`},
		{"later callback", "(e, c, cb) => { setTimeout(() => cb(null, 'ok'), 10) }", `"ok"`},
		// The timer runs before the response is sent.
		{"waits for an empty loop", "(e, c, cb) => { const r = {}; setTimeout(() => r.late = 1, 30); cb(null, r) }", `{"late":1}`},
		{"does not wait", "(e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; const r = {}; setInterval(() => {}, 1000); cb(null, r) }", `{}`},
		{"succeed", "(e, c) => c.succeed(1)", `1`},
		{"done", "(e, c) => { c.done(null, [2]); c.done(null, 3) }", `[2]`},
		{"nothing", "(e, c) => { return 'ignored' }", `null`},
	}
	eachNode(t, func(t *testing.T, node string, major int) {
		if major >= 24 {
			f := start(t, "nodejs", "index.handler", map[string]string{
				"index.js": "exports.handler = (e, c, cb) => cb()"}, nil, node)
			if got := f.report().failure(t).ErrorType; got != "Runtime.CallbackHandlerDeprecated" {
				t.Error(got)
			}
			f = start(t, "nodejs", "index.handler", map[string]string{
				"index.js": "exports.handler = (e, c) => [typeof c.done, typeof c.callbackWaitsForEmptyEventLoop]"}, nil, node)
			if got := f.invoke("{}").body; got != `["undefined","undefined"]` {
				t.Error(got)
			}
			return
		}
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				f := start(t, "nodejs", "index.handler", map[string]string{"index.js": "exports.handler = " + c.body}, nil, node)
				for range 2 {
					if r := f.invoke("{}"); r.path != "response" || r.body != c.want {
						t.Errorf("%s %s, want response %s", r.path, r.body, c.want)
					}
				}
			})
		}
		t.Run("fail", func(t *testing.T) {
			f := start(t, "nodejs", "index.handler", map[string]string{
				"index.js": "exports.handler = (e, c, cb) => e ? c.fail('bad') : cb(new TypeError('worse'))"}, nil, node)
			if got := f.invoke("1").failure(t); got.ErrorType != "string" || got.ErrorMessage != "bad" {
				t.Errorf("%+v", got)
			}
			if got := f.invoke("0").failure(t); got.ErrorType != "TypeError" || got.ErrorMessage != "worse" || len(got.Trace) == 0 {
				t.Errorf("%+v", got)
			}
		})
	})
}

func TestNodeInitErrors(t *testing.T) {
	cases := []struct {
		name, handler, source, errorType, message string
	}{
		{"no module", "missing.handler", "", "Runtime.ImportModuleError", "Error: Cannot find module 'missing'\nRequire stack:"},
		{"no package", "index.handler", "require('nowhere')", "Runtime.ImportModuleError", "Error: Cannot find module 'nowhere'"},
		{"no export", "index.nothing", "exports.handler = 1", "Runtime.HandlerNotFound", "index.nothing is undefined or not exported"},
		{"no function", "index.handler", "exports.handler = 1", "Runtime.HandlerNotFound", "index.handler is not a function"},
		{"no dot", "index", "", "Runtime.MalformedHandlerName", "Bad handler"},
		{"climbs", "../index.handler", "", "Runtime.MalformedHandlerName", "'../index.handler' is not a valid handler name."},
		{"syntax", "index.handler", "exports.handler = (", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected end of input"},
		{"throws", "index.handler", "throw new RangeError('at init')", "RangeError", "at init"},
		{"rejects", "index.handler", "Promise.reject(new Error('lost')); exports.handler = () => {}", "Runtime.UnhandledPromiseRejection", "Error: lost"},
	}
	eachNode(t, func(t *testing.T, node string, _ int) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				f := start(t, "nodejs", c.handler, map[string]string{"index.js": c.source}, nil, node)
				r := f.report()
				got := r.failure(t)
				if r.path != "init/error" || got.ErrorType != c.errorType || !strings.HasPrefix(got.ErrorMessage, c.message) {
					t.Errorf("%s: %+v", r.path, got)
				}
				if code := f.exit(); code != 129 && code != 128 {
					t.Errorf("exit code %d", code)
				}
			})
		}
	})
}

func TestNodeInvokeErrors(t *testing.T) {
	source := `exports.handler = async (event) => {
		if (event === 'throw') throw Object.assign(new TypeError('thrown'), { code: 'E1' });
		if (event === 'string') throw 'text';
		if (event === 'cycle') { const o = {}; o.o = o; return o; }
		if (event === 'odd name') throw Object.assign(new Error('x'), { name: 'Tür\nname' });
		if (event === 'hang') await new Promise(() => {});
		if (event === 'uncaught') { setTimeout(() => { throw new Error('late') }, 0); await new Promise(r => setTimeout(r, 5000)); }
		if (event === 'exit') process.exit(3);
		return 'fine';
	}`
	eachNode(t, func(t *testing.T, node string, major int) {
		f := start(t, "nodejs", "index.handler", map[string]string{"index.js": source}, nil, node)
		got := f.invoke(`"throw"`).failure(t)
		if got.ErrorType != "TypeError" || got.ErrorMessage != "thrown" || got.Trace[0] != "TypeError: thrown" ||
			!strings.Contains(got.Trace[1], "index.js") {
			t.Errorf("%+v", got)
		}
		f.logged("\trequest-1\tERROR\tInvoke Error \t{\"errorType\":\"TypeError\",\"errorMessage\":\"thrown\",\"code\":\"E1\",\"stack\":[\"TypeError: thrown\"")
		if got := f.invoke(`"string"`).failure(t); got.ErrorType != "string" || got.ErrorMessage != "text" {
			t.Errorf("%+v", got)
		}
		want := "Error"
		if major >= 24 {
			want = "Runtime.JSONStringifyError"
		}
		if got := f.invoke(`"cycle"`).failure(t); got.ErrorType != want || got.ErrorMessage != "Unable to stringify response body" {
			t.Errorf("%+v", got)
		}
		if r := f.invoke(`"odd name"`); r.path != "error" || r.header.Get("Lambda-Runtime-Function-Error-Type") != "T?r?name" {
			t.Errorf("%+v", r)
		}
		if got := f.invoke(`"hang"`).failure(t); got.ErrorType != "Runtime.NodeJsExit" {
			t.Errorf("%+v", got)
		}
		if r := f.invoke(`"on"`); r.body != `"fine"` {
			t.Errorf("after errors: %+v", r)
		}
		if got := f.invoke(`"uncaught"`).failure(t); got.ErrorType != "Error" || got.ErrorMessage != "late" {
			t.Errorf("%+v", got)
		}
		if code := f.exit(); code != 129 {
			t.Errorf("exit code %d", code)
		}
		f.logged("\tERROR\tUncaught Exception \t{")
	})
}

func TestNodeContext(t *testing.T) {
	source := `exports.handler = async (event, c) => {
		console.log('a %d', 1); console.debug({ b: 2 }); console.warn('two\nlines');
		return { ...c, left: c.getRemainingTimeInMillis() > 2000, trace: process.env._X_AMZN_TRACE_ID ?? null };
	}`
	eachNode(t, func(t *testing.T, node string, _ int) {
		f := start(t, "nodejs", "index.handler", map[string]string{"index.js": source}, nil, node)
		r := f.invokeWith("{}", map[string]string{
			"Lambda-Runtime-Client-Context":   `{"custom":{"k":"ü"}}`,
			"Lambda-Runtime-Cognito-Identity": `{"cognitoIdentityId":"i"}`,
			"Lambda-Runtime-Trace-Id":         "Root=1",
			"Lambda-Runtime-Invocation-Id":    "attempt-1",
		})
		var got map[string]any
		if err := json.Unmarshal([]byte(r.body), &got); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{
			"functionName": "f", "functionVersion": "$LATEST", "memoryLimitInMB": "128", "awsRequestId": "request-1",
			"invokedFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
			"logGroupName":       "/aws/lambda/f", "logStreamName": "2026/01/01/[$LATEST]0", "left": true, "trace": "Root=1",
		} {
			if got[name] != want {
				t.Errorf("%s = %v, want %v", name, got[name], want)
			}
		}
		if s, _ := json.Marshal([]any{got["clientContext"], got["identity"]}); string(s) != `[{"custom":{"k":"ü"}},{"cognitoIdentityId":"i"}]` {
			t.Errorf("%s", s)
		}
		if got := r.header.Get("Lambda-Runtime-Invocation-Id"); got != "attempt-1" {
			t.Errorf("echoed %q", got)
		}
		f.logged("Z\trequest-1\tINFO\ta 1\n", "\tDEBUG\t{ b: 2 }\n", "\tWARN\ttwo\rlines\n")
		if r := f.invoke("{}"); !strings.Contains(r.body, `"trace":null`) || r.header.Get("Lambda-Runtime-Invocation-Id") != "" {
			t.Errorf("headers of the invocation before are left: %s", r.body)
		}
	})
}

func TestNodeJSONLogs(t *testing.T) {
	source := `exports.handler = async () => { console.info('hidden'); console.warn({ a: 1 }); console.error('%s!', 'b', new TypeError('c')); }`
	eachNode(t, func(t *testing.T, node string, _ int) {
		f := start(t, "nodejs", "index.handler", map[string]string{"index.js": source},
			[]string{"AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_LAMBDA_LOG_LEVEL=WARN"}, node)
		f.invoke("{}")
		f.logged("TypeError")
		var lines []map[string]any
		for _, line := range strings.Split(strings.TrimSpace(f.out.String()), "\n") {
			var entry map[string]any
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			lines = append(lines, entry)
		}
		if len(lines) != 2 {
			t.Fatalf("%d lines: %v", len(lines), lines)
		}
		if m, _ := lines[0]["message"].(map[string]any); m["a"] != 1.0 || lines[0]["level"] != "WARN" || lines[0]["requestId"] != "request-1" {
			t.Errorf("%v", lines[0])
		}
		if lines[1]["errorType"] != "TypeError" || lines[1]["errorMessage"] != "c" || !strings.HasPrefix(lines[1]["message"].(string), "b! TypeError: c") {
			t.Errorf("%v", lines[1])
		}
	})
}

func TestNodeStreaming(t *testing.T) {
	source := `exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
		if (event === 'http') stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
		else stream.setContentType('text/plain');
		stream.write('one,');
		await new Promise(r => setTimeout(r, 10));
		if (event === 'fail') throw new RangeError('midway');
		stream.write(Buffer.from('two,'));
		stream.write({ three: 3 });
		stream.end();
	});`
	eachNode(t, func(t *testing.T, node string, _ int) {
		f := start(t, "nodejs", "index.handler", map[string]string{"index.js": source}, nil, node)
		for range 2 {
			r := f.invoke(`"plain"`)
			if r.body != `one,two,{"three":3}` || r.header.Get("Content-Type") != "text/plain" ||
				r.header.Get("Lambda-Runtime-Function-Response-Mode") != "streaming" {
				t.Errorf("%+v", r)
			}
		}
		if r := f.invoke(`"http"`); r.body != "{\"statusCode\":201}\x00\x00\x00\x00\x00\x00\x00\x00one,two,{\"three\":3}" ||
			r.header.Get("Content-Type") != "application/vnd.awslambda.http-integration-response" {
			t.Errorf("%+v", r)
		}
		if r := f.invoke(`"fail"`); r.body != "one," || r.trailer.Get("Lambda-Runtime-Function-Error-Type") != "RangeError" ||
			r.trailer.Get("Lambda-Runtime-Function-Error-Body") == "" {
			t.Errorf("%+v", r)
		}
		if r := f.invoke(`"plain"`); !strings.HasPrefix(r.body, "one,two") {
			t.Errorf("%+v", r)
		}
	})
}

// A layer's packages are found by require and by import.
func TestNodePath(t *testing.T) {
	layer := t.TempDir() + "/node_modules"
	if err := os.MkdirAll(layer+"/thing", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(layer+"/thing/index.js", []byte("module.exports = { word: 'layer' }"), 0o644); err != nil {
		t.Fatal(err)
	}
	eachNode(t, func(t *testing.T, node string, _ int) {
		for name, source := range map[string]string{
			"index.js":  "exports.handler = async () => require('thing').word",
			"index.mjs": "import thing from 'thing'; export const handler = async () => thing.word",
		} {
			f := start(t, "nodejs", "index.handler", map[string]string{name: source}, []string{"NODE_PATH=" + layer}, node)
			if r := f.invoke("{}"); r.body != `"layer"` {
				t.Errorf("%s: %s %s", name, r.path, r.body)
			}
		}
	})
}

// Events and results larger than any buffer arrive whole.
func TestNodeLargePayload(t *testing.T) {
	eachNode(t, func(t *testing.T, node string, _ int) {
		f := start(t, "nodejs", "index.handler", map[string]string{"index.js": "exports.handler = async (e) => e"}, nil, node)
		body := `"` + strings.Repeat("0123456789abcdef", 6<<20/16-1) + `"`
		for range 2 {
			if r := f.invoke(body); r.body != body {
				t.Fatalf("%d bytes came back as %d", len(body), len(r.body))
			}
		}
	})
}

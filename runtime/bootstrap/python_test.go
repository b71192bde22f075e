package bootstrap

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// eachPython runs a test with the machine's Python and with those that
// KILN_TEST_PYTHON lists, separated by colons.
func eachPython(t *testing.T, test func(t *testing.T, python string)) {
	var pythons []string
	for _, name := range []string{"python3.11", "python3"} {
		if path, err := exec.LookPath(name); err == nil {
			pythons = append(pythons, path)
			break
		}
	}
	if list := os.Getenv("KILN_TEST_PYTHON"); list != "" {
		pythons = append(pythons, strings.Split(list, ":")...)
	}
	if len(pythons) == 0 {
		t.Skip("no python3 on this machine")
	}
	for _, python := range pythons {
		t.Run(strings.ReplaceAll(strings.TrimPrefix(python, "/"), "/", "_"), func(t *testing.T) {
			t.Parallel()
			test(t, python)
		})
	}
}

func TestPythonHandlers(t *testing.T) {
	echo := "def handler(event, context):\n    return {'event': event, 'id': context.aws_request_id}\n"
	cases := []struct{ name, handler, file string }{
		{"module", "app.handler", "app.py"},
		{"directory", "src/app.handler", "src/app.py"},
		{"package", "src.pkg.app.handler", "src/pkg/app.py"},
	}
	eachPython(t, func(t *testing.T, python string) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				f := start(t, "python", c.handler, map[string]string{c.file: echo}, nil, python)
				for range 2 {
					r := f.invoke(`{"a": 1}`)
					if want := `{"event": {"a": 1}, "id": "` + r.id + `"}`; r.path != "response" || r.body != want {
						t.Errorf("%s %s, want response %s", r.path, r.body, want)
					}
				}
			})
		}
	})
}

func TestPythonInitErrors(t *testing.T) {
	cases := []struct {
		name, handler, source, errorType, message string
	}{
		{"no module", "missing.handler", "", "Runtime.ImportModuleError", "Unable to import module 'missing': No module named 'missing'"},
		{"no package", "app.handler", "import nowhere", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'nowhere'"},
		{"no function", "app.nothing", "", "Runtime.HandlerNotFound", "Handler 'nothing' missing on module 'app'"},
		{"no dot", "app", "", "Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack (expected 2, got 1)"},
		{"built-in", "sys.exit", "", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"},
		{"syntax", "app.handler", "def handler(:\n", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': invalid syntax (app.py, line 1)"},
		{"raises", "app.handler", "raise ValueError('at init')", "ValueError", "at init"},
	}
	eachPython(t, func(t *testing.T, python string) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				f := start(t, "python", c.handler, map[string]string{"app.py": c.source}, nil, python)
				r := f.report()
				if got := r.failure(t); r.path != "init/error" || got.ErrorType != c.errorType || got.ErrorMessage != c.message {
					t.Errorf("%s: %+v", r.path, got)
				}
				if code := f.exit(); code != 1 {
					t.Errorf("exit code %d", code)
				}
				f.logged("[ERROR] " + c.errorType + ": " + c.message + "\rTraceback (most recent call last):")
			})
		}
	})
}

func TestPythonResults(t *testing.T) {
	source := `
import decimal, math
def handler(event, context):
    return {
        'none': None, 'text': 'a"b', 'bytes': b'raw', 'bytes in': {'b': b'x'},
        'decimal': {'d': decimal.Decimal('1.50'), 'k': [decimal.Decimal('1E+3')]},
        'set': {1}, 'key': {(1,): 2},
    }[event]
`
	cases := []struct{ event, want, contentType string }{
		{"none", "null", "application/json"},
		{"text", `"a\"b"`, "application/json"},
		{"bytes", "raw", "application/unknown"},
		{"bytes in", `{"b": "x"}`, "application/json"},
		{"decimal", `{"d": 1.50, "k": [1E+3]}`, "application/json"},
	}
	eachPython(t, func(t *testing.T, python string) {
		f := start(t, "python", "app.handler", map[string]string{"app.py": source}, nil, python)
		for _, c := range cases {
			r := f.invoke(`"` + c.event + `"`)
			if r.path != "response" || r.body != c.want || r.header.Get("Content-Type") != c.contentType {
				t.Errorf("%s: %s %s as %s", c.event, r.path, r.body, r.header.Get("Content-Type"))
			}
		}
		for event, message := range map[string]string{
			"set": "Object of type set is not JSON serializable",
			"key": "keys must be str, int, float, bool or None, not tuple",
		} {
			got := f.invoke(`"` + event + `"`).failure(t)
			if got.ErrorType != "Runtime.MarshalError" || got.ErrorMessage != "Unable to marshal response: "+message {
				t.Errorf("%+v", got)
			}
		}
	})
}

func TestPythonInvokeErrors(t *testing.T) {
	source := `import sys
def deep():
    raise KeyError('thrown')
def handler(event, context):
    if event == 'raise': deep()
    if event == 'exit': sys.exit(3)
    if event == 'surrogate': raise ValueError('\\udc80')
    return 'fine'
`
	eachPython(t, func(t *testing.T, python string) {
		f := start(t, "python", "app.handler", map[string]string{"app.py": source}, nil, python)
		r := f.invoke(`"raise"`)
		got := r.failure(t)
		if got.ErrorType != "KeyError" || got.ErrorMessage != "'thrown'" || got.RequestID != r.id || len(got.StackTrace) != 2 {
			t.Fatalf("%+v", got)
		}
		if s := got.StackTrace[0]; !strings.HasPrefix(s, "  File \"") || !strings.HasSuffix(s, "app.py\", line 5, in handler\n    if event == 'raise': deep()\n") {
			t.Errorf("%q", s)
		}
		f.logged("[ERROR] KeyError: 'thrown'\rTraceback (most recent call last):\r\u00a0\u00a0File \"", "\r\u00a0\u00a0\u00a0\u00a0raise KeyError('thrown')")
		if got := f.invoke(`{"a":`).failure(t); got.ErrorType != "Runtime.UnmarshalError" || !strings.HasPrefix(got.ErrorMessage, "Unable to unmarshal input: ") {
			t.Errorf("%+v", got)
		}
		if got := f.invoke(`"surrogate"`).failure(t); got.ErrorType != "ValueError" || got.ErrorMessage == "" {
			t.Errorf("%+v", got)
		}
		if r := f.invoke(`1`); r.body != `"fine"` {
			t.Errorf("after errors: %+v", r)
		}
		f.api.events <- event{id: "last", body: `"exit"`}
		if code := f.exit(); code != 3 {
			t.Errorf("exit code %d", code)
		}
	})
}

func TestPythonContext(t *testing.T) {
	source := `
import logging, os, sys
logging.getLogger().setLevel('INFO')
def handler(event, c):
    print('printed'); logging.info('logged %d', 1); logging.debug('hidden'); print('end', end='')
    cc = c.client_context
    return [c.aws_request_id, c.log_group_name, c.log_stream_name, c.function_name, c.memory_limit_in_mb,
            c.function_version, c.invoked_function_arn, c.get_remaining_time_in_millis() > 2000,
            c.identity.cognito_identity_id, cc and [cc.custom, cc.client.app_title, cc.env], c.tenant_id,
            os.environ.get('_X_AMZN_TRACE_ID')]
`
	eachPython(t, func(t *testing.T, python string) {
		f := start(t, "python", "app.handler", map[string]string{"app.py": source}, nil, python)
		r := f.invokeWith("{}", map[string]string{
			"Lambda-Runtime-Client-Context":   `{"custom":{"k":"v"},"client":{"app_title":"t"}}`,
			"Lambda-Runtime-Cognito-Identity": `{"cognitoIdentityId":"i"}`,
			"Lambda-Runtime-Trace-Id":         "Root=1",
			"Lambda-Runtime-Invocation-Id":    "attempt-1",
			"Lambda-Runtime-Aws-Tenant-Id":    "blue",
		})
		want := `["request-1", "/aws/lambda/f", "2026/01/01/[$LATEST]0", "f", "128", "$LATEST", ` +
			`"arn:aws:lambda:us-east-1:000000000000:function:f", true, "i", [{"k": "v"}, "t", null], "blue", "Root=1"]`
		if r.body != want {
			t.Errorf("%s\nwant %s", r.body, want)
		}
		if got := r.header.Get("Lambda-Runtime-Invocation-Id"); got != "attempt-1" {
			t.Errorf("echoed %q", got)
		}
		f.logged("printed\n[INFO]\t", "Z\trequest-1\tlogged 1\nend")
		if strings.Contains(f.out.String(), "hidden") {
			t.Error("a debug line was logged at level INFO")
		}
		if r := f.invoke("{}"); !strings.HasSuffix(r.body, "true, null, null, null, null]") {
			t.Errorf("headers of the invocation before are left: %s", r.body)
		}
	})
}

func TestPythonJSONLogs(t *testing.T) {
	source := `
import logging
def handler(event, context):
    logging.info('hidden')
    try:
        1/0
    except ZeroDivisionError:
        logging.exception('bad %s', 'sum', extra={'k': 'v'})
    raise ValueError('end')
`
	eachPython(t, func(t *testing.T, python string) {
		f := start(t, "python", "app.handler", map[string]string{"app.py": source},
			[]string{"AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_LAMBDA_LOG_LEVEL=WARN"}, python)
		f.invoke("{}")
		f.logged(`"ValueError"`)
		lines := strings.Split(strings.TrimSpace(f.out.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("%q", lines)
		}
		var record, final map[string]any
		if err := json.Unmarshal([]byte(lines[0]), &record); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(lines[1]), &final); err != nil {
			t.Fatal(err)
		}
		for k, want := range map[string]any{"level": "ERROR", "message": "bad sum", "logger": "root", "requestId": "request-1",
			"errorType": "ZeroDivisionError", "errorMessage": "division by zero", "k": "v"} {
			if record[k] != want {
				t.Errorf("%s = %v, want %v", k, record[k], want)
			}
		}
		if final["errorType"] != "ValueError" || final["level"] != "ERROR" || final["requestId"] != "request-1" {
			t.Errorf("%v", final)
		}
	})
}

// The function's own modules come before the runtime's and the standard library's.
func TestPythonPath(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		f := start(t, "python", "app.handler", map[string]string{
			"client.py": "NAME = 'own'",
			"logs.py":   "NAME = 'own'",
			"app.py":    "import client, logs, os, sys\ndef handler(event, context): return [client.NAME, logs.NAME, sys.path[:4], os.getcwd()]",
		}, nil, python)
		var got []any
		if err := json.Unmarshal([]byte(f.invoke("{}").body), &got); err != nil {
			t.Fatal(err)
		}
		path, _ := got[2].([]any)
		if got[0] != "own" || got[1] != "own" || path[0] != got[3] || path[2] != "/opt/python" ||
			!strings.HasPrefix(path[1].(string), "/opt/python/lib/python3.") || filepath.Base(path[3].(string)) != "001" {
			t.Errorf("%v", got)
		}
	})
}

// Events and results larger than any buffer arrive whole.
func TestPythonLargePayload(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		f := start(t, "python", "app.handler", map[string]string{"app.py": "def handler(event, context): return event"}, nil, python)
		body := `"` + strings.Repeat("0123456789abcdef", 6<<20/16-1) + `"`
		for range 2 {
			if r := f.invoke(body); r.body != body {
				t.Fatalf("%d bytes came back as %d", len(body), len(r.body))
			}
		}
	})
}

package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// TestFunctionsThatMisbehave has functions fail in every way that functions
// fail. Each gets the error that AWS gives, and its next invocation works.
func TestFunctionsThatMisbehave(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			s := newServer(t, "--isolation", isolation)
			for _, test := range []struct {
				name  string
				code  string // does something bad when the event has "bad"
				small bool   // 128 MB
				check func(*testing.T, answer)
			}{
				{"raises", "raise ValueError('no')", false, func(t *testing.T, a answer) {
					a.fails(t, "ValueError", "no")
				}},
				{"exits", "import os; os._exit(7)", false, func(t *testing.T, a answer) {
					a.fails(t, "Runtime.ExitError", "Runtime exited with error: exit status 7")
				}},
				{"kills-itself", "import os; os.kill(os.getpid(), 9)", false, func(t *testing.T, a answer) {
					a.fails(t, "Runtime.ExitError", "Runtime exited with error: signal: killed")
				}},
				{"sleeps", "import time; time.sleep(100)", false, func(t *testing.T, a answer) {
					a.fails(t, "Sandbox.Timedout", "Task timed out after 3.00 seconds")
					if !strings.Contains(a.tail, "Duration: 3000.00 ms") || !strings.Contains(a.tail, "Status: timeout") {
						t.Errorf("the log:\n%s", a.tail)
					}
				}},
				{"spins", "while True: pass", false, func(t *testing.T, a answer) {
					a.fails(t, "Sandbox.Timedout", "Task timed out after 3.00 seconds")
				}},
				{"eats-memory", "x = []\n  while True: x.append(bytearray(1 << 20))", true, func(t *testing.T, a answer) {
					if a.err != "Unhandled" { // a MemoryError of Python's own is as good
						t.Errorf("%s %s", a.err, a.payload)
					}
				}},
				{"prints-megabytes", "print('x' * 1000 * 1000 * 3)\n  for i in range(20000): print('y' * 100)", false, func(t *testing.T, a answer) {
					a.wants(t, `"ok"`)
				}},
				{"answers-too-much", "return 'x' * (6 * 1024 * 1024 + 200)", false, func(t *testing.T, a answer) {
					a.fails(t, "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (6291556 bytes).")
				}},
				{"answers-no-json", "return {1, 2}", false, func(t *testing.T, a answer) {
					a.fails(t, "Runtime.MarshalError", "Unable to marshal response")
				}},
				{"forks", "import os\n  try:\n   for i in range(3000):\n    if os.fork() == 0:\n     import time; time.sleep(1000)\n  except OSError: pass", false, func(t *testing.T, a answer) {
					if a.err != "" && !strings.Contains(a.payload, "Timedout") && !strings.Contains(a.payload, "OutOfMemory") {
						t.Errorf("%s %s", a.err, a.payload)
					}
				}},
				{"fills-tmp", "import os\n  try:\n   with open('/tmp/x', 'wb') as f:\n    while True: f.write(bytes(1 << 20))\n  except OSError as e:\n   os.unlink('/tmp/x')\n   return e.errno", false, func(t *testing.T, a answer) {
					a.wants(t, `28`) // ENOSPC
				}},
				{"leaks-descriptors", "import os\n  n = 0\n  try:\n   while True:\n    os.dup(0); n += 1\n  except OSError as e: return [e.errno, n > 900, n <= 1024]", false, func(t *testing.T, a answer) {
					a.wants(t, `[24, true, true]`) // EMFILE
				}},
				{"closes-its-output", "import os; os.close(1); os.close(2)", false, func(t *testing.T, a answer) {
					a.wants(t, `"ok"`)
				}},
			} {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					s := s.with(t)
					s.python(test.name, "def handler(event, context):\n if event.get('bad'):\n  "+test.code+"\n return 'ok'\n",
						func(in *lambda.CreateFunctionInput) {
							in.Timeout = aws.Int32(3)
							if test.name == "fills-tmp" || test.name == "forks" {
								in.Timeout = aws.Int32(30)
							}
							if test.small {
								in.MemorySize = aws.Int32(128)
							}
						})
					test.check(t, s.invoke(test.name, `{"bad":true}`))
					s.invoke(test.name, `{}`).wants(t, `"ok"`)
				})
			}
		})
	}
}

// TestInitializationFailures covers functions that do not get to their first
// invocation.
func TestInitializationFailures(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			s := newServer(t, "--isolation", isolation)
			for _, test := range []struct {
				name, runtime, handler string
				code                   files
				errorType, words       string
			}{
				{"no-module", "python3.11", "nothing.handler", files{"app.py": ""}, "Runtime.ImportModuleError", "Unable to import module 'nothing': No module named 'nothing'"},
				{"no-function", "python3.11", "app.nothing", files{"app.py": ""}, "Runtime.HandlerNotFound", "Handler 'nothing' missing on module 'app'"},
				{"bad-syntax", "python3.11", "app.handler", files{"app.py": "def ("}, "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"},
				{"node-no-module", "nodejs22.x", "nothing.handler", files{"index.mjs": ""}, "Runtime.ImportModuleError", "Cannot find module 'nothing'"},
				{"node-no-function", "nodejs22.x", "index.nothing", files{"index.mjs": "export const handler = 1"}, "Runtime.HandlerNotFound", "index.nothing is undefined or not exported"},
				{"exits-at-start", "python3.11", "app.handler", files{"app.py": "import os; os._exit(3)"}, "Runtime.ExitError", "Runtime exited with error: exit status 3"},
				{"no-bootstrap", "provided.al2023", "x", files{"other": "x"}, "Runtime.InvalidEntrypoint", "bootstrap"},
				{"not-executable", "provided.al2023", "x", files{"bootstrap": "#!/bin/sh\n"}, "Runtime.InvalidEntrypoint", "permission denied"},
				{"wrong-format", "provided.al2023", "x", files{"bootstrap*": "not a program"}, "Runtime.InvalidEntrypoint", "exec format error"},
			} {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					s := s.with(t)
					s.create(test.name, test.runtime, test.handler, test.code, func(in *lambda.CreateFunctionInput) {
						in.MemorySize, in.Timeout = aws.Int32(512), aws.Int32(10)
					})
					s.invoke(test.name, `{}`).fails(t, test.errorType, test.words)
					s.invoke(test.name, `{}`).fails(t, test.errorType, test.words) // and again
				})
			}
		})
	}
}

// TestEnvironmentsAreKept shows what stays between the invocations of one
// environment, and what a reset takes away.
func TestEnvironmentsAreKept(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(isolation, func(t *testing.T) {
			s := newServer(t, "--isolation", isolation)
			s.python("counter", `
import os
n = 0
def handler(event, context):
    global n
    n += 1
    with open('/tmp/log', 'a') as f: f.write('x')
    if event.get('exit'): os._exit(1)
    return [n, os.path.getsize('/tmp/log')]
`)
			s.invoke("counter", `{}`).wants(t, `[1, 1]`)
			s.invoke("counter", `{}`).wants(t, `[2, 2]`)
			s.invoke("counter", `{"exit":true}`).fails(t, "Runtime.ExitError", "exit status 1")
			s.invoke("counter", `{}`).wants(t, `[1, 4]`) // a new process with the same /tmp
		})
	}
}

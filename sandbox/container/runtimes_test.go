package container

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kiln/sandbox"
)

// Programs that exercise threads, children, timers, DNS, random numbers and what
// a runtime asks the kernel about itself. Each prints "ok" at its end.
var runtimePrograms = map[string]struct {
	command []string
	source  string
}{
	"node": {[]string{"/usr/bin/node", "/tmp/program"}, `
const os = require('os'), fs = require('fs'), net = require('net'), cp = require('child_process');
const { Worker } = require('worker_threads');
os.networkInterfaces(); os.cpus(); os.freemem(); os.availableParallelism();
fs.writeFileSync('/tmp/x', require('crypto').randomBytes(1 << 20));
fs.watch('/tmp', () => {}).close();
const server = net.createServer(s => s.end('hi')).listen(0, '127.0.0.1', () => {
  net.connect(server.address().port, '127.0.0.1').on('data', () => {
    server.close();
    if (cp.execFileSync(process.execPath, ['-p', '6*7']).toString() !== '42\n') throw new Error('child');
    new Worker('setTimeout(() => require("worker_threads").parentPort.postMessage(fetch.name), 5)', { eval: true })
      .on('message', () => require('dns').lookup('localhost', () => console.log('ok')));
  });
});`},
	"python": {[]string{"/usr/bin/python3", "/tmp/program"}, `
import os, socket, subprocess, sys, threading, tempfile, multiprocessing, asyncio, select, mmap, signal, time, ctypes, ssl, resource
os.cpu_count(); os.sched_getaffinity(0); socket.if_nameindex(); os.getloadavg()
with tempfile.NamedTemporaryFile() as f: f.write(os.urandom(1 << 20)); f.flush(); os.fsync(f.fileno())
assert subprocess.check_output([sys.executable, '-c', 'print(6*7)']) == b'42\n'
t = threading.Thread(target=time.sleep, args=(0.01,)); t.start(); t.join()
q = multiprocessing.get_context('fork').Queue()
p = multiprocessing.get_context('fork').Process(target=q.put, args=(42,)); p.start(); assert q.get() == 42; p.join()
async def main():
    server = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)
    r, w = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await r.read() == b''; w.close(); server.close()
    await (await asyncio.create_subprocess_exec('/bin/true')).wait()
asyncio.run(main())
m = mmap.mmap(-1, 1 << 20); m.write(b'x')
print('ok')`},
	"java": {[]string{"/usr/bin/java", "-Xmx64m", "/tmp/Program.java"}, `
public class Program {
  public static void main(String[] a) throws Exception {
    Runtime.getRuntime().availableProcessors();
    var t = new Thread(() -> {}); t.start(); t.join();
    java.net.NetworkInterface.networkInterfaces().count();
    java.nio.file.Files.writeString(java.nio.file.Path.of("/tmp/x"), "x");
    if (new ProcessBuilder("/bin/true").start().waitFor() != 0) throw new Exception("child");
    try (var s = new java.net.ServerSocket(0); var c = new java.net.Socket("127.0.0.1", s.getLocalPort())) { s.accept().close(); }
    new java.security.SecureRandom().nextInt();
    System.out.println("ok");
  }
}`},
	"shell": {[]string{"/bin/bash", "/tmp/program"}, `
set -e
for i in 1 2 3; do echo $i | cat | sort > /tmp/x; done
test "$(id -u)" = 990
(sleep 0.01 & wait)
tar -C /tmp -cf - x | tar -tf - > /dev/null
echo ok`},
}

// The machine's own interpreters run inside as they do outside.
func TestRuntimes(t *testing.T) {
	b := newBackend(t)
	for name, program := range runtimePrograms {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(program.command[0]); err != nil {
				t.Skip("not installed")
			}
			spec := newSpec(t)
			machineRoot(t, &spec)
			file := filepath.Join(spec.Mounts[0].Source, filepath.Base(program.command[len(program.command)-1]))
			if err := os.WriteFile(file, []byte(program.source), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(program.command[0], append(program.command[1:len(program.command)-1:len(program.command)-1], file)...).CombinedOutput(); name != "shell" && err != nil {
				t.Skipf("it does not run outside: %v, %s", err, out)
			}
			spec.Process.Args = program.command
			spec.Process.Env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8"}
			spec.Limits = sandbox.Limits{MemoryBytes: 1 << 30, CPUMillis: 2000, Processes: 1024, Files: 1024}
			x := start(t, b, spec)
			out, err := io.ReadAll(x.out)
			if err != nil {
				t.Fatal(err)
			}
			if exit := x.wait(t); exit != (sandbox.Exit{}) || strings.TrimSpace(string(out)) != "ok" {
				t.Errorf("%+v, %q, %s", exit, out, x.stderr())
			}
			usage, err := x.Usage()
			t.Logf("%+v, %v", usage, err)
		})
	}
}

// machineRoot puts the machine's programs into a spec's root.
func machineRoot(t *testing.T, spec *sandbox.Spec) {
	t.Helper()
	for _, name := range []string{"bin", "lib", "lib64", "usr", "etc"} {
		inside := filepath.Join(spec.Root, name)
		os.Remove(inside)
		if target, err := os.Readlink("/" + name); err == nil {
			if err := os.Symlink(target, inside); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := os.Stat("/" + name); err != nil {
			continue
		}
		if err := os.Mkdir(inside, 0o755); err != nil {
			t.Fatal(err)
		}
		spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: "/" + name, Target: "/" + name})
	}
}

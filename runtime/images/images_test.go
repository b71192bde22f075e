package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kiln/lambda"
)

func TestUnknownRuntime(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Ensure(context.Background(), "cobol85", nil)
	if lambda.CodeOf(err) != lambda.CodeInvalidParameter || !strings.Contains(err.Error(), "python3.11") {
		t.Error(err)
	}
	list, err := s.List()
	if err != nil || len(list) != len(lambda.SupportedRuntimes()) || list[0].Built {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestMissingTool(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	_, err = s.Ensure(context.Background(), "python3.11", nil)
	var missing *MissingToolError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "apt-get install "+missing.Package) {
		t.Error(err)
	}
}

// A waiting caller gives up with its context and takes what the holder built.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	a, _ := Open(Config{Dir: dir})
	b, _ := Open(Config{Dir: dir}) // as another process would
	held, release := make(chan bool), make(chan bool)
	go a.locked(context.Background(), nil, func(func(string)) (Image, error) {
		close(held)
		<-release
		path := filepath.Join(dir, "f.erofs")
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return Image{}, err
		}
		return Image{}, a.writeManifest(manifest{Runtime: "nodejs22.x", File: "f.erofs", Version: "v", Builder: builder("nodejs22.x"), Source: fromPackages})
	})
	<-held
	ctx, cancel := context.WithCancel(context.Background())
	waits := func(step string) { cancel() }
	if _, err := b.Ensure(ctx, "nodejs22.x", waits); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait: %v", err)
	}
	released := func(step string) {
		select {
		case <-release:
		default:
			close(release)
		}
	}
	img, err := b.Ensure(context.Background(), "nodejs22.x", released)
	if err != nil || img.Version != "v" {
		t.Errorf("%+v, %v", img, err)
	}
}

// An image of another builder is not used, one that was pulled is.
func TestManifest(t *testing.T) {
	s, _ := Open(Config{Dir: t.TempDir()})
	m := manifest{Runtime: "nodejs22.x", File: "f.erofs", Builder: "0", Source: fromPackages, Built: time.Unix(1, 0).UTC()}
	if err := s.writeManifest(m); err != nil {
		t.Fatal(err)
	}
	if _, err := s.manifest(m.Runtime); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of an older builder: %v", err)
	}
	m.Source = "example.test/image:1"
	if err := s.writeManifest(m); err != nil {
		t.Fatal(err)
	}
	if _, err := s.manifest(m.Runtime); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.cfg.Dir, m.File), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := s.manifest(m.Runtime); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCommand(t *testing.T) {
	node := Image{Runtime: "nodejs22.x", Entrypoint: Entrypoint("nodejs22.x")}
	python := Image{Runtime: "python3.11", Entrypoint: Entrypoint("python3.11")}
	provided := Image{Runtime: "provided.al2023", Entrypoint: Entrypoint("provided.al2023")}
	for _, c := range []struct {
		img     Image
		memory  int
		wrapper string
		want    string
	}{
		{node, 0, "", "/var/lang/bin/node --expose-gc --max-http-header-size 81920 /var/runtime/index.js"},
		{node, 128, "", "/var/lang/bin/node --expose-gc --max-http-header-size 81920 --max-semi-space-size=6 --max-old-space-size=116 /var/runtime/index.js"},
		{python, 128, "/opt/wrap", "/opt/wrap /var/lang/bin/python3.11 /var/runtime/bootstrap.py"},
		{provided, 128, "/opt/wrap", "/var/task/bootstrap"},
	} {
		if got := strings.Join(c.img.Command(c.memory, c.wrapper), " "); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
	if node.Entrypoint[len(node.Entrypoint)-2] != "81920" {
		t.Error("Command has changed the image's entry point")
	}
}

func TestEnvironment(t *testing.T) {
	node := Environment("nodejs22.x")
	for _, want := range []string{
		"AWS_EXECUTION_ENV=AWS_Lambda_nodejs22.x", "LAMBDA_TASK_ROOT=/var/task", "LAMBDA_RUNTIME_DIR=/var/runtime", "TZ=:UTC",
		"NODE_PATH=/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task",
	} {
		if !slices.Contains(node, want) {
			t.Errorf("no %s in %q", want, node)
		}
	}
	for _, v := range Environment("provided.al2023") {
		if strings.HasPrefix(v, "AWS_EXECUTION_ENV=") {
			t.Error("functions with their own runtime have no AWS_EXECUTION_ENV")
		}
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("sources.list", "# a comment\ndeb http://a.test/debian bookworm main contrib\ndeb-src http://a.test/debian bookworm main\n"+
		"deb [arch=amd64 signed-by=/k.gpg] http://a.test/security bookworm-security main # end\n")
	write("sources.list.d/third.list", "deb https://third.test/apt cloud-bookworm main\ndeb https://third.test/x bookworm stable\n")
	write("sources.list.d/debian.sources", "Types: deb deb-src\nURIs: http://b.test/debian\n# x\nSuites: bookworm bookworm-updates\nComponents: main\n"+
		"Signed-By:\n -----BEGIN\n .\n -----END\n\nTypes: deb\nEnabled: no\nURIs: http://c.test\nSuites: bookworm\nComponents: main\n")
	all, err := machineSources(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := formatSources(sourcesFor(all, "bookworm", "trixie"))
	want := "Types: deb\nURIs: http://a.test/debian\nSuites: trixie\nComponents: main\n\n" +
		"Types: deb\nURIs: http://a.test/security\nSuites: trixie-security\nComponents: main\nSigned-By: /k.gpg\n\n" +
		"Types: deb\nURIs: http://b.test/debian\nSuites: trixie\nComponents: main\nSigned-By: \n -----BEGIN\n .\n -----END\n\n" +
		"Types: deb\nURIs: http://b.test/debian\nSuites: trixie-updates\nComponents: main\nSigned-By: \n -----BEGIN\n .\n -----END\n\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParsePlan(t *testing.T) {
	plan := `NOTE: This is only a simulation!
Inst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst libattr1 (1:2.5.1-4 Debian:12.15/oldstable [amd64])
Inst tzdata:all (2026b-0 Debian:12.15/oldstable [all])
Conf libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64])
`
	got := parsePlan(plan, "/a")
	want := []debianPackage{
		{"libc6", "2.36-9+deb12u14", "/a/libc6_2.36-9+deb12u14_amd64.deb"},
		{"libattr1", "1:2.5.1-4", "/a/libattr1_1%3a2.5.1-4_amd64.deb"},
		{"tzdata", "2026b-0", "/a/tzdata_2026b-0_all.deb"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestNewestVersion(t *testing.T) {
	for out, want := range map[string]string{
		`["22.9.0","22.23.3","22.4.1"]`: "22.23.3",
		`"24.1.0"`:                      "24.1.0",
		`["25.0.0-rc.1","24.0.0"]`:      "24.0.0",
	} {
		if got, err := newestVersion([]byte(out)); got != want || err != nil {
			t.Errorf("%s: %q, %v", out, got, err)
		}
	}
	if got, err := newestVersion(nil); err == nil {
		t.Errorf("nothing: %q", got)
	}
}

// Links lead where they would from inside, and never out.
func TestTree(t *testing.T) {
	tr := tree{t.TempDir()}
	outside := t.TempDir()
	for _, step := range []error{
		tr.mkdir("/usr/lib", 0o755),
		tr.symlink("usr/lib", "/lib"),
		tr.symlink("/lib", "/usr/abs"),
		tr.symlink("../../../.."+outside, "/out"),
		tr.symlink("loop", "/loop"),
		tr.write("/usr/abs/../lib/f", []byte("1"), 0o644),
		tr.write("/lib/g", []byte("2"), 0o755),
		tr.mkdir("/lib", 0o755), // stays a link, as in a merged /usr
		tr.write("/out/escaped", nil, 0o644),
	} {
		if step != nil {
			t.Error(step)
		}
	}
	for _, name := range []string{"/usr/lib/f", "/usr/lib/g", outside + "/escaped"} {
		if _, err := os.Lstat(filepath.Join(tr.root, name)); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("written outside: %v", left)
	}
	if err := tr.write("/loop/f", nil, 0o644); err == nil {
		t.Error("a link to itself was followed to an end")
	}
	if tr.exists("/loop") || tr.exists("/nothing") || !tr.exists("/lib/g") {
		t.Error("exists")
	}
	if err := tr.remove("/"); err == nil {
		t.Error("the root was removed")
	}
}

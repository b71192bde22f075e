package images

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"kiln/lambda"
)

// sharedStore is the directory of the store that the tests share, "" until one
// asks for it.
var sharedStore string

func TestMain(m *testing.M) {
	code := m.Run()
	if sharedStore != "" && os.Getenv("KILN_TEST_STORE") == "" {
		os.RemoveAll(sharedStore)
	}
	os.Exit(code)
}

// testStore returns a store for tests that build from packages. They need a
// machine that can: root, the tools and the package archives. KILN_TEST_STORE
// names a directory to keep, so that later runs need not download again.
func testStore(t *testing.T) *Store {
	t.Helper()
	if testing.Short() {
		t.Skip("builds images, which downloads packages")
	}
	if os.Geteuid() != 0 {
		t.Skip("building images needs root")
	}
	if err := need("apt-get", "dpkg-deb", "npm"); err != nil {
		t.Skip(err)
	}
	if sharedStore == "" {
		sharedStore = os.Getenv("KILN_TEST_STORE")
	}
	if sharedStore == "" {
		dir, err := os.MkdirTemp("", "kiln-images-")
		if err != nil {
			t.Fatal(err)
		}
		sharedStore = dir
	}
	s, err := Open(Config{Dir: sharedStore})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testRuntimes are those that the tests build: one of each family, or those
// that KILN_TEST_BUILDS lists, separated by commas.
func testRuntimes() []lambda.Runtime {
	names := []string{"python3.11", "nodejs22.x", "provided.al2023"}
	if list := os.Getenv("KILN_TEST_BUILDS"); list != "" {
		names = strings.Split(list, ",")
	}
	var runtimes []lambda.Runtime
	for _, n := range names {
		runtimes = append(runtimes, lambda.Runtime(n))
	}
	return runtimes
}

// Building twice from the same packages gives the same bytes. Python's images
// have the most in them that might differ: what is compiled and installed.
func TestBuildIsDeterministic(t *testing.T) {
	s := testStore(t)
	r := testRuntimes()[0]
	begun := time.Now()
	note := func(step string) { t.Logf("%6.2fs %s", time.Since(begun).Seconds(), step) }
	first, err := s.Build(context.Background(), r, note)
	if err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	second, err := s.Build(context.Background(), r, note)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, %d bytes, %.2fs from a warm cache", second.Version, second.Size, time.Since(begun).Seconds())
	if first.Digest != second.Digest {
		t.Errorf("built %s, then %s", first.Digest, second.Digest)
	}
	again, err := s.Ensure(context.Background(), r, func(step string) { t.Errorf("Ensure: %s", step) })
	if err != nil || again.Path != second.Path {
		t.Errorf("%+v, %v", again, err)
	}
}

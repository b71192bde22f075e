package images

import (
	"archive/zip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// installPythonArtifact unpacks a Python build from a Maven artifact to
// /var/lang, where Lambda's own images have theirs.
func (b *build) installPythonArtifact(ctx context.Context, a pythonArtifact) error {
	if err := need("mvn"); err != nil {
		return err
	}
	archive, err := b.fetchArtifact(ctx, a.coordinates, "linux-"+mavenArch())
	if err != nil {
		return err
	}
	files, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(archive), err)
	}
	defer files.Close()
	prefix := a.prefix + mavenArch() + "/"
	for _, f := range files.File {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok || f.FileInfo().IsDir() || !wantedOfBuild(name) {
			continue
		}
		content, err := f.Open()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		// Java archives have no modes.
		mode := os.FileMode(0o644)
		if strings.HasPrefix(name, "bin/") || strings.Contains(filepath.Base(name), ".so") {
			mode = 0o755
		}
		if !strings.Contains(name, "/") {
			name = "lib/" + name // the shared libraries, which are beside bin and lib
		}
		err = b.tree.copyFrom("/var/lang/"+name, content, mode)
		content.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	version := strings.Split(a.coordinates, ":")[2]
	version, _, _ = strings.Cut(version, "-")
	b.packages["cpython"] = version
	b.version = "python:" + version
	program := "python" + pythonVersion(b.runtime)
	for name, target := range map[string]string{
		"/var/lang/bin/python3": program, "/var/lang/bin/python": program, "/usr/bin/python3": "/var/lang/bin/" + program,
	} {
		if err := b.tree.symlink(target, name); err != nil {
			return err
		}
	}
	// The build's OpenSSL looks for certificates where it was built.
	b.env = append(b.env, "SSL_CERT_FILE="+certificateBundle)
	// Programs that clear LD_LIBRARY_PATH find the library too.
	if err := b.tree.write("/etc/ld.so.conf.d/lang.conf", []byte("/var/lang/lib\n"), 0o644); err != nil {
		return err
	}
	return linkLibraries(ctx, b.tree)
}

// wantedOfBuild leaves out what is for building against Python, and its tests.
func wantedOfBuild(name string) bool {
	for _, part := range []string{
		"include/", "share/", "libs/", "lib/pkgconfig/", "/test/", "/tests/", "/idlelib/", "/turtledemo/", "/config-",
		"/ensurepip/_bundled/", "/lib2to3/", "/site-packages/",
	} {
		if strings.HasPrefix(name, part) || strings.Contains(name, part) {
			return false
		}
	}
	if rest, ok := strings.CutPrefix(name, "bin/"); ok {
		version, ok := strings.CutPrefix(rest, "python3.")
		return ok && !strings.Contains(version, "-")
	}
	if !strings.Contains(name, "/") {
		return strings.HasPrefix(name, "lib") && !strings.HasPrefix(name, "libjni")
	}
	return !strings.HasSuffix(name, ".a")
}

// fetchArtifact has Maven download an artifact to the cache and returns its file.
func (b *build) fetchArtifact(ctx context.Context, coordinates, classifier string) (string, error) {
	parts := strings.Split(coordinates, ":")
	dir := filepath.Join(b.cache, "maven")
	file := fmt.Sprintf("%s-%s-%s.jar", parts[1], parts[2], classifier)
	path := filepath.Join(dir, filepath.FromSlash(strings.ReplaceAll(parts[0], ".", "/")), parts[1], parts[2], file)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	b.note("downloading " + file)
	_, err := run(ctx, "", "mvn", "-q", "-B", "-Dmaven.repo.local="+dir, "dependency:get",
		"-Dartifact="+coordinates+":jar:"+classifier, "-Dtransitive=false")
	return path, err
}

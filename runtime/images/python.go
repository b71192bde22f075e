package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"kiln/lambda"
)

// pythonReleases are the releases that have a Python version as a package, by
// distribution; the machine's own release is preferred where it is one of them.
// The whole userland of an image is of one release.
var pythonReleases = map[string]map[string][]string{
	"debian": {
		"3.11": {"bookworm"},
		"3.13": {"trixie", "forky"},
		"3.14": {"forky", "sid"},
	},
	"ubuntu": {
		"3.12": {"noble"},
		"3.13": {"plucky", "questing"},
		"3.14": {"resolute"},
	},
}

// pythonArtifact is a Maven artifact with a whole Python build, for versions
// that no Debian release has.
type pythonArtifact struct {
	coordinates string // without the classifier, which names the platform
	prefix      string // of the build's files in it, before the platform
}

var pythonArtifacts = map[string]pythonArtifact{
	"3.12": {"org.bytedeco:cpython:3.12.1-1.5.10", "org/bytedeco/cpython/linux-"},
}

// userlandOf returns the release that the image's userland is of, and the
// packages it needs beyond the userland that all images have.
func (b *build) userlandOf(machine release) (codename string, packages []string, err error) {
	if b.runtime.Family() != lambda.FamilyPython {
		return machine.codename, nil, nil
	}
	version := pythonVersion(b.runtime)
	if releases := pythonReleases[machine.distribution][version]; len(releases) > 0 {
		codename = releases[0]
		for _, r := range releases {
			if r == machine.codename {
				codename = r
			}
		}
		return codename, []string{"python" + version, "libpython" + version + "-stdlib"}, nil
	}
	if _, ok := pythonArtifacts[version]; ok {
		// What the build's extension modules link against and does not bring.
		return machine.codename, []string{"libffi8", "libsqlite3-0", "libreadline8", "libbz2-1.0", "liblzma5", "libuuid1", "libncursesw6", "libcrypt1"}, nil
	}
	return "", nil, fmt.Errorf("no source is known for Python %s on %s; pull the runtime from an OCI image instead", version, machine.distribution)
}

// installPython finishes a Python image, whose packages are in place already
// if a release has them.
func (b *build) installPython(ctx context.Context, boto3 bool) error {
	version := pythonVersion(b.runtime)
	library := "/usr/lib/python" + version
	if b.tree.exists("/usr/bin/python" + version) {
		if err := b.linkPython(version); err != nil {
			return err
		}
		full, _, _ := strings.Cut(b.packages["python"+version], "-")
		b.version = "python:" + full
	} else {
		library = "/var/lang/lib/python" + version
		if err := b.installPythonArtifact(ctx, pythonArtifacts[version]); err != nil {
			return err
		}
	}
	if boto3 {
		b.installBoto3(ctx)
	}
	if err := b.layBootstrap(); err != nil {
		return err
	}
	// The file system is read-only, so modules are compiled now; they never
	// change, so nothing need be checked when they are imported.
	b.note("compiling Python's modules")
	return runIn(ctx, b.tree, pythonProgram(b.runtime), "-B", "-s", "-S", "-m", "compileall", "-qq", "-f",
		"--invalidation-mode", "unchecked-hash", "-x", `/(test|tests|lib2to3|idlelib|turtledemo)/`, library, "/var/runtime")
}

// linkPython makes Debian's interpreter known by the names that Lambda's has,
// and takes out what functions have no use for.
func (b *build) linkPython(version string) error {
	links := map[string]string{
		"/var/lang/bin/python" + version: "/usr/bin/python" + version,
		"/var/lang/bin/python3":          "python" + version,
		"/var/lang/bin/python":           "python" + version,
		"/usr/bin/python3":               "python" + version,
	}
	for name, target := range links {
		if err := b.tree.symlink(target, name); err != nil {
			return err
		}
	}
	library := "/usr/lib/python" + version
	// Marks an environment that Debian's packages manage, where pip refuses to work.
	return b.tree.remove(library+"/EXTERNALLY-MANAGED", library+"/test", library+"/idlelib", library+"/turtledemo")
}

// installBoto3 bundles the AWS SDK, as AWS does. Functions that use it can
// bring their own, so an image without it is better than none.
func (b *build) installBoto3(ctx context.Context) {
	if err := need("pip3"); err != nil {
		b.note("boto3 is left out: " + err.Error())
		return
	}
	b.note("installing boto3")
	dir, err := b.tree.target("/var/runtime")
	if err == nil {
		_, err = run(ctx, dir, "pip3", "install", "--quiet", "--disable-pip-version-check", "--no-warn-conflicts",
			"--root-user-action", "ignore", "--no-compile", "--only-binary", ":all:", "--target", dir,
			"--python-version", pythonVersion(b.runtime), "--implementation", "py", "--abi", "none", "--platform", "any",
			"--cache-dir", filepath.Join(b.cache, "pip"), "boto3")
	}
	if err != nil {
		b.note("boto3 is left out: " + err.Error())
		return
	}
	infos, _ := filepath.Glob(filepath.Join(dir, "*.dist-info"))
	for _, info := range infos {
		name, version, _ := strings.Cut(strings.TrimSuffix(filepath.Base(info), ".dist-info"), "-")
		b.packages[name] = version
		// Says when and by what it was installed, which differs from build to build.
		for _, file := range []string{"RECORD", "REQUESTED", "INSTALLER", "direct_url.json"} {
			os.Remove(filepath.Join(info, file))
		}
	}
	os.RemoveAll(filepath.Join(dir, "bin"))
}

package images

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// listsAge is how old package lists may get before they are fetched again.
const listsAge = 24 * time.Hour

// release is a distribution's release, of which an image's userland is made.
type release struct {
	distribution string // ID of os-release: "debian", "ubuntu"
	codename     string
}

// machineRelease reads the machine's own release from its os-release file.
func machineRelease() (release, error) {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return release{}, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields[k] = strings.Trim(v, `"'`)
	}
	r := release{fields["ID"], fields["VERSION_CODENAME"]}
	if r.codename == "" {
		return r, fmt.Errorf("images are built from the packages of Debian or Ubuntu, which this machine (%s) is not; pull them from OCI images instead", r.distribution)
	}
	return r, nil
}

// apt resolves and downloads packages of one release into a private directory.
// It uses the machine's sources and trusted keys, but neither its state nor
// its installed packages.
type apt struct {
	dir      string // state of this release
	archives string // downloaded packages, shared by all
	machine  release
	release  string
}

// debianPackage is a package as resolved: with a version, and where its archive is.
type debianPackage struct {
	name, version, archive string
}

// newApt prepares the directory below cache.
func newApt(cache string, machine release, codename string) (*apt, error) {
	a := &apt{
		dir:      filepath.Join(cache, "apt", codename),
		archives: filepath.Join(cache, "apt", "archives"),
		machine:  machine,
		release:  codename,
	}
	for _, d := range []string{a.dir + "/state/lists/partial", a.dir + "/cache", a.archives + "/partial"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	configured, err := machineSources("/etc/apt")
	if err != nil {
		return nil, err
	}
	sources := sourcesFor(configured, machine.codename, codename)
	if len(sources) == 0 {
		return nil, fmt.Errorf("apt has no source for %s (component main) in /etc/apt", machine.codename)
	}
	// An empty list of installed packages: everything needed is downloaded.
	if err := os.WriteFile(a.dir+"/status", nil, 0o644); err != nil {
		return nil, err
	}
	return a, os.WriteFile(a.dir+"/apt.sources", []byte(formatSources(sources)), 0o644)
}

func (a *apt) get(ctx context.Context, args ...string) ([]byte, error) {
	return run(ctx, a.dir, append([]string{"apt-get", "-q", "-y",
		"-o", "Dir::State=" + a.dir + "/state",
		"-o", "Dir::State::status=" + a.dir + "/status",
		"-o", "Dir::Cache=" + a.dir + "/cache",
		"-o", "Dir::Cache::archives=" + a.archives,
		"-o", "Dir::Etc::sourcelist=" + a.dir + "/apt.sources",
		"-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::Etc::preferencesparts=-",
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"-o", "Acquire::Languages=none",
		"-o", "APT::Install-Recommends=false",
		"-o", "APT::Sandbox::User=root", // apt's own user cannot write here
	}, args...)...)
}

// fetch downloads the packages and everything they depend on.
func (a *apt) fetch(ctx context.Context, names []string, note func(string)) ([]debianPackage, error) {
	stamp := a.dir + "/updated"
	fresh := false
	update := func() error {
		note("fetching the package lists of " + a.release)
		if _, err := a.get(ctx, "update"); err != nil {
			return err
		}
		fresh = true
		return os.WriteFile(stamp, nil, 0o644)
	}
	info, err := os.Stat(stamp)
	if err != nil || time.Since(info.ModTime()) > listsAge {
		// With lists of an earlier day, a machine without a network can still
		// build from its cache.
		if err := update(); err != nil && (info == nil || ctx.Err() != nil) {
			return nil, err
		}
	}
	packages, err := a.download(ctx, names, note)
	if err != nil && !fresh && ctx.Err() == nil {
		// The archive has moved on since the lists were fetched.
		if err := update(); err != nil {
			return nil, err
		}
		packages, err = a.download(ctx, names, note)
	}
	return packages, err
}

func (a *apt) download(ctx context.Context, names []string, note func(string)) ([]debianPackage, error) {
	plan, err := a.get(ctx, append([]string{"install", "--simulate"}, names...)...)
	if err != nil {
		return nil, err
	}
	packages := parsePlan(string(plan), a.archives)
	missing := 0
	for _, p := range packages {
		if _, err := os.Stat(p.archive); err != nil {
			missing++
		}
	}
	if missing == 0 {
		return packages, nil
	}
	note(fmt.Sprintf("downloading %d packages of %s", missing, a.release))
	_, err = a.get(ctx, append([]string{"install", "--download-only"}, names...)...)
	return packages, err
}

// planLine matches "Inst NAME (VERSION ORIGIN [ARCHITECTURE])" of apt-get's simulation.
var planLine = regexp.MustCompile(`(?m)^Inst (\S+?)(?::\S+)? \((\S+) .*\[(\S+)\]\)`)

// parsePlan reads a simulation. apt names archives NAME_VERSION_ARCHITECTURE.deb
// and writes a colon as %3a.
func parsePlan(plan, archives string) []debianPackage {
	var packages []debianPackage
	for _, m := range planLine.FindAllStringSubmatch(plan, -1) {
		file := fmt.Sprintf("%s_%s_%s.deb", m[1], strings.ReplaceAll(m[2], ":", "%3a"), m[3])
		packages = append(packages, debianPackage{m[1], m[2], filepath.Join(archives, file)})
	}
	return packages
}

// unpack puts a package's files into the tree. Maintainer scripts do not run.
func (p debianPackage) unpack(ctx context.Context, t tree, rename func(string) string) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", p.archive)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = t.extract(pipe, false, rename)
	if werr := cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("dpkg-deb: %w: %s", werr, lastLines(stderr.String(), 3))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(p.archive), err)
	}
	return nil
}

package images

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kiln/lambda"
	"kiln/runtime/bootstrap"
)

// build is one image in the making.
type build struct {
	runtime  lambda.Runtime
	tree     tree
	cache    string
	note     func(string)
	packages map[string]string // versions of what went in
	// version is the runtime's own, for people.
	version string
	env     []string // beyond Environment
}

// build makes an image from packages. The caller holds the lock.
func (s *Store) build(ctx context.Context, r lambda.Runtime, note func(string)) (Image, error) {
	if err := need("apt-get", "dpkg-deb"); err != nil {
		return Image{}, fmt.Errorf("build %s: %w", r, err)
	}
	b, err := s.begin(r, note)
	if err != nil {
		return Image{}, fmt.Errorf("build %s: %w", r, err)
	}
	defer os.RemoveAll(b.tree.root)
	if err := s.assemble(ctx, b); err != nil {
		return Image{}, fmt.Errorf("build %s: %w", r, err)
	}
	img, err := s.finish(b, fromPackages, Entrypoint(r), mergeEnv(Environment(r), b.env))
	if err != nil {
		return Image{}, fmt.Errorf("build %s: %w", r, err)
	}
	return img, nil
}

// begin makes an empty tree. What a killed build has left is removed.
func (s *Store) begin(r lambda.Runtime, note func(string)) (*build, error) {
	tmp := filepath.Join(s.cfg.Dir, "tmp")
	if err := os.RemoveAll(tmp); err != nil {
		return nil, err
	}
	root := filepath.Join(tmp, string(r))
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	return &build{
		runtime:  r,
		tree:     tree{root},
		cache:    filepath.Join(s.cfg.Dir, "cache"),
		note:     note,
		packages: map[string]string{},
	}, nil
}

func (s *Store) assemble(ctx context.Context, b *build) error {
	machine, err := machineRelease()
	if err != nil {
		return err
	}
	release, names, err := b.userlandOf(machine)
	if err != nil {
		return err
	}
	a, err := newApt(b.cache, machine, release)
	if err != nil {
		return err
	}
	packages, err := a.fetch(ctx, append(names, userland...), b.note)
	if err != nil {
		return err
	}
	versions, err := layUserland(ctx, b.tree, packages, b.note)
	if err != nil {
		return err
	}
	maps.Copy(b.packages, versions)

	switch b.runtime.Family() {
	case lambda.FamilyNode:
		err = b.installNode(ctx, !s.cfg.NoJavaScriptSDK)
	case lambda.FamilyPython:
		err = b.installPython(ctx, !s.cfg.NoBoto3)
	default:
		b.version = fmt.Sprintf("%s.%s", b.runtime, release)
	}
	if err != nil {
		return err
	}
	return b.layBootstrap()
}

// layBootstrap puts the runtime's bootstrap into the tree, if Kiln has one.
func (b *build) layBootstrap() error {
	files, ok := bootstrap.Files(b.runtime.Family())
	if !ok {
		return nil
	}
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		return b.tree.write(bootstrap.Dir+"/"+name, data, 0o644)
	})
}

// finish seals the tree and makes it the runtime's current image.
func (s *Store) finish(b *build, source string, entrypoint, env []string) (Image, error) {
	b.note("writing the image")
	file, digest, size, err := s.seal(b.tree, b.runtime)
	if err != nil {
		return Image{}, err
	}
	m := manifest{
		Runtime: b.runtime, Version: b.version, File: file, Digest: digest, Size: size,
		Builder: builder(b.runtime), Source: source, Entrypoint: entrypoint, Env: env,
		Packages: b.packages, Built: time.Now().UTC(),
	}
	before, _ := s.manifest(b.runtime)
	if err := s.writeManifest(m); err != nil {
		return Image{}, err
	}
	s.prune(b.runtime, file, before.File)
	return s.image(m), nil
}

// prune removes a runtime's images except the kept ones. That before the
// current one is kept, as a running Kiln may be using it. What cannot be
// removed now is tried again after the next build.
func (s *Store) prune(r lambda.Runtime, keep ...string) {
	files, _ := filepath.Glob(filepath.Join(s.cfg.Dir, string(r)+"-*.erofs"))
	for _, f := range files {
		if !slices.Contains(keep, filepath.Base(f)) {
			os.Remove(f)
		}
	}
}

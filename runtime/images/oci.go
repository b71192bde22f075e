package images

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"kiln/lambda"
	"kiln/runtime/bootstrap"
)

// pull makes an image from an OCI image. The caller holds the lock.
func (s *Store) pull(ctx context.Context, r lambda.Runtime, reference string, note func(string)) (Image, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return Image{}, lambda.Errorf(lambda.CodeInvalidParameter, "pull %s: %w", r, err)
	}
	b, err := s.begin(r, note)
	if err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", r, err)
	}
	defer os.RemoveAll(b.tree.root)
	note("resolving " + reference)
	source, err := remote.Image(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		return Image{}, fmt.Errorf("pull %s from %s: %w", r, reference, err)
	}
	config, err := b.flatten(ctx, source)
	if err != nil {
		return Image{}, fmt.Errorf("pull %s from %s: %w", r, reference, err)
	}
	entrypoint, err := b.adopt(config)
	if err != nil {
		return Image{}, fmt.Errorf("pull %s from %s: %w", r, reference, err)
	}
	digest, err := source.Digest()
	if err != nil {
		return Image{}, err
	}
	b.version = fmt.Sprintf("%s:%s", r, digest.Hex[:12])
	img, err := s.finish(b, reference, entrypoint, mergeEnv(Environment(r), config.Env))
	if err != nil {
		return Image{}, fmt.Errorf("pull %s from %s: %w", r, reference, err)
	}
	return img, nil
}

// flatten unpacks the layers, lowest first, and returns the image's configuration.
func (b *build) flatten(ctx context.Context, source v1.Image) (v1.Config, error) {
	layers, err := source.Layers()
	if err != nil {
		return v1.Config{}, err
	}
	for i, layer := range layers {
		if err := ctx.Err(); err != nil {
			return v1.Config{}, err
		}
		b.note(fmt.Sprintf("unpacking layer %d of %d", i+1, len(layers)))
		content, err := layer.Uncompressed()
		if err != nil {
			return v1.Config{}, err
		}
		err = b.tree.extract(content, true, func(name string) string { return name })
		content.Close()
		if err != nil {
			return v1.Config{}, err
		}
	}
	file, err := source.ConfigFile()
	if err != nil {
		return v1.Config{}, err
	}
	return file.Config, nil
}

// adopt makes a flattened image one that sandboxes can use, and returns its
// entry point: the Runtime API client that the image has, else its own entry
// point, else our bootstrap on its interpreter.
func (b *build) adopt(config v1.Config) ([]string, error) {
	if err := accounts(b.tree); err != nil {
		return nil, err
	}
	if err := layDirectories(b.tree); err != nil {
		return nil, err
	}
	own := bootstrap.Dir + "/bootstrap"
	switch {
	case b.runtime.Family() == lambda.FamilyProvided:
		return Entrypoint(b.runtime), nil
	case b.tree.exists(own):
		return []string{own}, nil
	case b.linkInterpreter():
		return Entrypoint(b.runtime), b.layBootstrap()
	case len(config.Entrypoint) > 0:
		return slices.Clone(config.Entrypoint), nil
	}
	return nil, fmt.Errorf("the image has neither %s, nor an interpreter for %s, nor an entry point", own, b.runtime)
}

// linkInterpreter makes an image's interpreter known by the name that
// Entrypoint has, and reports whether there is one.
func (b *build) linkInterpreter() bool {
	program := Entrypoint(b.runtime)[0]
	if b.tree.exists(program) {
		return true
	}
	base := program[strings.LastIndexByte(program, '/')+1:]
	for _, dir := range []string{"/usr/local/bin/", "/usr/bin/"} {
		if b.tree.exists(dir + base) {
			return b.tree.symlink(dir+base, program) == nil
		}
	}
	return false
}

// mergeEnv returns base with the variables of over added or replaced.
func mergeEnv(base, over []string) []string {
	env := slices.Clone(base)
	for _, v := range over {
		key, _, _ := strings.Cut(v, "=")
		i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, key+"=") })
		if i >= 0 {
			env[i] = v
		} else {
			env = append(env, v)
		}
	}
	return env
}

package images

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"kiln/lambda"
	"kiln/runtime/bootstrap"
)

// builderVersion changes when what Build puts into images does; see builder.
const builderVersion = "2"

// fromPackages is the Source of an image that Build made.
const fromPackages = "packages"

// manifest describes the current image of a runtime. It is the file
// RUNTIME.json, replaced atomically once the image is in place.
type manifest struct {
	Runtime lambda.Runtime `json:"runtime"`
	Version string         `json:"version"`
	// File is the image's name in the store's directory.
	File       string   `json:"file"`
	Digest     string   `json:"digest"`
	Size       int64    `json:"size"`
	Builder    string   `json:"builder"`
	Source     string   `json:"source"`
	Entrypoint []string `json:"entrypoint"`
	Env        []string `json:"env"`
	// Packages are the versions that went in, by package.
	Packages map[string]string `json:"packages,omitempty"`
	Built    time.Time         `json:"built"`
}

// builder identifies what builds a runtime's image: this code and the
// bootstrap that goes in. An image that another one built is built anew.
func builder(r lambda.Runtime) string {
	files, ok := bootstrap.Files(r.Family())
	if !ok {
		return builderVersion
	}
	hash := sha256.New()
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		fmt.Fprintf(hash, "%s %d\n%s", name, len(data), data)
		return err
	})
	if err != nil {
		panic(err) // embedded files can be read
	}
	return builderVersion + "-" + hex.EncodeToString(hash.Sum(nil))[:12]
}

func (s *Store) manifestPath(r lambda.Runtime) string {
	return filepath.Join(s.cfg.Dir, string(r)+".json")
}

// manifest reads a runtime's manifest. Its error is fs.ErrNotExist if there is
// no image that this builder could use.
func (s *Store) manifest(r lambda.Runtime) (manifest, error) {
	var m manifest
	data, err := os.ReadFile(s.manifestPath(r))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%s: %w", s.manifestPath(r), err)
	}
	if m.Source == fromPackages && m.Builder != builder(r) {
		return m, fmt.Errorf("%s is of an older builder: %w", m.File, os.ErrNotExist)
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Dir, m.File)); err != nil {
		return m, err
	}
	return m, nil
}

func (s *Store) writeManifest(m manifest) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	path := s.manifestPath(m.Runtime)
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (s *Store) image(m manifest) Image {
	return Image{
		Runtime:    m.Runtime,
		Path:       filepath.Join(s.cfg.Dir, m.File),
		Entrypoint: m.Entrypoint,
		Env:        m.Env,
		Version:    m.Version,
		Digest:     m.Digest,
		Size:       m.Size,
	}
}

package images

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"kiln/runtime/bootstrap"
)

// installNode puts the newest Node.js of the runtime's major version into the
// tree. npm's packages node-linux-* hold the official builds.
func (b *build) installNode(ctx context.Context, sdk bool) error {
	if err := need("npm"); err != nil {
		return err
	}
	archive, version, err := b.packNode(ctx)
	if err != nil {
		return err
	}
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(archive), err)
	}
	if err := b.copyNode(tar.NewReader(unzipped)); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(archive), err)
	}
	b.packages["node"] = version
	b.version = "nodejs:" + version
	if sdk {
		b.installJavaScriptSDK(ctx)
	}
	return nil
}

// packNode downloads the package, unless the newest is in the cache already,
// and returns its file and version.
func (b *build) packNode(ctx context.Context) (archive, version string, err error) {
	name := "node-linux-" + npmArch()
	dir := filepath.Join(b.cache, "npm")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	major := nodeMajor(b.runtime)
	out, err := run(ctx, dir, "npm", "view", "--json", name+"@"+major, "version")
	if err != nil {
		// Without a network, any version in the cache will do.
		cached, _ := filepath.Glob(filepath.Join(dir, name+"-"+major+".*.tgz"))
		if len(cached) == 0 {
			return "", "", err
		}
		archive = cached[len(cached)-1]
		version = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(archive), name+"-"), ".tgz")
		return archive, version, nil
	}
	if version, err = newestVersion(out); err != nil {
		return "", "", fmt.Errorf("npm view %s@%s: %w", name, major, err)
	}
	archive = filepath.Join(dir, fmt.Sprintf("%s-%s.tgz", name, version))
	if _, err := os.Stat(archive); err == nil {
		return archive, version, nil
	}
	b.note("downloading Node.js " + version)
	_, err = run(ctx, dir, "npm", "pack", "--silent", name+"@"+version)
	return archive, version, err
}

// newestVersion reads what npm view prints: one version, or a list in which
// the newest need not be the last.
func newestVersion(out []byte) (string, error) {
	var list []string
	if err := json.Unmarshal(out, &list); err != nil {
		var one string
		if err := json.Unmarshal(out, &one); err != nil {
			return "", fmt.Errorf("no version in %q", out)
		}
		list = []string{one}
	}
	best, bestKey := "", [3]int{-1}
	for _, v := range list {
		var key [3]int
		// A pre-release has more after the third number.
		if n, _ := fmt.Sscanf(v, "%d.%d.%d", &key[0], &key[1], &key[2]); n != 3 || strings.Contains(v, "-") {
			continue
		}
		if key[0] > bestKey[0] || key[0] == bestKey[0] && (key[1] > bestKey[1] || key[1] == bestKey[1] && key[2] > bestKey[2]) {
			best, bestKey = v, key
		}
	}
	if best == "" {
		return "", fmt.Errorf("no version in %q", out)
	}
	return best, nil
}

// copyNode takes the program and its licence out of the package.
func (b *build) copyNode(archive *tar.Reader) error {
	found := false
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch h.Name {
		case "package/bin/node":
			found = true
			err = b.tree.copyFrom(nodeProgram, archive, 0o755)
		case "package/LICENSE":
			err = b.tree.copyFrom("/usr/share/doc/node/copyright", archive, 0o644)
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return errors.New("has no bin/node")
	}
	return nil
}

// javaScriptSDK are the packages of the AWS SDK that are most in use; all of
// them would be hundreds.
var javaScriptSDK = []string{
	"@aws-sdk/client-dynamodb", "@aws-sdk/lib-dynamodb", "@aws-sdk/client-s3", "@aws-sdk/s3-request-presigner",
	"@aws-sdk/client-sqs", "@aws-sdk/client-sns", "@aws-sdk/client-lambda", "@aws-sdk/client-secrets-manager",
	"@aws-sdk/client-ssm", "@aws-sdk/client-sts", "@aws-sdk/client-kinesis", "@aws-sdk/client-eventbridge",
}

// installJavaScriptSDK bundles the AWS SDK, as AWS does. Functions that use it
// can bring their own, so an image without it is better than none.
func (b *build) installJavaScriptSDK(ctx context.Context) {
	b.note("installing the AWS SDK for JavaScript")
	if err := b.npmInstall(ctx, javaScriptSDK); err != nil {
		b.note("the AWS SDK for JavaScript is left out: " + err.Error())
	}
}

func (b *build) npmInstall(ctx context.Context, names []string) error {
	dir, err := b.tree.target(bootstrap.Dir)
	if err != nil {
		return err
	}
	args := []string{"npm", "install", "--silent", "--no-save", "--no-package-lock", "--ignore-scripts", "--omit=dev", "--prefix", dir}
	if _, err := run(ctx, dir, append(args, names...)...); err != nil {
		// What a failed installation has left would be found by functions.
		return errors.Join(err, b.tree.remove(bootstrap.Dir+"/node_modules"))
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, "node_modules", name, "package.json"))
		if err != nil {
			return err
		}
		var about struct{ Version string }
		if err := json.Unmarshal(data, &about); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.packages[name] = about.Version
	}
	return b.tree.remove(bootstrap.Dir+"/node_modules/.package-lock.json", bootstrap.Dir+"/node_modules/.bin")
}

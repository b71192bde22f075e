package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// language is one handler in its three forms: as a function's code, as a
// server, and what runs both.
type language struct {
	name    string
	runtime string
	handler string
	// code are the files of the function, and extra what the server needs
	// besides, by their names in dir.
	code, extra []string
	// server is the server's command, in the runtime's root and /var/task.
	server []string
	// dir has the files, made by prepare.
	dir string
}

var languages = []language{
	{name: "go", runtime: "provided.al2023", handler: "bootstrap",
		code: []string{"bootstrap"}, extra: []string{"direct"}, server: []string{"/var/task/direct"}},
	{name: "node", runtime: "nodejs22.x", handler: "index.handler",
		code: []string{"index.mjs"}, extra: []string{"direct.mjs"}, server: []string{"/var/lang/bin/node", "/var/task/direct.mjs"}},
	{name: "python", runtime: "python3.11", handler: "app.handler",
		code: []string{"app.py"}, extra: []string{"direct.py"}, server: []string{"/var/lang/bin/python3.11", "/var/task/direct.py"}},
}

// chooseLanguages returns those of a comma-separated list.
func chooseLanguages(list string) ([]language, error) {
	var chosen []language
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(languages, func(l language) bool { return l.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown language %q: there are go, node and python", name)
		}
		chosen = append(chosen, languages[i])
	}
	return chosen, nil
}

// chooseKinds returns those of a comma-separated list; all if it is empty.
func chooseKinds(list string) ([]kind, error) {
	if list == "" {
		return kinds, nil
	}
	var chosen []kind
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown candidate %q: there are %s", name, strings.Join(candidateNames(), ", "))
		}
		chosen = append(chosen, kinds[i])
	}
	return chosen, nil
}

// prepare puts the language's files together below dir.
func (l *language) prepare(ctx context.Context, dir string) error {
	source := filepath.Join("bench", "handlers", l.name)
	if l.name != "go" {
		l.dir = source
		return nil
	}
	l.dir = dir
	for _, program := range []string{"bootstrap", "direct"} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "lambda.norpc", "-ldflags", "-s -w",
			"-o", filepath.Join(dir, program), "./"+filepath.Join(source, program))
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the handler in Go: %w: %s", err, out)
		}
	}
	return nil
}

// copyTo copies named files of the language into a directory.
func (l *language) copyTo(dir string, names []string) error {
	for _, name := range names {
		if err := copyFile(filepath.Join(l.dir, name), filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string, mode fs.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, b, mode); err != nil {
		return err
	}
	return os.Chmod(to, mode) // whatever the umask
}

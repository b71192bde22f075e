package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// rig is what the candidates of a run share.
type rig struct {
	o       options
	dir     string // temporary
	ends    *cleanup
	servers map[string]*server // by isolation
}

// setUp makes every candidate ready to be invoked. Whatever it starts, ends
// stops, also if it returns an error.
func setUp(ctx context.Context, o options, ends *cleanup) ([]*subject, error) {
	chosen, err := chooseLanguages(o.languages)
	if err != nil {
		return nil, err
	}
	wanted, err := chooseKinds(o.only)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{o.out, o.runtimes} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "kiln-bench-")
	if err != nil {
		return nil, err
	}
	ends.add(func() error { return removeTree(dir) })
	r := &rig{o: o, dir: dir, ends: ends, servers: map[string]*server{}}
	var subjects []*subject
	for i := range chosen {
		more, err := r.subjects(ctx, &chosen[i], wanted)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", chosen[i].name, err)
		}
		subjects = append(subjects, more...)
	}
	return subjects, nil
}

// subjects sets up the candidates of one language.
func (r *rig) subjects(ctx context.Context, l *language, wanted []kind) ([]*subject, error) {
	note("setting up %s", l.name)
	dir := filepath.Join(r.dir, l.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	if err := l.prepare(ctx, dir); err != nil {
		return nil, err
	}
	root, err := unpackRoot(ctx, r.o, l.runtime, filepath.Join(r.dir, "root-"+l.name), r.ends)
	if err != nil {
		return nil, err
	}
	if err := l.copyTo(filepath.Join(root.dir, "var/task"), slices.Concat(l.code, l.extra)); err != nil {
		return nil, err
	}
	var subjects []*subject
	for _, k := range wanted {
		s := &subject{language: l.name, name: k.name, memoryMB: k.memoryMB, share: k.share, signing: func() time.Duration { return 0 }}
		if err := r.fill(ctx, s, l, root, k); err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		subjects = append(subjects, s)
	}
	return subjects, nil
}

// fill gives the subject its candidate.
func (r *rig) fill(ctx context.Context, s *subject, l *language, root *root, k kind) error {
	switch {
	case k.isolation != "":
		server, ok := r.servers[k.isolation]
		if !ok {
			var err error
			if server, err = startKiln(ctx, r.o, k.isolation, r.dir, r.ends); err != nil {
				return err
			}
			r.servers[k.isolation] = server
		}
		f, err := newFunction(ctx, server, l, k)
		if err != nil {
			return err
		}
		s.candidate, s.signing = f, f.meanSigning
		return nil
	case k.name == "rie":
		program, err := fetchEmulator(ctx, r.o.out)
		if err != nil {
			return err
		}
		if err := copyFile(program, filepath.Join(root.dir, emulator), 0o755); err != nil {
			return err
		}
		n := newEmulator(l, root, r.dir)
		s.candidate = n
		return n.open(ctx, r.ends)
	default:
		n := newDirect(l, root, r.dir)
		s.candidate = n
		return n.open(ctx, r.ends)
	}
}

// removeTree deletes a directory once nothing is mounted below it: what a
// failed step may have left mounted is the machine's, and not to be deleted.
func removeTree(dir string) error {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var mounted []string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			mounted = append(mounted, fields[1])
		}
	}
	for _, path := range slices.Backward(mounted) {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("%s is left: unmount %s: %w", dir, path, err)
		}
	}
	err = os.RemoveAll(dir)
	if len(mounted) > 0 {
		err = errors.Join(err, fmt.Errorf("these were still mounted: %s", strings.Join(mounted, " ")))
	}
	return err
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// root is the runtime image that Kiln runs a language's functions on, unpacked:
// the direct server and the emulator run the very same interpreter, bootstrap
// and libraries, by chroot and otherwise without any sandbox.
type root struct {
	dir        string
	entrypoint []string // of the runtime; empty if the function brings its own
	env        []string
}

// unpackRoot makes the root in dir out of the runtime's image, which kiln
// builds if it is not there.
func unpackRoot(ctx context.Context, o options, runtime, dir string, ends *cleanup) (*root, error) {
	manifest := filepath.Join(o.runtimes, runtime+".json")
	b, err := os.ReadFile(manifest)
	if errors.Is(err, fs.ErrNotExist) {
		note("building the image of %s, which takes a minute", runtime)
		// kiln keeps runtimes in a folder of this name in its data directory.
		build := exec.CommandContext(ctx, o.kiln, "runtime", "build", runtime, "--data", filepath.Dir(o.runtimes))
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build the runtime %s: %w", runtime, err)
		}
		b, err = os.ReadFile(manifest)
	}
	if err != nil {
		return nil, err
	}
	var image struct {
		File       string
		Entrypoint []string
		Env        []string
	}
	if err := json.Unmarshal(b, &image); err != nil {
		return nil, fmt.Errorf("%s: %w", manifest, err)
	}
	if err := unpack(ctx, filepath.Join(o.runtimes, image.File), dir); err != nil {
		return nil, fmt.Errorf("unpack the runtime %s: %w", runtime, err)
	}
	r := &root{dir: dir, entrypoint: image.Entrypoint, env: image.Env}
	if len(r.entrypoint) == 0 {
		r.entrypoint = []string{"/var/task/bootstrap"}
	}
	return r, r.furnish(ends)
}

// unpack copies what is in an image to a new directory.
func unpack(ctx context.Context, image, dir string) error {
	mounted := dir + "-image"
	for _, d := range []string{dir, mounted} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if out, err := exec.CommandContext(ctx, "mount", "-t", "erofs", "-o", "loop,ro", image, mounted).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	out, err := exec.CommandContext(ctx, "cp", "-a", mounted+"/.", dir).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("copy: %w: %s", err, out)
	}
	return errors.Join(err, unix.Unmount(mounted, 0))
}

// furnish gives the root what an image lacks: /proc and a few devices. They are
// made anew, never bound from the machine, since the root is deleted in the end.
func (r *root) furnish(ends *cleanup) error {
	for _, dir := range []string{"proc", "dev", "tmp", "var/task"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			return err
		}
	}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "random": 8, "urandom": 9} {
		path := filepath.Join(r.dir, "dev", name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make %s: %w", path, err)
		}
	}
	proc := filepath.Join(r.dir, "proc")
	if err := unix.Mount("proc", proc, "proc", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", proc, err)
	}
	ends.add(func() error { return unix.Unmount(proc, unix.MNT_DETACH) })
	return nil
}

// command is a command in the root, without a limit. It is the first of a
// process namespace, so that all that it starts ends with it.
func (r *root) command(args []string, env ...string) *exec.Cmd {
	return &exec.Cmd{
		Path: args[0],
		Args: args,
		Dir:  "/var/task",
		Env:  slices.Concat(r.env, env),
		SysProcAttr: &syscall.SysProcAttr{
			Chroot:     r.dir,
			Cloneflags: syscall.CLONE_NEWPID,
		},
	}
}

package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"kiln/sandbox"
	"kiln/sandbox/cgroup"
)

// Create sets a sandbox up to the point where its first process waits for
// Start: a pool of created sandboxes is a pool of ready ones.
func (b *Backend) Create(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if err := validate(spec); err != nil {
		return nil, fmt.Errorf("create sandbox: %w", err)
	}
	s, err := b.create(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("create sandbox %s: %w", spec.ID, err)
	}
	return s, nil
}

func (b *Backend) create(ctx context.Context, spec sandbox.Spec) (_ *Sandbox, err error) {
	var files inheritance
	defer files.close()
	group, err := b.groups.Create(spec.ID, cgroup.Limits{
		MemoryBytes: spec.Limits.MemoryBytes + b.config.OverheadBytes,
		CPUMillis:   spec.Limits.CPUMillis,
		Pids:        spec.Limits.Processes + 1, // the init is one
		DenyDevices: true,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, group.Destroy(context.WithoutCancel(ctx)))
		}
	}()

	for _, f := range []*os.File{nil, spec.Stdout, spec.Stderr} {
		if f == nil {
			f = b.null
		}
		files.add(f)
	}
	statusRead, statusWrite, err := pipe(true)
	if err != nil {
		return nil, err
	}
	files.own(statusWrite)
	goRead, goWrite, err := pipe(false)
	if err != nil {
		statusRead.Close()
		return nil, err
	}
	files.own(goRead)
	fds, err := b.inherit(&files, spec, group)
	var s *Sandbox
	if err == nil {
		s = newSandbox(spec, group, compile(spec, b.machine, fds), statusRead, goWrite)
		err = b.spawn(s, &files)
	}
	if err != nil {
		statusRead.Close()
		goWrite.Close()
		return nil, err
	}
	files.close()
	go s.follow()
	if err := s.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.Destroy(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// spawn starts the init and notes its pid.
func (b *Backend) spawn(s *Sandbox, files *inheritance) error {
	image, err := s.image.file(b.code, b.elf)
	if err != nil {
		return err
	}
	defer image.Close()
	pidFD := -1
	attr := &syscall.SysProcAttr{Setsid: true, PidFD: &pidFD, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}
	if s.spec.Network == "" {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	// Not "self": in the child the number may stand for another file by then.
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), image.Fd())
	start := func() (err error) {
		s.pid, err = syscall.ForkExec(path, []string{"kiln-init", s.spec.ID},
			&syscall.ProcAttr{Dir: "/", Files: files.fds, Sys: attr})
		return err
	}
	err = b.spawner.do(func() error {
		if b.groups.Version() == cgroup.V2 {
			return s.group.Start(attr, start)
		}
		return start()
	})
	if err != nil {
		return fmt.Errorf("start the init: %w", err)
	}
	s.pidFD = os.NewFile(uintptr(pidFD), "init")
	return nil
}

// inherit opens what the init's steps use.
func (b *Backend) inherit(files *inheritance, spec sandbox.Spec, group *cgroup.Group) (descriptors, error) {
	fds := descriptors{network: -1}
	tasks, err := group.SelfJoinFiles()
	if err != nil {
		return fds, err
	}
	for _, f := range tasks {
		fds.tasks = append(fds.tasks, files.own(f))
	}
	fds.seed = files.add(b.seed)
	if spec.Network != "" {
		f, err := os.Open(spec.Network)
		if err != nil {
			return fds, fmt.Errorf("open the network namespace: %w", err)
		}
		fds.network = files.own(f)
	}
	root, err := openMount(sandbox.Mount{Source: spec.Root})
	if err != nil {
		return fds, err
	}
	fds.root = files.own(root)
	for _, m := range spec.Mounts {
		f, err := openMount(m)
		if err != nil {
			return fds, err
		}
		fds.mounts = append(fds.mounts, files.own(f))
	}
	fds.next = len(files.fds)
	return fds, nil
}

// openMount makes a mount of a directory that is not attached anywhere yet. It
// is private: what is mounted on either side later does not show on the other.
func openMount(m sandbox.Mount) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", m.Source, err)
	}
	f := os.NewFile(uintptr(fd), m.Source)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if !m.Writable {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr); err != nil {
		f.Close()
		return nil, fmt.Errorf("restrict the mount of %s: %w", m.Source, err)
	}
	return f, nil
}

// pipe returns ends that close on exec. pollRead puts the read end into
// non-blocking mode, so that reading it takes no thread.
func pipe(pollRead bool) (read, write *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(p[0], pollRead); err != nil {
		return nil, nil, errors.Join(err, unix.Close(p[0]), unix.Close(p[1]))
	}
	return os.NewFile(uintptr(p[0]), "init"), os.NewFile(uintptr(p[1]), "init"), nil
}

// inheritance are the descriptors that the init starts with, numbered from 0.
type inheritance struct {
	fds   []uintptr
	owned []*os.File
}

// add passes a file on and returns its number in the init.
func (i *inheritance) add(f *os.File) int {
	i.fds = append(i.fds, f.Fd())
	return len(i.fds) - 1
}

// own passes a file on and closes it here afterwards.
func (i *inheritance) own(f *os.File) int {
	i.owned = append(i.owned, f)
	return i.add(f)
}

// close closes what was passed on. The end of the init shows only once its
// ends of the pipes are nobody else's.
func (i *inheritance) close() {
	for _, f := range i.owned {
		f.Close()
	}
	i.owned = nil
}

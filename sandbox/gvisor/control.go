package gvisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// client speaks to a guest kernel's control server: JSON over a unix socket,
// one call at a time on a connection, files beside the messages. gVisor's own
// client holds a thread while it waits for an answer; a worker has a thousand
// of these waiting for their function to exit.
type client struct {
	dir  *os.File // the state directory, so that the path is short whatever its name
	name string
}

// remoteError is an answer that says no, as opposed to no answer.
type remoteError struct{ message string }

// Error implements error.
func (e *remoteError) Error() string { return e.message }

// path fits into a socket address however long the state directory's name is.
func (c client) path() string {
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", c.dir.Fd()), c.name)
}

// listen makes the socket that the guest kernel will serve.
func (c client) listen() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), c.name)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: c.path()}); err != nil {
		file.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	return file, nil
}

// remove deletes the socket.
func (c client) remove() error {
	err := os.Remove(filepath.Join(c.dir.Name(), c.name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// connection is one that several calls can be made on, one after the other. The
// guest kernel does not exit while one is open, unless it is killed.
type connection struct{ *net.UnixConn }

func (c client) dial(ctx context.Context) (connection, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", c.path())
	if err != nil {
		return connection{}, fmt.Errorf("connect to the guest kernel: %w", err)
	}
	return connection{conn.(*net.UnixConn)}, nil
}

// call makes one call. result may be nil. The files that come with the answer
// are the caller's. A refusal is a *remoteError. A connection on which a call
// was given up cannot be used again.
func (c connection) call(ctx context.Context, method string, arg any, files []*os.File, result any) ([]*os.File, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	received, err := exchange(c.UnixConn, method, arg, files, result)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if remote := (*remoteError)(nil); err != nil && !errors.As(err, &remote) {
		err = fmt.Errorf("%s: %w", method, err)
	}
	return received, err
}

func exchange(conn *net.UnixConn, method string, arg any, files []*os.File, result any) ([]*os.File, error) {
	request, err := json.Marshal(struct {
		Method string `json:"method"`
		Arg    any    `json:"arg"`
	}{method, arg})
	if err != nil {
		return nil, err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = syscall.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(request, rights, nil)
	if err == nil && n < len(request) {
		_, err = conn.Write(request[n:])
	}
	if err != nil {
		return nil, err
	}
	reader := &messageReader{conn: conn}
	var answer struct {
		Success bool            `json:"success"`
		Err     string          `json:"err"`
		Result  json.RawMessage `json:"result"`
	}
	err = json.NewDecoder(reader).Decode(&answer)
	if err == nil && !answer.Success {
		err = &remoteError{answer.Err}
	}
	if err == nil && result != nil {
		err = json.Unmarshal(answer.Result, result)
	}
	if err != nil {
		closeAll(reader.files)
		return nil, err
	}
	return reader.files, nil
}

// messageReader reads bytes and keeps the files that come with them.
type messageReader struct {
	conn  *net.UnixConn
	files []*os.File
}

// Read implements io.Reader.
func (r *messageReader) Read(p []byte) (int, error) {
	oob := make([]byte, syscall.CmsgSpace(8*4))
	n, oobn, _, _, err := r.conn.ReadMsgUnix(p, oob)
	if err != nil {
		return 0, err // n may be negative
	}
	if messages, parseErr := syscall.ParseSocketControlMessage(oob[:oobn]); parseErr == nil {
		for i := range messages {
			fds, _ := syscall.ParseUnixRights(&messages[i])
			for _, fd := range fds {
				syscall.CloseOnExec(fd)
				r.files = append(r.files, os.NewFile(uintptr(fd), "received"))
			}
		}
	}
	if n == 0 {
		return 0, errors.New("the guest kernel closed the connection")
	}
	return n, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

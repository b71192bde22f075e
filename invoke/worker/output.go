package worker

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxLine is the most that becomes one log event, as in CloudWatch Logs.
	maxLine = 256 << 10
	// outputRate bounds what one environment can make the worker read, in bytes
	// per second; beyond it the function blocks in its own writes.
	outputRate = 16 << 20
	// lineCost is what a line counts for beside its length: a function writes
	// thousands of short ones in one go, and each becomes an event of its own.
	lineCost  = 128
	readChunk = 64 << 10 // a pipe's size
)

// output reads what an environment's processes print and passes it on line by
// line. All processes of the environment share one pipe, so the order of
// standard output and standard error is kept.
type output struct {
	r, w *os.File
	raw  syscall.RawConn
	emit func(at time.Time, line string)
	done chan struct{}

	mu      sync.Mutex
	buf     []byte
	partial []byte
	window  time.Time // start of the current second
	read    int       // bytes read in it, with the lines' cost
	lines   int       // not counted in read yet
	closed  bool
}

// newOutput returns an output whose w is the processes' standard output and
// error. emit is called from one goroutine at a time.
func newOutput(emit func(at time.Time, line string)) (*output, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	raw, err := r.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	o := &output{r: r, w: w, raw: raw, emit: emit, done: make(chan struct{}), buf: make([]byte, readChunk)}
	go o.loop()
	return o, nil
}

func (o *output) loop() {
	defer close(o.done)
	for {
		var pause time.Duration
		var eof bool
		err := o.raw.Read(func(fd uintptr) bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			var n int
			n, eof = o.drain(fd, readChunk)
			pause = o.throttle(n)
			return n > 0 || eof
		})
		if err != nil || eof {
			return
		}
		time.Sleep(pause)
	}
}

// drain reads up to limit bytes that are there already.
func (o *output) drain(fd uintptr, limit int) (total int, eof bool) {
	for total < limit && !o.closed {
		n, err := unix.Read(int(fd), o.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return total, !errors.Is(err, unix.EAGAIN)
		}
		if n == 0 {
			return total, true
		}
		total += n
		o.split(o.buf[:n], time.Now())
	}
	return total, false
}

func (o *output) throttle(n int) time.Duration {
	now := time.Now()
	if now.Sub(o.window) >= time.Second {
		o.window, o.read = now, 0
	}
	o.read += n + o.lines*lineCost
	o.lines = 0
	if o.read < outputRate {
		return 0
	}
	return o.window.Add(time.Second).Sub(now)
}

func (o *output) split(b []byte, at time.Time) {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		o.line(b[:i], at)
		b = b[i+1:]
	}
	o.partial = append(o.partial, b...)
	for len(o.partial) >= maxLine {
		o.emit(at, string(o.partial[:maxLine]))
		o.partial = append(o.partial[:0], o.partial[maxLine:]...)
	}
}

func (o *output) line(b []byte, at time.Time) {
	o.lines++
	if len(o.partial) > 0 {
		b = append(o.partial, b...)
		o.partial = o.partial[:0]
	}
	for len(b) > maxLine {
		o.emit(at, string(b[:maxLine]))
		b = b[maxLine:]
	}
	if len(b) > 0 {
		o.emit(at, string(b))
	}
}

// sync passes on everything that had been printed when it was called, a last
// line without its end included.
func (o *output) sync() {
	err := o.raw.Control(func(fd uintptr) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.drain(fd, 2*readChunk)
		if len(o.partial) > 0 {
			o.emit(time.Now(), string(o.partial))
			o.partial = o.partial[:0]
		}
	})
	if err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, io.EOF) {
		return // the pipe is gone and so is what was in it
	}
}

// close ends the output; the processes must be gone.
func (o *output) close() {
	o.sync()
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.w.Close() //nolint:errcheck // a pipe
	o.r.Close() //nolint:errcheck // a pipe
	<-o.done
}

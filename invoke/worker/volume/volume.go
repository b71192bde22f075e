// Package volume gives every environment a /tmp of its own: a directory of an
// exact size, on disk, that is empty at first and gone for good afterwards.
//
// A volume is an ext4 file system on a loop device over a sparse file without a
// name. It takes space only for what is written, a full one is full for its
// environment alone, and its pages are page cache, which the kernel takes back:
// what lies in /tmp does not count as the function's memory for good. When the
// last user of a volume is gone, so is its file, however the process ended.
// Nothing is ever given to two environments.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// Mode is a way to make volumes.
type Mode string

// The modes, better first.
const (
	// Loop puts volumes on disk.
	Loop Mode = "loop"
	// Memory makes volumes of a tmpfs, where there are no loop devices or no tool
	// to make an ext4. What is written then counts as memory of whoever writes it,
	// until the volume is released.
	Memory Mode = "memory"
)

// Config says how a Pool works.
type Config struct {
	// Dir is for the mount points; the Pool has it to itself.
	Dir string
	// Mode is the only one to use; "" means the first one that works here.
	Mode Mode
	// Ready is how many volumes of a size are kept made ahead; 0 means 2, and
	// negative none.
	Ready int
	// Log gets what goes wrong in the background; nil drops it.
	Log *slog.Logger
}

const (
	// firstSize is made ahead before anybody has asked: the default of functions.
	firstSize = 512 // MB
	// maxSizes is how many sizes are made ahead, those asked for last.
	maxSizes     = 4
	defaultReady = 2
	// releasers is how many volumes are destroyed at a time.
	releasers = 4
)

// ErrClosed is returned by Acquire after Close.
var ErrClosed = errors.New("the pool of volumes is closed")

// Volume is one environment's /tmp.
type Volume struct {
	// Path is the directory, which anyone can write to, as with any /tmp.
	Path string
	// SizeMB is what fits in.
	SizeMB int
}

// Pool makes volumes. Use: Open, any methods, Close. It is safe for concurrent use.
type Pool struct {
	dir   string
	mode  Mode
	why   error // why not Loop
	ahead int
	log   *slog.Logger

	templates  templates
	fill       chan struct{} // has an element when there may be volumes to make ahead
	stop       context.CancelFunc
	stopped    context.Context
	background sync.WaitGroup
	slots      chan struct{} // bounds destroys

	mu     sync.Mutex
	closed bool
	serial int
	ready  map[int][]*Volume // by size
	sizes  []int             // keys of ready, last asked for at the end
	live   map[*Volume]bool  // acquired
}

// Open returns a Pool. It removes what an earlier process left in the directory,
// mounts too, and finds out what works here.
func Open(cfg Config) (*Pool, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	// Only root looks for the volumes of others.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	// Mount points are listed by their real paths.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	if err := sweep(dir); err != nil {
		return nil, fmt.Errorf("volumes: clean up %s: %w", dir, err)
	}
	p := &Pool{
		dir: dir, mode: cfg.Mode, ahead: cfg.Ready, log: cfg.Log,
		templates: templates{dir: dir}, fill: make(chan struct{}, 1), slots: make(chan struct{}, releasers),
		ready: map[int][]*Volume{firstSize: nil}, sizes: []int{firstSize}, live: map[*Volume]bool{},
	}
	if p.ahead == 0 {
		p.ahead = defaultReady
	}
	if p.log == nil {
		p.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if p.mode == "" {
		if err := p.choose(); err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
	}
	p.stopped, p.stop = context.WithCancel(context.Background())
	p.background.Go(p.filler)
	p.wake()
	return p, nil
}

// choose finds the mode by making a volume.
func (p *Pool) choose() error {
	p.mode = Loop
	v, err := p.make(firstSize)
	if err != nil {
		p.why, p.mode = err, Memory
		if v, err = p.make(firstSize); err != nil {
			return errors.Join(p.why, err)
		}
	}
	if p.ahead > 0 {
		p.ready[firstSize] = []*Volume{v}
		return nil
	}
	return destroy(v.Path)
}

// Mode returns the mode in use, and why it is not Loop if it was found by trying.
func (p *Pool) Mode() (Mode, error) { return p.mode, p.why }

// Acquire returns an empty volume in which sizeMB megabytes fit.
func (p *Pool) Acquire(ctx context.Context, sizeMB int) (*Volume, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if sizeMB <= 0 {
		return nil, fmt.Errorf("a volume of %d MB", sizeMB)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	for _, old := range p.want(sizeMB) {
		p.discard(old)
	}
	var v *Volume
	if ready := p.ready[sizeMB]; len(ready) > 0 {
		v = ready[len(ready)-1]
		p.ready[sizeMB] = ready[:len(ready)-1]
		p.live[v] = true
	}
	p.mu.Unlock()
	p.wake()
	if v != nil {
		return v, nil
	}
	v, err := p.make(sizeMB)
	if err != nil {
		return nil, fmt.Errorf("make a volume of %d MB: %w", sizeMB, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = destroy(v.Path)
		return nil, ErrClosed
	}
	p.live[v] = true
	return v, nil
}

// want notes that a size is asked for and returns the volumes of one that no
// longer is among the last ones. It is called with mu held.
func (p *Pool) want(sizeMB int) (surplus []*Volume) {
	if i := slices.Index(p.sizes, sizeMB); i >= 0 {
		p.sizes = slices.Delete(p.sizes, i, i+1)
	} else if len(p.sizes) == maxSizes {
		surplus = p.ready[p.sizes[0]]
		delete(p.ready, p.sizes[0])
		p.sizes = slices.Delete(p.sizes, 0, 1)
	}
	p.sizes = append(p.sizes, sizeMB)
	return surplus
}

// Release destroys a volume and all that is in it, in the background. Nobody
// uses it any more; what a process still has open stays readable to that process
// alone. Releasing a volume again does nothing.
func (p *Pool) Release(v *Volume) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live[v] {
		delete(p.live, v)
		p.discard(v)
	}
}

// discard destroys a volume in the background. It is called with mu held and the
// pool open, or by the filler: Close waits for it.
func (p *Pool) discard(v *Volume) {
	p.background.Go(func() {
		p.slots <- struct{}{}
		defer func() { <-p.slots }()
		if err := destroy(v.Path); err != nil {
			p.log.Error("a volume could not be destroyed", "path", v.Path, "err", err)
		}
	})
}

// Close destroys all volumes, those in use too.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	p.live, p.ready = map[*Volume]bool{}, map[int][]*Volume{}
	p.mu.Unlock()
	p.stop()
	p.background.Wait()
	p.templates.close()
	if err := sweep(p.dir); err != nil {
		return fmt.Errorf("volumes: %w", err)
	}
	return nil
}

// wake has the filler look.
func (p *Pool) wake() {
	select {
	case p.fill <- struct{}{}:
	default:
	}
}

// filler makes volumes ahead, one at a time so that it does not get in the way.
func (p *Pool) filler() {
	for {
		select {
		case <-p.fill:
		case <-p.stopped.Done():
			return
		}
		for {
			size, ok := p.missing()
			if !ok {
				break
			}
			v, err := p.make(size)
			if err != nil {
				// Acquire meets the same error and returns it.
				p.log.Warn("no volume could be made ahead", "sizeMB", size, "err", err)
				break
			}
			p.keep(v)
		}
	}
}

// missing returns a size of which too few volumes are ready, the one asked for
// last first.
func (p *Pool) missing() (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, false
	}
	for _, size := range slices.Backward(p.sizes) {
		if len(p.ready[size]) < p.ahead {
			return size, true
		}
	}
	return 0, false
}

// keep adds a volume to the ready ones, if its size is still wanted.
func (p *Pool) keep(v *Volume) {
	p.mu.Lock()
	wanted := !p.closed && slices.Contains(p.sizes, v.SizeMB)
	if wanted {
		p.ready[v.SizeMB] = append(p.ready[v.SizeMB], v)
	}
	p.mu.Unlock()
	if !wanted {
		p.discard(v)
	}
}

// make makes a volume.
func (p *Pool) make(sizeMB int) (*Volume, error) {
	p.mu.Lock()
	p.serial++
	path := filepath.Join(p.dir, strconv.Itoa(p.serial))
	p.mu.Unlock()
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, err
	}
	var err error
	if p.mode == Memory {
		err = mountMemory(path, sizeMB)
	} else {
		err = p.mountLoop(path, sizeMB)
	}
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return &Volume{Path: path, SizeMB: sizeMB}, nil
}

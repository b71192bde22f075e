package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"golang.org/x/sys/unix"
)

// Ports is a range of TCP ports, both ends included.
type Ports struct {
	First, Last uint16
}

// DefaultPorts are the ports that slots may reach on their gateways unless
// Config.Ports says otherwise. 9001 is where AWS serves the Runtime API.
var DefaultPorts = Ports{First: 9001, Last: 9010}

// Config says what network to make. Only Dir is required.
type Config struct {
	// Dir is a directory of the network's own: it holds the namespaces' mounts
	// and what must be put back after a crash.
	Dir string
	// Instance distinguishes the networks of one node: at most 32 letters, digits
	// and '-'. By default it is made from Dir.
	Instance string
	// Prefix is where slots get their addresses, a /30 each, and the uplink takes
	// one too. By default Open picks a /18, enough for 4,095 slots, that no route
	// of the node overlaps.
	Prefix netip.Prefix
	// Egress lets slots reach the world, with the node's address. Without it slots
	// have no default route, and the node's own namespace is not touched.
	Egress bool
	// Ready is how many slots to keep made ahead.
	Ready int
	// Ports are those of the gateway address that slots may reach; DefaultPorts if zero.
	Ports Ports
	// Base is the path of the namespace to use as the node's; "" for the process's own.
	Base string
	// Log receives what happens in the background; slog.Default() if nil.
	Log *slog.Logger
}

var instancePattern = regexp.MustCompile(`^[A-Za-z0-9-]{1,32}$`)

// complete fills in the defaults and refuses what cannot work.
func (c *Config) complete() error {
	if c.Dir == "" {
		return errors.New("network: Config.Dir is not set")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	c.Dir = dir
	if c.Instance == "" {
		c.Instance = digest(dir)
	}
	if !instancePattern.MatchString(c.Instance) {
		return fmt.Errorf("network: instance %q is not 1 to 32 letters, digits and '-'", c.Instance)
	}
	if c.Ports == (Ports{}) {
		c.Ports = DefaultPorts
	}
	if c.Ports.First == 0 || c.Ports.Last < c.Ports.First {
		return fmt.Errorf("network: ports %d-%d are no range", c.Ports.First, c.Ports.Last)
	}
	if c.Base == "" {
		c.Base = "/proc/thread-self/ns/net"
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Prefix.IsValid() {
		c.Prefix = c.Prefix.Masked()
		return checkPrefix(c.Prefix)
	}
	return nil
}

// Network is a node's sandbox network. Its methods are safe for concurrent use.
type Network struct {
	config Config
	plan   plan
	mtu    int
	lock   *os.File
	base   *os.File // the node's namespace
	router *os.File // the router's
	links  *rtnl    // speaks to the router's namespace

	pool  chan *Slot
	spare chan struct{}  // buffered signal: the pool may lack slots
	stop  chan struct{}  // closed by Close
	tasks sync.WaitGroup // refill and removal

	removals chan *Slot

	// mu guards what follows; it is never held during I/O.
	mu      sync.Mutex
	closed  bool
	indexes indexes
	urgent  int // slots being made while a caller waits
}

// Open removes what an earlier process with the same Dir and Instance left and
// sets the network up. It needs root. It does not wait for the Ready slots.
// Two Networks cannot have the same Dir at a time.
func Open(ctx context.Context, config Config) (*Network, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("network: making network namespaces needs root")
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	n := &Network{
		config:   config,
		pool:     make(chan *Slot, max(config.Ready, 0)),
		spare:    make(chan struct{}, 1),
		stop:     make(chan struct{}),
		removals: make(chan *Slot, removalQueue),
	}
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("network: %w", err), n.teardown())
	}
	n.tasks.Add(2)
	go n.refill()
	go n.remove()
	n.wantSpare()
	return n, nil
}

// open does the work of Open; what it made before an error is for teardown.
func (n *Network) open(ctx context.Context) error {
	var err error
	if n.lock, err = lockDir(n.config.Dir); err != nil {
		return err
	}
	if n.base, err = os.Open(n.config.Base); err != nil {
		return err
	}
	if err := n.sweep(); err != nil {
		return fmt.Errorf("removing an earlier process's network: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.choosePrefix(); err != nil {
		return err
	}
	if err := holdDir(n.namespaces()); err != nil {
		return err
	}
	if err := n.makeRouter(); err != nil {
		return fmt.Errorf("router: %w", err)
	}
	if n.config.Egress {
		if err := n.makeUplink(); err != nil {
			return fmt.Errorf("uplink: %w", err)
		}
	}
	return nil
}

// Prefix returns the range of the slots' addresses.
func (n *Network) Prefix() netip.Prefix { return n.plan.prefix }

// Close removes all slots, also those not released, and everything else that
// Open made, and undoes what it changed on the node. The sandboxes in the slots
// should have ended. It is idempotent.
func (n *Network) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.mu.Unlock()
	close(n.stop)
	n.tasks.Wait()

	// All slots' namespaces go with the mount that they are held in, and the
	// links that processes still hold go with the router.
	if err := n.teardown(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

// teardown undoes open, however far it came.
func (n *Network) teardown() error {
	var errs []error
	if n.links != nil {
		errs = append(errs, n.links.close())
	}
	if n.router != nil {
		errs = append(errs, n.router.Close())
	}
	if n.base != nil {
		errs = append(errs, n.sweep(), n.base.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

func (n *Network) namespaces() string { return filepath.Join(n.config.Dir, "netns") }

// lockDir makes sure that no other process uses dir.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is in use by another process: %w", dir, err)
	}
	return f, nil
}

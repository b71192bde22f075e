package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kiln/network"
)

// The scene of the network's cases: the suite's own namespace is the node;
// behind it, in another, is what plays the internet.
var (
	nodeAddress     = netip.MustParseAddr("203.0.113.1")
	internetAddress = netip.MustParseAddr("203.0.113.2")
	// metadataAddress is where clouds serve credentials; the internet has it.
	metadataAddress = netip.MustParseAddr("169.254.169.254")
)

// internetName is a name that the internet's name server knows.
const internetName = "service.internet.test"

// scene is a node with a network of sandboxes, with and without egress.
type scene struct {
	open, closed *network.Network
	internet     *os.File // namespace
	datagrams    net.PacketConn
	stop         []func()
}

// onStage sets the scene up, once; it is taken down with the back end's test.
func (s *stage) onStage(t *testing.T) *scene {
	t.Helper()
	if s.network != nil {
		return s.network
	}
	c := &scene{}
	s.network = c
	if err := c.build(filepath.Join(workDir, s.name+"-network")); err != nil {
		t.Fatal(err)
	}
	return c
}

// strike takes the scene down.
func (c *scene) strike() error {
	var errs []error
	for _, n := range []*network.Network{c.open, c.closed} {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	for _, stop := range c.stop {
		stop()
	}
	if c.internet != nil {
		if link, err := netlink.LinkByName("uplink"); err == nil {
			errs = append(errs, netlink.LinkDel(link))
		}
		errs = append(errs, c.internet.Close())
	}
	return errors.Join(errs...)
}

func (c *scene) build(dir string) (err error) {
	if c.internet, err = newNamespace(); err != nil {
		return err
	}
	if err := c.connect(); err != nil {
		return err
	}
	// Everything is served, so that nothing but the network can be in the way.
	for _, at := range []netip.AddrPort{
		netip.AddrPortFrom(netip.IPv4Unspecified(), 80), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 81),
	} {
		if err := c.serve("node", func() (net.Listener, error) { return net.Listen("tcp4", at.String()) }); err != nil {
			return err
		}
	}
	err = inNamespace(c.internet, func() error {
		if err := c.serve("internet", func() (net.Listener, error) { return net.Listen("tcp4", "0.0.0.0:80") }); err != nil {
			return err
		}
		if c.datagrams, err = net.ListenPacket("udp4", "0.0.0.0:99"); err != nil {
			return err
		}
		names, err := net.ListenPacket("udp4", internetAddress.String()+":53")
		if err != nil {
			return err
		}
		c.stop = append(c.stop, func() { c.datagrams.Close(); names.Close() })
		go serveNames(names)
		return nil
	})
	if err != nil {
		return err
	}
	for name, egress := range map[string]bool{"open": true, "closed": false} {
		n, err := network.Open(context.Background(), network.Config{Dir: filepath.Join(dir, name), Egress: egress})
		if err != nil {
			return err
		}
		if egress {
			c.open = n
		} else {
			c.closed = n
		}
	}
	return nil
}

// connect joins node and internet by a link and gives both their addresses.
func (c *scene) connect() error {
	up := func(name string, addresses ...string) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			address, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(link, address); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(link)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "uplink"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "node", PeerNamespace: netlink.NsFd(c.internet.Fd())}); err != nil {
		return err
	}
	err := inNamespace(c.internet, func() error {
		return errors.Join(up("lo", metadataAddress.String()+"/32"), up("node", internetAddress.String()+"/24"))
	})
	if err == nil {
		err = up("uplink", nodeAddress.String()+"/24")
	}
	if err == nil {
		err = netlink.RouteAdd(&netlink.Route{Gw: internetAddress.AsSlice()})
	}
	return err
}

// serve answers each connection with a name and the client's address.
func (c *scene) serve(name string, listen func() (net.Listener, error)) error {
	l, err := listen()
	if err != nil {
		return err
	}
	c.stop = append(c.stop, func() { l.Close() })
	go greet(l, name)
	return nil
}

// greet answers each connection until the listener is closed.
func greet(l net.Listener, name string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "%s sees %s", name, conn.RemoteAddr())
		conn.Close()
	}
}

// serveNames answers every question for an address with the internet's.
func serveNames(conn net.PacketConn) {
	buf := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if n < 17 {
			continue
		}
		end := 12 // of the question: labels, type, class
		for end < n && buf[end] != 0 {
			end += 1 + int(buf[end])
		}
		end += 5
		if end > n {
			continue
		}
		isA := buf[end-4] == 0 && buf[end-3] == 1
		answer := append([]byte{}, buf[:end]...)
		copy(answer[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
		if isA {
			answer[7] = 1
			address := internetAddress.As4()
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			answer = append(answer, address[:]...)
		}
		conn.WriteTo(answer, from)
	}
}

// newNamespace makes a network namespace that lives as long as the file.
func newNamespace() (file *os.File, err error) {
	err = onLostThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return file, err
}

// inNamespace runs f on a thread that is in the network namespace.
func inNamespace(ns *os.File, f func() error) error {
	return onLostThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// onLostThread runs f on a thread that ends with it. Not the main one: it does
// not end.
func onLostThread(f func() error) error {
	var err error
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			err = onLostThread(f) // on another, as this one is taken
			runtime.UnlockOSThread()
			return
		}
		err = f()
	})
	done.Wait()
	return err
}

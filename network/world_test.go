package network

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// world is what tests use in place of the machine: a namespace that plays the
// node, and one that plays the internet behind it. The machine's own namespace
// is not touched.
type world struct {
	node, internet string // paths
	dir            string // for the network under test
}

var (
	nodeAddress     = netip.MustParseAddr("203.0.113.1")
	internetAddress = netip.MustParseAddr("203.0.113.2")
	// metadataAddress is on the internet's lo: a route would lead there.
	metadataAddress = netip.MustParseAddr("169.254.169.254")
)

func newWorld(t testing.TB) world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	w := world{node: filepath.Join(dir, "node"), internet: filepath.Join(dir, "internet"), dir: filepath.Join(dir, "network")}
	lo := func() error {
		links, err := openRtnl()
		if err != nil {
			return err
		}
		defer links.close()
		return links.do(setUp(1))
	}
	for _, path := range []string{w.internet, w.node} {
		if err := newNamespace(path, lo); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := letGo(path); err != nil {
				t.Error(err)
			}
		})
	}
	internet := open(t, w.internet)
	enter(t, w.node, func() error {
		links, err := openRtnl()
		if err != nil {
			return err
		}
		defer links.close()
		return links.do(
			addVeth(veth{name: "eth0", index: 50, peer: "eth0", peerIndex: 50, peerNS: int(internet.Fd()), mtu: 1400}),
			addAddress(50, nodeAddress),
			addRoute(50, everywhere, internetAddress),
		)
	})
	enter(t, w.internet, func() error {
		links, err := openRtnl()
		if err != nil {
			return err
		}
		defer links.close()
		// It does not know the way to slots: only the node's address is answered.
		return links.do(setUp(50), addAddress(50, internetAddress), addAddress(1, metadataAddress))
	})
	return w
}

func open(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// enter runs f in the namespace at path.
func enter(t testing.TB, path string, f func() error) {
	t.Helper()
	ns, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := within(ns, f); err != nil {
		t.Fatal(err)
	}
}

// network opens a network in the world; it is closed with the test.
func (w world) network(t testing.TB, config Config) *Network {
	t.Helper()
	config.Dir, config.Base = w.dir, w.node
	n, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return n
}

func acquire(t testing.TB, n *Network) *Slot {
	t.Helper()
	s, err := n.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve answers each TCP connection to addr in the namespace at path with the
// address that the client has there.
func serve(t testing.TB, path string, addr netip.AddrPort) {
	t.Helper()
	l, err := listenIn(open(t, path), addr)
	if err != nil {
		t.Fatal(err)
	}
	answer(t, l)
}

func answer(t testing.TB, l net.Listener) {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte(c.RemoteAddr().String()))
			c.Close()
		}
	}()
}

// ask connects from the namespace at path and returns the answer of serve.
func ask(path string, addr netip.AddrPort) (string, error) {
	ns, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer ns.Close()
	ctx, cancel := context.WithTimeout(context.Background(), unreachableAfter)
	defer cancel()
	var conn net.Conn
	err = within(ns, func() (err error) {
		var d net.Dialer
		d.SetMultipathTCP(false)
		conn, err = d.DialContext(ctx, "tcp4", addr.String())
		return err
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	buf := make([]byte, 100)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	size, err := conn.Read(buf)
	return string(buf[:size]), err
}

// unreachableAfter is long enough for a connection within one machine, and for
// one retransmission.
const unreachableAfter = 1500 * time.Millisecond

// links returns the names of the interfaces in the namespace at path.
func links(t testing.TB, path string) []string {
	t.Helper()
	var names []string
	enter(t, path, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		list, err := h.LinkList()
		for _, l := range list {
			names = append(names, l.Attrs().Name)
		}
		return err
	})
	return names
}

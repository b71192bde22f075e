package gvisor

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// testNetwork is a namespace for a sandbox, joined by a veth pair to one for
// the other side: 10.123.0.2 and 10.123.0.1.
type testNetwork struct {
	path   string // of the sandbox's
	inside *os.File
	router *os.File
}

// newNamespace makes a network namespace that lives as long as the test.
func newNamespace(t testing.TB) *os.File {
	t.Helper()
	made := make(chan *os.File)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		var file *os.File
		if unix.Unshare(unix.CLONE_NEWNET) == nil {
			file, _ = os.Open("/proc/thread-self/ns/net")
		}
		made <- file
	}()
	file := <-made
	if file == nil {
		t.Skip("no network namespace can be made")
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func newTestNetwork(t testing.TB) *testNetwork {
	t.Helper()
	n := &testNetwork{inside: newNamespace(t), router: newNamespace(t)}
	n.path = filepath.Join(t.TempDir(), "netns")
	if err := os.WriteFile(n.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", n.inside.Fd()), n.path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(n.path, 0); err != nil {
			t.Error(err)
		}
	})
	up := func(h *netlink.Handle, name, address string) error {
		link, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := h.AddrAdd(link, addr); err != nil {
			return err
		}
		return h.LinkSetUp(link)
	}
	err := inNamespace(n.router, func(h *netlink.Handle) error {
		pair := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "router0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(n.inside.Fd()),
		}
		if err := h.LinkAdd(pair); err != nil {
			return err
		}
		return up(h, "router0", "10.123.0.1/24")
	})
	if err == nil {
		err = inNamespace(n.inside, func(h *netlink.Handle) error {
			if err := up(h, "eth0", "10.123.0.2/24"); err != nil {
				return err
			}
			return h.RouteAdd(&netlink.Route{Gw: net.IPv4(10, 123, 0, 1)})
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// listen opens a TCP listener on the other side.
func (n *testNetwork) listen(t testing.TB) net.Listener {
	t.Helper()
	var l net.Listener
	err := inNamespace(n.router, func(*netlink.Handle) (err error) {
		l, err = net.Listen("tcp", "10.123.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// state lists addresses and routes of the sandbox's interface.
func (n *testNetwork) state(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	err := inNamespace(n.inside, func(h *netlink.Handle) error {
		link, err := h.LinkByName("eth0")
		if err != nil {
			return err
		}
		addrs, err := h.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		routes, err := h.RouteList(link, netlink.FAMILY_V4)
		for _, a := range addrs {
			fmt.Fprintln(&b, a.IPNet)
		}
		for _, r := range routes {
			fmt.Fprintln(&b, r.Dst, r.Gw)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNetwork(t *testing.T) {
	n := newTestNetwork(t)
	l := n.listen(t)
	peer := make(chan string, 9)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer <- r.RemoteAddr
		w.Write(make([]byte, 3<<20))
		io.WriteString(w, "the end")
	})}
	go server.Serve(l)
	defer server.Close()
	before := n.state(t)
	if !strings.Contains(before, "10.123.0.1") {
		t.Fatalf("no default route:\n%s", before)
	}
	b := newBackend(t)
	for i := range 2 { // the namespace serves a second sandbox
		spec := testSpec(fmt.Sprint("network-", i), "get", "http://"+l.Addr().String())
		spec.Network = n.path
		s := start(t, b, spec)
		s.wait(t)
		if text := s.stdout.String(); !strings.HasSuffix(text, "the end\n") {
			t.Fatalf("got %.100q", text)
		}
		if from := <-peer; !strings.HasPrefix(from, "10.123.0.2:") {
			t.Errorf("the request came from %s", from)
		}
		if during := n.state(t); during != "" {
			t.Errorf("the machine's stack still has the addresses:\n%s", during)
		}
		if err := s.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := n.state(t); after != before {
			t.Errorf("before:\n%safter:\n%s", before, after)
		}
	}
}

// TestNetworkInterfaces checks what the guest shows, and that the machine's
// loopback is not its own.
func TestNetworkInterfaces(t *testing.T) {
	n := newTestNetwork(t)
	b := newBackend(t)
	spec := testSpec("interfaces", "facts")
	spec.Network = n.path
	s := start(t, b, spec)
	s.wait(t)
	for _, want := range []string{"interface lo [127.0.0.1/8", "interface eth0 [10.123.0.2/24"} {
		if text := s.stdout.String(); !strings.Contains(text, want) {
			t.Errorf("output lacks %q:\n%s", want, text)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i, path := range []string{n.path, ""} {
		spec := testSpec(fmt.Sprint("loopback-", i), "get", "http://"+l.Addr().String())
		spec.Network = path
		if i == 0 {
			s.Destroy(t.Context())
		}
		s := start(t, b, spec)
		s.wait(t)
		if text := s.stdout.String(); !strings.Contains(text, "connection refused") {
			t.Errorf("the machine's loopback answered: %s", text)
		}
	}
}

// BenchmarkRoundTrip is a small message there and back over the veth pair.
func BenchmarkRoundTrip(b *testing.B) {
	n := newTestNetwork(b)
	l := n.listen(b)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(conn, conn)
		}
	}()
	backend := newBackend(b)
	for i := 0; b.Loop(); i++ {
		spec := testSpec(fmt.Sprint("rtt-", i), "rtt", l.Addr().String())
		spec.Network = n.path
		s := start(b, backend, spec)
		s.wait(b)
		b.Log(s.stdout.String())
		s.Destroy(b.Context())
	}
}

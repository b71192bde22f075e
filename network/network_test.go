package network

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

func TestSlotReachesItsGateway(t *testing.T) {
	t.Parallel()
	for _, egress := range []bool{false, true} {
		n := newWorld(t).network(t, Config{Egress: egress})
		s := acquire(t, n)
		l, err := s.ListenGateway(9001)
		if err != nil {
			t.Fatal(err)
		}
		answer(t, l)
		got, err := ask(s.Path, at(s.Gateway, 9001))
		if err != nil {
			t.Fatalf("egress %v: %v", egress, err)
		}
		if !strings.HasPrefix(got, s.Address.String()+":") {
			t.Errorf("egress %v: the gateway saw %s, not %s", egress, got, s.Address)
		}
		if err := pingFrom(t, s.Path, s.Gateway); err != nil {
			t.Errorf("ping: %v", err)
		}
		inside, err := s.ListenInside(9001)
		if err != nil {
			t.Fatal(err)
		}
		answer(t, inside)
		if _, err := ask(s.Path, at(netip.MustParseAddr("127.0.0.1"), 9001)); err != nil {
			t.Errorf("listener inside: %v", err)
		}
	}
}

// pingFrom sends one echo request and waits for the answer.
func pingFrom(t *testing.T, path string, to netip.Addr) error {
	t.Helper()
	var conn net.Conn
	enter(t, path, func() (err error) {
		conn, err = net.Dial("ip4:icmp", to.String())
		return err
	})
	defer conn.Close()
	request := []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1} // echo, checksum, identifier 1, sequence 1
	if _, err := conn.Write(request); err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err := conn.Read(make([]byte, 100))
	return err
}

func TestSlotReachesNothingElse(t *testing.T) {
	t.Parallel()
	everyAddress := netip.IPv4Unspecified()
	loopback := netip.MustParseAddr("127.0.0.1")
	for _, egress := range []bool{false, true} {
		w := newWorld(t)
		n := w.network(t, Config{Egress: egress})
		s, other := acquire(t, n), acquire(t, n)
		// Each target is served, so that only the network can refuse it.
		serve(t, w.node, at(everyAddress, 80))
		serve(t, w.node, at(loopback, 81))
		serve(t, w.internet, at(everyAddress, 80))
		serve(t, other.Path, at(everyAddress, 80))
		serve(t, n.config.Dir+"/netns/router", at(everyAddress, 80)) // a port that is not Ports'
		serve(t, n.config.Dir+"/netns/router", at(everyAddress, 9001))
		if _, err := ask(s.Path, at(s.Gateway, 9001)); err != nil {
			t.Fatalf("own gateway: %v", err)
		}
		targets := map[string]netip.AddrPort{
			"own gateway, other port":  at(s.Gateway, 80),
			"other slot":               at(other.Address, 80),
			"other slot's gateway":     at(other.Gateway, 9001),
			"uplink, router's end":     at(n.plan.far(0), 9001),
			"uplink, node's end":       at(n.plan.near(0), 80),
			"node":                     at(nodeAddress, 80),
			"node's loopback":          at(loopback, 81),
			"router's loopback":        at(netip.MustParseAddr("127.0.0.2"), 9001),
			"metadata":                 at(metadataAddress, 80),
			"unused slot":              at(n.plan.far(99), 80),
			"broadcast on own link":    at(n.plan.address(s.index, 3), 80),
			"network's unused address": at(n.plan.address(s.index, 0), 80),
		}
		if !egress {
			targets["internet"] = at(internetAddress, 80)
		}
		type result struct{ name, got string }
		results := make(chan result)
		for name, target := range targets {
			go func() {
				got, err := ask(s.Path, target)
				if err != nil {
					got = ""
				}
				results <- result{name, got}
			}()
		}
		for range targets {
			if r := <-results; r.got != "" {
				t.Errorf("egress %v: %s was reached, as %s", egress, r.name, r.got)
			}
		}
	}
}

// With routes of its own making a slot may send where it likes: the router
// must refuse by itself.
func TestSlotCannotRouteAround(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.network(t, Config{})
	s, other := acquire(t, n), acquire(t, n)
	serve(t, other.Path, at(netip.IPv4Unspecified(), 9001))
	serve(t, w.node, at(netip.IPv4Unspecified(), 80))
	l, err := other.ListenGateway(9001)
	if err != nil {
		t.Fatal(err)
	}
	answer(t, l)
	enter(t, s.Path, func() error {
		links, err := openRtnl()
		if err != nil {
			return err
		}
		defer links.close()
		return links.do(addRoute(slotLink, everywhere, s.Gateway))
	})
	for _, target := range []netip.AddrPort{at(other.Address, 9001), at(other.Gateway, 9001), at(nodeAddress, 80), at(internetAddress, 80)} {
		if got, err := ask(s.Path, target); err == nil {
			t.Errorf("%s was reached, as %s", target, got)
		}
	}
}

func TestEgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.network(t, Config{Egress: true})
	s := acquire(t, n)
	serve(t, w.internet, at(netip.IPv4Unspecified(), 80))
	got, err := ask(s.Path, at(internetAddress, 80))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got, nodeAddress.String()+":") {
		t.Errorf("the internet saw %s, not the node's %s", got, nodeAddress)
	}
	// The internet gets in only in answer, even when it knows the way.
	serve(t, s.Path, at(netip.IPv4Unspecified(), 80))
	enter(t, w.internet, func() error {
		links, err := openRtnl()
		if err != nil {
			return err
		}
		defer links.close()
		return links.do(addRoute(50, n.Prefix(), nodeAddress))
	})
	if got, err := ask(w.internet, at(s.Address, 80)); err == nil {
		t.Errorf("the internet reached a slot, as %s", got)
	}
	// A slot that has been released is cut off although a process is still in it.
	held := open(t, s.Path)
	if err := n.detach(s); err != nil {
		t.Fatal(err)
	}
	if got, err := ask("/proc/self/fd/"+itoa(int(held.Fd())), at(internetAddress, 80)); err == nil {
		t.Errorf("a released slot reached the internet, as %s", got)
	}
}

func TestSpoofedSourceIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.network(t, Config{Egress: true})
	s, other := acquire(t, n), acquire(t, n)
	var l net.PacketConn
	enter(t, w.internet, func() (err error) {
		l, err = net.ListenPacket("udp4", "0.0.0.0:53")
		return err
	})
	defer l.Close()
	for _, source := range []netip.Addr{other.Address, s.Gateway, nodeAddress, n.plan.near(0), netip.MustParseAddr("8.8.8.8"), s.Address} {
		sendUDP(t, s.Path, source, internetAddress, 53, source.String())
	}
	// Packets keep their order, so the one with the true source tells that the
	// others have been dropped.
	l.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 100)
	size, _, err := l.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(buf[:size]); got != s.Address.String() {
		t.Errorf("a packet with the source %s came through", got)
	}
}

// sendUDP sends a datagram with any source address.
func sendUDP(t *testing.T, path string, from, to netip.Addr, port byte, payload string) {
	t.Helper()
	length := 28 + len(payload)
	packet := make([]byte, 28, length)
	packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_UDP // the kernel fills in length and checksum
	copy(packet[12:], from.AsSlice())
	copy(packet[16:], to.AsSlice())
	packet[21], packet[23], packet[25] = 99, port, byte(length-20)
	packet = append(packet, payload...)
	enter(t, path, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: to.As4()})
	})
}

func TestRulesDoNotGrow(t *testing.T) {
	w := newWorld(t)
	n := w.network(t, Config{Egress: true})
	before := countRules(t, n)
	if before == 0 {
		t.Fatal("no rules at all")
	}
	for range 50 {
		acquire(t, n)
	}
	if after := countRules(t, n); after != before {
		t.Errorf("%d rules with no slot, %d with 50", before, after)
	}
	if got := len(links(t, n.config.Dir+"/netns/router")); got != 52 {
		t.Errorf("%d links in the router, want lo, uplink and 50 slots'", got)
	}
}

func countRules(t *testing.T, n *Network) int {
	t.Helper()
	count := 0
	for _, ns := range []*os.File{n.router, n.base} {
		conn, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
		if err != nil {
			t.Fatal(err)
		}
		chains, err := conn.ListChains()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range chains {
			rules, err := conn.GetRules(c.Table, c)
			if err != nil {
				t.Fatal(err)
			}
			count += len(rules)
		}
	}
	return count
}

func TestNoIPv6(t *testing.T) {
	n := newWorld(t).network(t, Config{Egress: true})
	s := acquire(t, n)
	enter(t, s.Path, func() error {
		b, err := os.ReadFile("/proc/thread-self/net/if_inet6")
		if err == nil && len(b) > 0 {
			t.Errorf("IPv6 addresses in a slot:\n%s", b)
		}
		return nil
	})
	if !slices.Equal(links(t, s.Path), []string{"lo", "eth0"}) {
		t.Errorf("links in a slot: %v", links(t, s.Path))
	}
}

package conformance

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"kiln/network"
	"kiln/sandbox"
)

// networkCases are about a sandbox in a slot of a real network.
var networkCases = []testCase{
	{"runtime API", "asks the Runtime API's listener, without and with egress: it answers", networkRuntimeAPI},
	{"interfaces", "lists interfaces: lo, and eth0 with the slot's address; nothing with IPv6 addresses outside lo", networkInterfaces},
	{"without egress", "asks everything there is: its own gateway's Runtime API port alone answers", networkClosed},
	{"with egress", "asks everything there is: the internet answers too, nothing else", networkOpen},
	{"source address", "asks the internet: it sees the node's address", networkSourceAddress},
	{"spoofing", "sends datagrams with other source addresses by five ways: none arrives with one", networkSpoofing},
	{"spoofing as root", "does the same as root of a user namespace: the same", networkSpoofingAsRoot},
	{"name server", "reads /etc/resolv.conf and resolves a name: the given server answers", networkNames},
	{"other sandbox", "asks a port that another sandbox serves, on all its addresses: no answer, on its own loopback neither", networkOther},
	{"namespace after", "looks at the slot's interfaces before and after a sandbox: they are the same", networkGivenBack},
	{"reset", "is made again in the same slot, frozen in between: the Runtime API answers each", networkReset},
	{"released", "goes on after its slot was released: it reaches nothing any more", networkReleased},
}

const apiPort = 9001

// inSlot is a sandbox's place in the network, with the Runtime API served.
type inSlot struct {
	*network.Slot
	api netip.AddrPort // as the function finds it
}

// slot takes a slot of a network; it is given back with the test.
func (s *stage) slot(t *testing.T, n *network.Network) inSlot {
	t.Helper()
	slot, err := n.Acquire(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Release(slot) })
	l, address, err := s.runtimeAPI(slot, apiPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go greet(l, "the Runtime API")
	return inSlot{Slot: slot, api: netip.AddrPortFrom(address, apiPort)}
}

// inNetwork is a sandbox's spec in a slot.
func (s *stage) inNetwork(t *testing.T, slot inSlot, probes ...string) sandbox.Spec {
	t.Helper()
	spec := s.spec(t, probes...)
	spec.Network = slot.Path
	return spec
}

// ask lets a sandbox ask addresses and returns the answers, "" for none.
func (s *stage) ask(t *testing.T, slot inSlot, targets ...netip.AddrPort) map[netip.AddrPort]string {
	t.Helper()
	x := s.start(t, s.inNetwork(t, slot, "ask="+join(targets)))
	return x.answers(t)
}

func join(targets []netip.AddrPort) string {
	var list []string
	for _, target := range targets {
		list = append(list, target.String())
	}
	return strings.Join(list, ",")
}

// answers reads the result of the probe "ask".
func (x *box) answers(t *testing.T) map[netip.AddrPort]string {
	t.Helper()
	var got map[string]string
	x.next(t).decode(t, &got)
	answers := map[netip.AddrPort]string{}
	for target, answer := range got {
		if strings.HasPrefix(answer, "error: ") {
			t.Logf("%s: %s", target, answer)
			answer = ""
		}
		answers[netip.MustParseAddrPort(target)] = answer
	}
	return answers
}

func networkRuntimeAPI(t *testing.T, s *stage) {
	c := s.onStage(t)
	for _, n := range []*network.Network{c.closed, c.open} {
		slot := s.slot(t, n)
		if got := s.ask(t, slot, slot.api)[slot.api]; !strings.HasPrefix(got, "the Runtime API sees ") {
			t.Errorf("%q", got)
		}
	}
}

func networkInterfaces(t *testing.T, s *stage) {
	slot := s.slot(t, s.onStage(t).closed)
	var got map[string][]string
	s.start(t, s.inNetwork(t, slot, "network")).next(t).decode(t, &got)
	for name, addresses := range got {
		for _, a := range addresses {
			p := netip.MustParsePrefix(a)
			ok := name == "lo" && p.Addr().IsLoopback() || name == "eth0" && p.Addr() == slot.Address
			if !ok && !p.Addr().IsLinkLocalUnicast() {
				t.Errorf("%s has %s", name, a)
			}
		}
	}
	if len(got["eth0"]) == 0 {
		t.Errorf("%v", got)
	}
}

// reachable checks which of all addresses in the scene answer a sandbox.
func (s *stage) reachable(t *testing.T, n *network.Network, egress bool) {
	t.Helper()
	slot, other := s.slot(t, n), s.slot(t, n)
	// The other slot's Runtime API, and a sandbox that serves a port.
	gateway, err := other.ListenGateway(apiPort + 1)
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	go greet(gateway, "another slot's gateway")
	at := netip.AddrPortFrom
	targets := map[string]netip.AddrPort{
		"Runtime API":              slot.api,
		"node":                     at(nodeAddress, 80),
		"node's loopback":          at(netip.MustParseAddr("127.0.0.1"), 81),
		"all of the node":          at(netip.IPv4Unspecified(), 80),
		"own gateway, other port":  at(slot.Gateway, 80),
		"other slot":               at(other.Address, apiPort),
		"other slot's gateway":     at(other.Gateway, apiPort),
		"other slot's other port":  at(other.Gateway, apiPort+1),
		"first of the network":     at(n.Prefix().Addr().Next(), 80),
		"second of the network":    at(n.Prefix().Addr().Next().Next(), 80),
		"metadata":                 at(metadataAddress, 80),
		"broadcast":                at(netip.MustParseAddr("255.255.255.255"), 80),
		"multicast":                at(netip.MustParseAddr("224.0.0.1"), 80),
		"internet":                 at(internetAddress, 80),
		"loopback's other address": at(netip.MustParseAddr("127.0.0.2"), apiPort),
	}
	got := s.ask(t, slot, slices.Collect(maps.Values(targets))...)
	for name, target := range targets {
		must := name == "Runtime API" || name == "internet" && egress
		if answered := got[target] != ""; answered != must {
			t.Errorf("%s, %s: answer %q", name, target, got[target])
		}
	}
}

func networkClosed(t *testing.T, s *stage) { s.reachable(t, s.onStage(t).closed, false) }

func networkOpen(t *testing.T, s *stage) { s.reachable(t, s.onStage(t).open, true) }

func networkSourceAddress(t *testing.T, s *stage) {
	slot := s.slot(t, s.onStage(t).open)
	target := netip.AddrPortFrom(internetAddress, 80)
	if got := s.ask(t, slot, target)[target]; !strings.HasPrefix(got, "internet sees "+nodeAddress.String()+":") {
		t.Errorf("%q", got)
	}
}

func networkSpoofing(t *testing.T, s *stage) { s.spoof(t, "spoof=") }

func networkSpoofingAsRoot(t *testing.T, s *stage) { s.spoof(t, "spoofasroot=") }

func (s *stage) spoof(t *testing.T, probe string) {
	c := s.onStage(t)
	slot, other := s.slot(t, c.open), s.slot(t, c.open)
	for _, source := range []netip.Addr{other.Address, nodeAddress, netip.MustParseAddr("198.51.100.7")} {
		x := s.start(t, s.inNetwork(t, slot, fmt.Sprintf("%s%s:99/%s", probe, internetAddress, source)))
		r := x.next(t)
		if r.Error != "" {
			t.Fatalf("%s: %s", r.Probe, r.Error)
		}
		t.Logf("as %s: %s", source, r.Value)
		// Packets keep their order: the honest one tells that the others were dropped.
		buf := make([]byte, 100)
		for honest := false; !honest; {
			c.datagrams.SetReadDeadline(time.Now().Add(20 * time.Second))
			n, from, err := c.datagrams.ReadFrom(buf)
			if err != nil {
				t.Fatal(err)
			}
			honest = string(buf[:n]) == "honest"
			// A network stack that does not know packet info sends under the true address.
			harmless := honest || string(buf[:n]) == "packet info"
			if got := from.(*net.UDPAddr).AddrPort(); !harmless || got.Addr().Unmap() != nodeAddress {
				t.Errorf("%q arrived from %s", buf[:n], got)
			}
		}
		x.end(t)
	}
}

func networkNames(t *testing.T, s *stage) {
	slot := s.slot(t, s.onStage(t).open)
	x := s.start(t, s.inNetwork(t, slot, "read=/etc/resolv.conf", "lookup="+internetName))
	var text string
	if x.next(t).decode(t, &text); text != resolvText {
		t.Errorf("/etc/resolv.conf is %q", text)
	}
	var addresses []string
	r := x.next(t)
	if r.Error != "" {
		t.Fatal(r.Error)
	}
	if r.decode(t, &addresses); !slices.Equal(addresses, []string{internetAddress.String()}) {
		t.Errorf("%v", addresses)
	}
}

func networkOther(t *testing.T, s *stage) {
	c := s.onStage(t)
	server, client := s.slot(t, c.open), s.slot(t, c.open)
	serving := s.start(t, s.inNetwork(t, server, "serve=8080"))
	serving.next(t)
	ports := []netip.AddrPort{netip.AddrPortFrom(server.Address, 8080), netip.AddrPortFrom(server.Gateway, 8080),
		netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 8080)}
	for target, answer := range s.ask(t, client, ports...) {
		if answer != "" {
			t.Errorf("%s answers %q", target, answer)
		}
	}
}

func networkGivenBack(t *testing.T, s *stage) {
	slot := s.slot(t, s.onStage(t).open)
	before := interfacesOf(t, slot.Path)
	x := s.start(t, s.inNetwork(t, slot, "ask="+slot.api.String()))
	x.answers(t)
	x.end(t)
	if after := interfacesOf(t, slot.Path); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

func networkReset(t *testing.T, s *stage) {
	slot := s.slot(t, s.onStage(t).open)
	internet := netip.AddrPortFrom(internetAddress, 80)
	for round := range 3 {
		x := s.start(t, s.inNetwork(t, slot, "echo=up", "sleep=20ms", "ask="+join([]netip.AddrPort{slot.api, internet}), "sleep=1h"))
		x.next(t)
		if err := x.Freeze(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if err := x.Thaw(deadline(t)); err != nil {
			t.Fatal(err)
		}
		x.next(t)
		got := x.answers(t)
		if got[slot.api] == "" || got[internet] == "" {
			t.Errorf("round %d: %v", round, got)
		}
		x.end(t)
	}
}

func networkReleased(t *testing.T, s *stage) {
	c := s.onStage(t)
	slot := s.slot(t, c.open)
	internet := netip.AddrPortFrom(internetAddress, 80)
	ask := "ask=" + internet.String()
	x := s.start(t, s.inNetwork(t, slot, ask, "sleep=1s", ask))
	if got := x.answers(t); got[internet] == "" {
		t.Fatal("the internet does not answer before")
	}
	c.open.Release(slot.Slot)
	x.next(t)
	if got := x.answers(t); got[internet] != "" {
		t.Errorf("the internet answers %q", got[internet])
	}
}

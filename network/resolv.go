package network

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
)

// systemdResolvConf is where systemd-resolved keeps the real name servers; the
// usual file then names only its own listener on loopback.
const systemdResolvConf = "/run/systemd/resolve/resolv.conf"

// maxNameservers is how many a resolver library looks at.
const maxNameservers = 3

// ResolvConf returns the contents of /etc/resolv.conf for slots with egress, made
// from the node's at hostPath ("" for /etc/resolv.conf).
//
// Kept are the options and those name servers that a slot reaches: not ones
// on the node itself, be it on loopback or on another of its addresses, since
// no service of the node can be reached from a slot, and none with IPv6
// addresses. If that leaves none, the servers that systemd-resolved forwards to
// are taken, and if it has none either, a comment says so and names do not
// resolve in slots. The node's search domains are left out: names mean the same
// on every node.
func ResolvConf(hostPath string) ([]byte, error) {
	if hostPath == "" {
		hostPath = "/etc/resolv.conf"
	}
	local, err := localAddresses()
	if err != nil {
		return nil, fmt.Errorf("resolv.conf: %w", err)
	}
	host, err := os.ReadFile(hostPath)
	if err != nil {
		return nil, fmt.Errorf("resolv.conf: %w", err)
	}
	// Where systemd-resolved does not run there is no such file.
	upstream, _ := os.ReadFile(systemdResolvConf)
	return resolvConf(host, upstream, local), nil
}

// resolvConf is ResolvConf without its I/O. local holds the node's own addresses.
func resolvConf(host, upstream []byte, local map[netip.Addr]bool) []byte {
	servers, options := parseResolvConf(host)
	usable := reachable(servers, local)
	if len(usable) == 0 {
		servers, _ = parseResolvConf(upstream)
		usable = reachable(servers, local)
	}
	var b bytes.Buffer
	if len(usable) == 0 {
		b.WriteString("# The node has no name server that can be reached from here.\n")
	}
	for _, s := range usable {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	}
	return b.Bytes()
}

func parseResolvConf(content []byte) (servers []netip.Addr, options []string) {
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(fields[1]); err == nil {
				servers = append(servers, a.Unmap())
			}
		case "options":
			for _, o := range fields[1:] {
				// What a local listener vouches for, others may not.
				if o != "trust-ad" {
					options = append(options, o)
				}
			}
		}
	}
	return servers, options
}

func reachable(servers []netip.Addr, local map[netip.Addr]bool) []netip.Addr {
	var usable []netip.Addr
	for _, s := range servers {
		bad := !s.Is4() || local[s] || len(usable) == maxNameservers
		for _, p := range forbidden {
			bad = bad || p.Contains(s)
		}
		if !bad {
			usable = append(usable, s)
		}
	}
	return usable
}

// localAddresses returns the addresses of the node's interfaces.
func localAddresses() (map[netip.Addr]bool, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	local := make(map[netip.Addr]bool)
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			local[prefixOf(n).Addr()] = true
		}
	}
	return local, nil
}

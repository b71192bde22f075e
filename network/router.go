package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Names of the uplink's ends and indexes in their namespaces.
const (
	routerUplink      = "uplink"
	routerUplinkIndex = 100
)

// everywhere is the destination of default routes.
var everywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// nodeUplink is the name of the uplink's end in the node's namespace.
func (n *Network) nodeUplink() string { return "kiln" + digest(n.config.Instance) }

// choosePrefix settles which addresses slots have, and the links' MTU.
func (n *Network) choosePrefix() error {
	var taken []netip.Prefix
	err := within(n.base, func() (err error) {
		taken, n.mtu, err = routes()
		return err
	})
	if err != nil {
		return err
	}
	prefix := n.config.Prefix
	if !prefix.IsValid() {
		if prefix, err = pickPrefix(n.config.Instance, taken); err != nil {
			return err
		}
	} else if t, ok := overlap(prefix, taken); ok && n.config.Egress {
		return fmt.Errorf("prefix %s overlaps the node's route to %s; choose another", prefix, t)
	}
	n.plan = plan{prefix: prefix}
	n.indexes = indexes{limit: n.plan.links(), used: make(map[int]bool)}
	return nil
}

// makeRouter makes the router's namespace with its rules.
func (n *Network) makeRouter() error {
	path := filepath.Join(n.namespaces(), "router")
	err := newNamespace(path, func() error {
		if err := disableIPv6(); err != nil {
			return err
		}
		forward := "0"
		if n.config.Egress {
			forward = "1"
		}
		for _, p := range []struct{ name, value string }{
			{"net/ipv4/ip_forward", forward},
			// Beside the rules: a source address must be routed where it came from.
			{"net/ipv4/conf/all/rp_filter", "1"},
			{"net/ipv4/conf/default/rp_filter", "1"},
			// A gateway is nobody's way to another slot.
			{"net/ipv4/conf/all/send_redirects", "0"},
			{"net/ipv4/conf/default/send_redirects", "0"},
			// Answer ARP only for the link's own gateway.
			{"net/ipv4/conf/all/arp_ignore", "2"},
		} {
			if err := sysctl(p.name, p.value); err != nil {
				return err
			}
		}
		links, err := openRtnl()
		if err != nil {
			return err
		}
		n.links = links
		return links.do(setUp(1)) // lo
	})
	if err != nil {
		return err
	}
	if n.router, err = os.Open(path); err != nil {
		return err
	}
	// The rules are there before any link is.
	return applyRules(n.router, n.routerRules())
}

// makeUplink connects the router to the node and the node to the world.
func (n *Network) makeUplink() error {
	node, router := n.plan.near(0), n.plan.far(0)
	if err := applyRules(n.base, n.nodeRules()); err != nil {
		return err
	}
	err := n.links.do(
		addVeth(veth{
			name: routerUplink, index: routerUplinkIndex,
			peer: n.nodeUplink(), peerNS: int(n.base.Fd()), mtu: n.mtu,
		}),
		addAddress(routerUplinkIndex, router),
		addRoute(routerUplinkIndex, everywhere, node),
	)
	if err != nil {
		return err
	}
	return within(n.base, func() error {
		err := sysctl("net/ipv6/conf/"+n.nodeUplink()+"/disable_ipv6", "1")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		link, err := h.LinkByName(n.nodeUplink())
		if err != nil {
			return err
		}
		links, err := openRtnl()
		if err != nil {
			return err
		}
		defer links.close()
		index := link.Attrs().Index
		if err := links.do(setUp(index), addAddress(index, node), addRoute(index, n.plan.prefix, router)); err != nil {
			return err
		}
		return n.startForwarding()
	})
}

// sweep removes what this or an earlier process with the same Dir and Instance
// made, as far as it is there, and undoes its changes to the node.
func (n *Network) sweep() error {
	errs := []error{letGo(n.namespaces()), removeRules(n.base, n.nodeTable())}
	errs = append(errs, within(n.base, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		link, err := h.LinkByName(n.nodeUplink())
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		if err != nil {
			return err
		}
		return h.LinkDel(link)
	}))
	errs = append(errs, n.stopForwarding())
	return errors.Join(errs...)
}

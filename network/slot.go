package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
)

// slotLink is the index of eth0 in every slot. Low ones may be taken by the
// tunnel devices that some kernels put into each new namespace.
const slotLink = 100

// routerLinks is added to a slot's index to get that of its link in the router.
const routerLinks = 1000

// Slot is the network of one sandbox. It is made for one sandbox and destroyed
// with it. Its fields do not change.
type Slot struct {
	// Path is the network namespace's, for setns or a runtime's configuration.
	Path string
	// Address is eth0's. A back end with a network stack of its own, as gVisor,
	// takes it over from the namespace.
	Address netip.Addr
	// Gateway is the router's address on the slot's link: the only one that the
	// slot reaches without egress.
	Gateway netip.Addr

	index    int
	network  *Network
	released bool // guarded by network.mu
}

// makeSlot makes the slot of a given index; on error nothing is left.
func (n *Network) makeSlot(index int) (*Slot, error) {
	s := &Slot{
		Path:    filepath.Join(n.namespaces(), "slot-"+strconv.Itoa(index)),
		Address: n.plan.far(index),
		Gateway: n.plan.near(index),
		index:   index,
		network: n,
	}
	err := newNamespace(s.Path, func() error {
		if err := disableIPv6(); err != nil {
			return err
		}
		links, err := openRtnl()
		if err != nil {
			return err
		}
		defer links.close()
		requests := []request{
			addVeth(veth{
				name: "eth0", index: slotLink,
				peer: "slot" + strconv.Itoa(index), peerIndex: routerLinks + index,
				peerNS: int(n.router.Fd()), mtu: n.mtu,
			}),
			setUp(1), // lo
			addAddress(slotLink, s.Address),
		}
		if n.config.Egress {
			requests = append(requests, addRoute(slotLink, everywhere, s.Gateway))
		}
		return links.do(requests...)
	})
	if err == nil {
		err = n.links.do(setUp(routerLinks+index), addAddress(routerLinks+index, s.Gateway))
	}
	if err != nil {
		// The link goes with the namespace, but later.
		return nil, fmt.Errorf("network slot: %w", errors.Join(err, letGo(s.Path)))
	}
	return s, nil
}

// disableIPv6 turns IPv6 off in the calling thread's namespace, for interfaces
// that exist and those to come. A kernel without IPv6 is as good.
func disableIPv6() error {
	for _, name := range []string{"default", "all"} {
		err := sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("turning IPv6 off: %w", err)
		}
	}
	return nil
}

// ListenInside listens on 127.0.0.1 inside the slot. It is for back ends whose
// processes use the kernel's network stack: gVisor's do not see it.
func (s *Slot) ListenInside(port uint16) (net.Listener, error) {
	ns, err := os.Open(s.Path)
	if err != nil {
		return nil, fmt.Errorf("network slot: %w", err)
	}
	defer ns.Close()
	return listenIn(ns, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
}

// ListenGateway listens on the slot's gateway address in the router. Only this
// slot reaches it, and only if port is one of Config.Ports.
func (s *Slot) ListenGateway(port uint16) (net.Listener, error) {
	return listenIn(s.network.router, netip.AddrPortFrom(s.Gateway, port))
}

func listenIn(ns *os.File, addr netip.AddrPort) (l net.Listener, err error) {
	err = within(ns, func() error {
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		l, err = config.Listen(context.Background(), "tcp4", addr.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("network slot: %w", err)
	}
	return l, nil
}

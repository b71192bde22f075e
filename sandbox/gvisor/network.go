package gvisor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/config"
)

// takeover is what a sandbox has taken from the network namespace it was given:
// the guest's own stack answers for the interfaces' addresses, through a packet
// socket on each, so the kernel's stack must not. Neither the guest kernel nor
// the file server is in the namespace; the socket is all they have of it.
type takeover struct {
	namespace *os.File
	links     []takenLink
	// args is what the guest kernel is told; its files are the sockets.
	args boot.CreateLinksAndRoutesArgs
}

type takenLink struct {
	link      netlink.Link
	addresses []netlink.Addr
	routes    []netlink.Route
}

// takeNetwork takes the interfaces that are up in the namespace at path; "" is
// a guest with nothing but a loopback. On error nothing is changed.
func takeNetwork(path string) (*takeover, error) {
	t := &takeover{args: boot.CreateLinksAndRoutesArgs{LoopbackLinks: []boot.LoopbackLink{boot.DefaultLoopbackLink}}}
	if path == "" {
		return t, nil
	}
	namespace, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	t.namespace = namespace
	if err := inNamespace(namespace, t.take); err != nil {
		return nil, errors.Join(fmt.Errorf("take network namespace %s: %w", path, err), t.release())
	}
	return t, nil
}

// take collects, opens the sockets, then takes the addresses away.
func (t *takeover) take(handle *netlink.Handle) error {
	links, err := handle.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		attrs := link.Attrs()
		if attrs.Flags&net.FlagLoopback != 0 || attrs.Flags&net.FlagUp == 0 {
			continue
		}
		taken := takenLink{link: link}
		if taken.addresses, err = globalAddresses(handle, link); err != nil {
			return err
		}
		if len(taken.addresses) == 0 {
			continue
		}
		if taken.routes, err = handle.RouteList(link, netlink.FAMILY_V4); err != nil {
			return err
		}
		if err := t.describe(handle, taken); err != nil {
			return err
		}
		for i := range taken.addresses {
			if err := handle.AddrDel(link, &taken.addresses[i]); err != nil {
				return fmt.Errorf("remove %s: %w", taken.addresses[i].IPNet, err)
			}
			if i == 0 {
				t.links = append(t.links, taken) // from here on there is something to give back
			}
		}
	}
	return nil
}

// describe opens the link's packet socket and writes down what the guest is to know.
func (t *takeover) describe(handle *netlink.Handle, taken takenLink) error {
	attrs := taken.link.Attrs()
	out := boot.FDBasedLink{
		Name:              attrs.Name,
		InterfaceIndex:    attrs.Index,
		MTU:               attrs.MTU,
		LinkAddress:       attrs.HardwareAddr,
		NumChannels:       1,
		RXChecksumOffload: true,
		// A queue of its own would add a goroutine switch to every packet.
		QDisc: config.QDiscNone,
	}
	for _, a := range taken.addresses {
		ones, _ := a.Mask.Size()
		out.Addresses = append(out.Addresses, boot.IPWithPrefix{Address: a.IP, PrefixLen: ones})
	}
	for _, r := range taken.routes {
		route := boot.Route{Gateway: r.Gw, MTU: uint32(r.MTU)}
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			if t.args.Defaultv4Gateway.Name != "" {
				return errors.New("two default routes")
			}
			route.Destination = net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
			t.args.Defaultv4Gateway = boot.DefaultRoute{Route: route, Name: attrs.Name}
			continue
		}
		route.Destination = *r.Dst
		out.Routes = append(out.Routes, route)
	}
	neighbors, err := handle.NeighList(attrs.Index, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, n := range neighbors {
		if n.State&netlink.NUD_PERMANENT != 0 && len(n.HardwareAddr) > 0 {
			out.Neighbors = append(out.Neighbors, boot.Neighbor{IP: n.IP, HardwareAddr: n.HardwareAddr})
		}
	}
	socket, offload, err := packetSocket(attrs.Index)
	if err != nil {
		return fmt.Errorf("packet socket on %s: %w", attrs.Name, err)
	}
	t.args.Files = append(t.args.Files, socket)
	if offload && attrs.GSOMaxSize > 0 {
		out.GSOMaxSize = attrs.GSOMaxSize
	} else {
		out.GSOMaxSize, out.GVisorGSOEnabled = stack.GVisorGSOMaxSize, true
	}
	t.args.FDBasedLinks = append(t.args.FDBasedLinks, out)
	return nil
}

// sent closes the sockets here: the guest kernel has its own copies.
func (t *takeover) sent() {
	closeAll(t.args.Files)
	t.args.Files = nil
}

// release gives the interfaces their addresses and routes back, so that the
// namespace is again what it was. A namespace whose interfaces are gone is fine.
func (t *takeover) release() error {
	t.sent()
	if t.namespace == nil {
		return nil
	}
	defer func() { t.namespace.Close(); t.namespace = nil }()
	if len(t.links) == 0 {
		return nil
	}
	return inNamespace(t.namespace, func(handle *netlink.Handle) error {
		for _, taken := range t.links {
			if _, err := handle.LinkByIndex(taken.link.Attrs().Index); err != nil {
				continue
			}
			for i := range taken.addresses {
				if err := handle.AddrReplace(taken.link, &taken.addresses[i]); err != nil {
					return fmt.Errorf("give %s back: %w", taken.addresses[i].IPNet, err)
				}
			}
			for i := range taken.routes {
				if err := handle.RouteReplace(&taken.routes[i]); err != nil {
					return fmt.Errorf("give route %s back: %w", taken.routes[i].Dst, err)
				}
			}
		}
		return nil
	})
}

// globalAddresses leaves out the link-local addresses, which every stack makes itself.
func globalAddresses(handle *netlink.Handle, link netlink.Link) ([]netlink.Addr, error) {
	all, err := handle.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	var global []netlink.Addr
	for _, a := range all {
		if !a.IP.IsLinkLocalUnicast() || len(all) == 1 {
			global = append(global, a)
		}
	}
	return global, nil
}

// packetSocket opens a raw socket on an interface of the current namespace.
// offload says that it carries segmentation headers.
func packetSocket(index int) (socket *os.File, offload bool, err error) {
	// Protocol 0 at first: a socket that listens on all interfaces takes a grace
	// period to bind.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, false, os.NewSyscallError("socket", err)
	}
	socket = os.NewFile(uintptr(fd), "packet socket")
	const everything = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: index}); err != nil {
		socket.Close()
		return nil, false, os.NewSyscallError("bind", err)
	}
	offload = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1) == nil
	// The machine's default of 208 KB loses packets when a payload of megabytes arrives.
	const buffer = 4 << 20
	for _, option := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, buffer); err != nil {
			socket.Close()
			return nil, false, os.NewSyscallError("setsockopt", err)
		}
	}
	return socket, offload, nil
}

// inNamespace runs f on a thread that is in the network namespace.
func inNamespace(namespace *os.File, f func(*netlink.Handle) error) error {
	done := make(chan error, 1)
	go func() {
		// Unlocked only once the thread is home; else it ends with the goroutine.
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		err = os.NewSyscallError("setns", unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET))
		if err == nil {
			var handle *netlink.Handle
			if handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err == nil {
				err = f(handle)
				handle.Close()
			}
		}
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

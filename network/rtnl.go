package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// rtnl is a socket to the kernel's routing part in the namespace of the thread
// that opened it. It sends many requests in one system call, which is what it
// exists for beside netlink.Handle. It is safe for concurrent use.
type rtnl struct {
	mu  sync.Mutex
	fd  int
	seq uint32
}

func openRtnl() (*rtnl, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	// Acknowledgements come without a copy of the request.
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	return &rtnl{fd: fd}, nil
}

func (r *rtnl) close() error { return unix.Close(r.fd) }

// request is one change and what to call it in an error.
type request struct {
	what string
	msg  *nl.NetlinkRequest
}

// do makes the changes, a few dozen at most, in order. A change that fails does not keep the later
// ones from being tried; the error is that of all that failed.
func (r *rtnl) do(requests ...request) error {
	if len(requests) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := make(map[uint32]string, len(requests))
	var buf []byte
	for _, q := range requests {
		r.seq++
		q.msg.Seq = r.seq
		waiting[r.seq] = q.what
		b := q.msg.Serialize()
		buf = append(buf, b...)
		buf = append(buf, make([]byte, -len(b)&3)...)
	}
	if err := unix.Sendto(r.fd, buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	// The kernel has done them all when sendto returns; only the answers are left to read.
	var errs []error
	answer := make([]byte, 64<<10)
	for len(waiting) > 0 {
		size, _, err := unix.Recvfrom(r.fd, answer, 0)
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		msgs, err := syscall.ParseNetlinkMessage(answer[:size])
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		for _, m := range msgs {
			what, ok := waiting[m.Header.Seq]
			if !ok || m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
				continue
			}
			delete(waiting, m.Header.Seq)
			if code := int32(nl.NativeEndian().Uint32(m.Data)); code != 0 {
				errs = append(errs, fmt.Errorf("%s: %w", what, unix.Errno(-code)))
			}
		}
	}
	return errors.Join(errs...)
}

// veth describes a pair of connected interfaces: one in the namespace of the
// socket, up from the start, and the peer, down, in another.
type veth struct {
	name      string
	index     int
	peer      string
	peerIndex int
	peerNS    int // file descriptor
	mtu       int
}

// addVeth makes a pair. Both indexes are given, so that no later request has
// to look an interface up.
func addVeth(v veth) request {
	msg := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	msg.AddData(linkInfo(v.index, unix.IFF_UP))
	addLinkAttrs(msg.AddData, v.name, v.mtu)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	peer.AddChild(linkInfo(v.peerIndex, 0)) // it cannot be up before it is connected
	addLinkAttrs(peer.AddChild, v.peer, v.mtu)
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(v.peerNS)))
	msg.AddData(info)
	return request{"adding link " + v.peer, msg}
}

func addLinkAttrs(add func(nl.NetlinkRequestData), name string, mtu int) {
	add(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	add(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))))
	// One queue: the default is one for each core, and slots are many.
	add(nl.NewRtAttr(unix.IFLA_NUM_TX_QUEUES, nl.Uint32Attr(1)))
	add(nl.NewRtAttr(unix.IFLA_NUM_RX_QUEUES, nl.Uint32Attr(1)))
}

func linkInfo(index int, flags uint32) *nl.IfInfomsg {
	info := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info.Index = int32(index)
	info.Flags, info.Change = flags, flags
	return info
}

// setUp brings an interface up.
func setUp(index int) request {
	msg := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg.AddData(linkInfo(index, unix.IFF_UP))
	return request{"bringing a link up", msg}
}

// deleteLink removes an interface, and its peer with it. It takes long, some
// 20 ms, for which the kernel holds a lock of the whole machine.
func deleteLink(index int) request {
	msg := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	msg.AddData(linkInfo(index, 0))
	return request{"removing a link", msg}
}

// findLink fails with ENODEV if there is no such interface.
func findLink(index int) request {
	msg := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	msg.AddData(linkInfo(index, 0))
	return request{"finding a link", msg}
}

// addAddress gives an interface an address of a /30.
func addAddress(index int, addr netip.Addr) request {
	msg := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	info := nl.NewIfAddrmsg(unix.AF_INET)
	info.Index = uint32(index)
	info.Prefixlen = 30
	msg.AddData(info)
	msg.AddData(nl.NewRtAttr(unix.IFA_LOCAL, addr.AsSlice()))
	msg.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, addr.AsSlice()))
	return request{"adding address " + addr.String(), msg}
}

// deleteAddress takes an address away again.
func deleteAddress(index int, addr netip.Addr) request {
	msg := nl.NewNetlinkRequest(unix.RTM_DELADDR, unix.NLM_F_ACK)
	info := nl.NewIfAddrmsg(unix.AF_INET)
	info.Index = uint32(index)
	info.Prefixlen = 30
	msg.AddData(info)
	msg.AddData(nl.NewRtAttr(unix.IFA_LOCAL, addr.AsSlice()))
	return request{"removing address " + addr.String(), msg}
}

// addRoute routes dst, the default route if it is 0.0.0.0/0, to a neighbour.
func addRoute(index int, dst netip.Prefix, via netip.Addr) request {
	msg := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	info := nl.NewRtMsg()
	info.Family = unix.AF_INET
	info.Dst_len = uint8(dst.Bits())
	msg.AddData(info)
	if dst.Bits() > 0 {
		msg.AddData(nl.NewRtAttr(unix.RTA_DST, dst.Addr().AsSlice()))
	}
	msg.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, via.AsSlice()))
	msg.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
	return request{"adding route to " + dst.String(), msg}
}

// routes returns the destinations of all routes in the calling thread's
// namespace but the default ones, and the MTU of the link that the default
// route takes, 1500 if there is none.
func routes() ([]netip.Prefix, int, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, 0, err
	}
	defer h.Close()
	list, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the node's routes: %w", err)
	}
	mtu := 1500
	var dests []netip.Prefix
	for _, r := range list {
		p := prefixOf(r.Dst)
		if p.IsValid() && p.Bits() > 0 {
			dests = append(dests, p)
			continue
		}
		if link, err := h.LinkByIndex(r.LinkIndex); err == nil && r.Table == unix.RT_TABLE_MAIN {
			mtu = min(mtu, link.Attrs().MTU)
		}
	}
	return dests, mtu, nil
}

func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits)
}

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Attempts at sockets, and looks at the network.
func init() {
	probes["ask"] = ask
	probes["lookup"] = lookup
	probes["spoof"] = spoof
	probes["spoofasroot"] = func(arg string) (any, error) {
		value, err := runApart(child(userNamespace(0), "spoof="+arg))
		if err != nil { // it cannot be root: as it is then
			return spoof(arg)
		}
		return value, err
	}
	probes["serve"] = serve

	for name, k := range map[string][3]int{
		"packet": {unix.AF_PACKET, unix.SOCK_RAW, unix.ETH_P_ALL << 8}, "packet-datagram": {unix.AF_PACKET, unix.SOCK_DGRAM, unix.ETH_P_ALL << 8},
		"raw": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW}, "raw-icmp": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		"raw6": {unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6}, "vsock": {unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		"alg": {unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, "xdp": {unix.AF_XDP, unix.SOCK_RAW, 0},
		"bluetooth": {unix.AF_BLUETOOTH, unix.SOCK_RAW, 1}, "key": {unix.AF_KEY, unix.SOCK_RAW, 2}, "can": {unix.AF_CAN, unix.SOCK_RAW, 1},
		"tipc": {unix.AF_TIPC, unix.SOCK_RDM, 0}, "rds": {unix.AF_RDS, unix.SOCK_SEQPACKET, 0}, "smc": {unix.AF_SMC, unix.SOCK_STREAM, 0},
		"netlink-audit":     {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
		"netlink-netfilter": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
		"netlink-generic":   {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC},
		"netlink-xfrm":      {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM},
		"netlink-uevent":    {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT},
	} {
		attempts[name+"-socket"] = func() (string, error) {
			fd, err := unix.Socket(k[0], k[1], k[2])
			if err == nil {
				unix.Close(fd)
			}
			return "", err
		}
	}
	attempts["transparent-socket"] = func() (string, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return "socket", err
		}
		return "", unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
	}
	attempts["socket-mark"] = func() (string, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return "socket", err
		}
		return "", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 1)
	}
	attempts["add-route"] = func() (string, error) { return "", changeRoute() }
}

// ask connects to TCP addresses, all at once: address → what the server says
// at once, or "error: ..." if there is no answer.
func ask(targets string) (any, error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	result := map[string]string{}
	for target := range strings.SplitSeq(targets, ",") {
		all.Go(func() {
			answer := greeting(target)
			mu.Lock()
			result[target] = answer
			mu.Unlock()
		})
	}
	all.Wait()
	return result, nil
}

// greetingPatience is long for one machine, with one retransmission.
const greetingPatience = 1500 * time.Millisecond

func greeting(target string) string {
	c, err := net.DialTimeout("tcp4", target, greetingPatience)
	if err != nil {
		return "error: " + err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 200)
	n, err := c.Read(buf)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(buf[:n])
}

// lookup resolves a name.
func lookup(name string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return (&net.Resolver{PreferGo: true}).LookupHost(ctx, name)
}

// spoof sends datagrams to "host:port" with source addresses that are not its
// own, by every way there is: way → error. Their payload is the way's name.
func spoof(arg string) (any, error) {
	target, source, _ := strings.Cut(arg, "/")
	to, err := net.ResolveUDPAddr("udp4", target)
	if err != nil {
		return nil, err
	}
	dst, src := &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}, &unix.SockaddrInet4{Port: 50999, Addr: [4]byte(net.ParseIP(source).To4())}
	bound := func(option int) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, option, 1); err != nil {
			return err
		}
		if err := unix.Bind(fd, src); err != nil {
			return err
		}
		return unix.Sendto(fd, []byte("spoofed"), 0, dst)
	}
	ways := map[string]func() error{
		"freebind":    func() error { return bound(unix.IP_FREEBIND) },
		"transparent": func() error { return bound(unix.IP_TRANSPARENT) },
		"header included": func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Sendto(fd, datagram(src, dst, "spoofed"), 0, dst)
		},
		"packet socket": func() error {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			link, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			return unix.Sendto(fd, datagram(src, dst, "spoofed"), 0, &unix.SockaddrLinklayer{Protocol: 8, Ifindex: link.Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}})
		},
		"packet info": func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Sendmsg(fd, []byte("packet info"), unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: src.Addr}), dst, 0)
		},
	}
	result := map[string]string{}
	for name, send := range ways {
		result[name] = "sent"
		if err := send(); err != nil {
			result[name] = err.Error()
		}
	}
	c, err := net.Dial("udp4", target)
	if err == nil {
		defer c.Close()
		_, err = c.Write([]byte("honest"))
	}
	return result, err
}

// datagram is an IPv4 packet with UDP in it.
func datagram(src, dst *unix.SockaddrInet4, payload string) []byte {
	p := make([]byte, 28, 28+len(payload))
	p = append(p, payload...)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], src.Addr[:])
	copy(p[16:], dst.Addr[:])
	binary.BigEndian.PutUint16(p[20:], uint16(src.Port))
	binary.BigEndian.PutUint16(p[22:], uint16(dst.Port))
	binary.BigEndian.PutUint16(p[24:], uint16(len(p)-20))
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum+sum>>16))
	return p
}

// changeRoute asks the kernel for a default route by netlink.
func changeRoute() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	m := make([]byte, 16+12+8)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], unix.RTM_NEWROUTE)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE)
	m[16], m[20], m[21], m[22], m[23] = unix.AF_INET, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_LINK, unix.RTN_UNICAST
	binary.NativeEndian.PutUint16(m[28:], 8)
	binary.NativeEndian.PutUint16(m[30:], unix.RTA_OIF)
	m[32] = 1
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	size, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil || size < 20 {
		return err
	}
	if code := int32(binary.NativeEndian.Uint32(buf[16:])); code < 0 {
		return syscall.Errno(-code)
	}
	return nil
}

// serve answers each connection to a port, on all addresses, for ever; it says
// when it has begun.
func serve(port string) (any, error) {
	l, err := net.Listen("tcp4", ":"+port)
	if err != nil {
		return nil, err
	}
	fmt.Println(`{"probe":"serve"}`)
	for {
		c, err := l.Accept()
		if err != nil {
			return nil, err
		}
		fmt.Fprint(c, "a sandbox")
		c.Close()
	}
}

package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tablePrefix begins the names of all our tables in nodes' namespaces.
const tablePrefix = "kiln-"

func (n *Network) nodeTable() string { return tablePrefix + n.config.Instance }

// forbidden are destinations that no slot may reach: this host, link-local
// addresses with the clouds' metadata services among them, multicast, reserved.
var forbidden = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("240.0.0.0/4"),
}

// ruleset is one table of the family inet.
type ruleset struct {
	table  string
	chains []chain
}

// chain is a base chain; a packet that no rule decides on has its policy.
type chain struct {
	name     string
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	nat      bool
	policy   nftables.ChainPolicy
	rules    [][]expr.Any
}

// routerRules are the rules of the router's namespace. All interfaces there
// but lo and the uplink are slots'.
func (n *Network) routerRules() ruleset {
	guard := chain{
		name: "guard", hook: nftables.ChainHookPrerouting, priority: nftables.ChainPriorityRaw,
		policy: nftables.ChainPolicyAccept,
		rules: [][]expr.Any{
			rule(from("lo"), accept),
			rule(from(routerUplink), accept),
			rule(otherFamily(), drop),
			rule(spoofed(), drop),
		},
	}
	for _, p := range forbidden {
		guard.rules = append(guard.rules, rule(to(p), drop))
	}
	input := chain{
		name: "input", hook: nftables.ChainHookInput, priority: nftables.ChainPriorityFilter,
		policy: nftables.ChainPolicyDrop,
		rules: [][]expr.Any{
			rule(from("lo"), accept),
			rule(known(), accept),
			rule(from(routerUplink), drop),
			// From here on: a slot. Its gateway is what is local to its own link.
			rule(notForLink(), drop),
			rule(tcp(n.config.Ports), accept),
			rule(ping(), accept),
		},
	}
	forward := chain{
		name: "forward", hook: nftables.ChainHookForward, priority: nftables.ChainPriorityFilter,
		policy: nftables.ChainPolicyDrop,
	}
	if n.config.Egress {
		forward.rules = [][]expr.Any{
			rule(to(n.plan.prefix), from(routerUplink), known(), accept),
			rule(to(n.plan.prefix), drop), // other slots, and the uplink's own addresses
			rule(leaving(routerUplink), accept),
		}
	}
	return ruleset{table: "kiln", chains: []chain{guard, input, forward}}
}

// nodeRules are the rules of the node's namespace. They concern nothing but
// the uplink's traffic.
func (n *Network) nodeRules() ruleset {
	uplink := n.nodeUplink()
	return ruleset{table: n.nodeTable(), chains: []chain{
		{
			name: "input", hook: nftables.ChainHookInput, priority: nftables.ChainPriorityFilter,
			policy: nftables.ChainPolicyAccept,
			rules:  [][]expr.Any{rule(from(uplink), drop)},
		},
		{
			name: "forward", hook: nftables.ChainHookForward, priority: nftables.ChainPriorityFilter,
			policy: nftables.ChainPolicyAccept,
			rules: [][]expr.Any{
				rule(from(uplink), otherFamily(), drop),
				rule(from(uplink), notFromPrefix(n.plan.prefix), drop),
				rule(from(uplink), accept),
				rule(leaving(uplink), known(), accept),
				rule(leaving(uplink), drop), // the node's neighbours have no way in
			},
		},
		{
			name: "postrouting", hook: nftables.ChainHookPostrouting, priority: nftables.ChainPriorityNATSource, nat: true,
			policy: nftables.ChainPolicyAccept,
			rules:  [][]expr.Any{rule(fromPrefix(n.plan.prefix), notLeaving(uplink), []expr.Any{&expr.Masq{}})},
		},
	}}
}

// applyRules makes a table in a namespace, in one transaction.
func applyRules(ns *os.File, rs ruleset) error {
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	table := conn.AddTable(&nftables.Table{Name: rs.table, Family: nftables.TableFamilyINet})
	for _, c := range rs.chains {
		kind := nftables.ChainTypeFilter
		if c.nat {
			kind = nftables.ChainTypeNAT
		}
		added := conn.AddChain(&nftables.Chain{
			Table: table, Name: c.name, Type: kind,
			Hooknum: c.hook, Priority: c.priority, Policy: &c.policy,
		})
		for _, exprs := range c.rules {
			conn.AddRule(&nftables.Rule{Table: table, Chain: added, Exprs: exprs})
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: making table %s: %w", rs.table, err)
	}
	return nil
}

// removeRules removes a table if it is there.
func removeRules(ns *os.File, table string) error {
	names, err := tablesLike(ns, table)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != table {
			continue
		}
		conn, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
		if err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
		conn.DelTable(&nftables.Table{Name: table, Family: nftables.TableFamilyINet})
		if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("nftables: removing table %s: %w", table, err)
		}
	}
	return nil
}

// tablesLike returns the names of the namespace's inet tables that begin with prefix.
func tablesLike(ns *os.File, prefix string) ([]string, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	var names []string
	for _, t := range tables {
		if strings.HasPrefix(t.Name, prefix) {
			names = append(names, t.Name)
		}
	}
	return names, nil
}

// rule joins matches and a verdict.
func rule(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

var (
	accept = []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	drop   = []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
)

// ifname is an interface name as the kernel compares it.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func match(load expr.Any, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{load, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

func from(name string) []expr.Any {
	return match(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, expr.CmpOpEq, ifname(name))
}

func leaving(name string) []expr.Any {
	return match(&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, expr.CmpOpEq, ifname(name))
}

func notLeaving(name string) []expr.Any {
	return match(&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, expr.CmpOpNeq, ifname(name))
}

var familyIPv4 = match(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, expr.CmpOpEq, []byte{unix.NFPROTO_IPV4})

// otherFamily matches what is not IPv4.
func otherFamily() []expr.Any {
	return match(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, expr.CmpOpNeq, []byte{unix.NFPROTO_IPV4})
}

// Offsets of the addresses in an IPv4 header.
const (
	sourceOffset      = 12
	destinationOffset = 16
)

func address(offset uint32, op expr.CmpOp, p netip.Prefix) []expr.Any {
	mask := make([]byte, 4)
	binary.BigEndian.PutUint32(mask, ^uint32(0)<<(32-p.Bits()))
	return rule(familyIPv4, []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: p.Masked().Addr().AsSlice()},
	})
}

func to(p netip.Prefix) []expr.Any         { return address(destinationOffset, expr.CmpOpEq, p) }
func fromPrefix(p netip.Prefix) []expr.Any { return address(sourceOffset, expr.CmpOpEq, p) }

func notFromPrefix(p netip.Prefix) []expr.Any {
	return address(sourceOffset, expr.CmpOpNeq, p)
}

// spoofed matches a source address that is not routed to where it came from.
func spoofed() []expr.Any {
	return match(&expr.Fib{Register: 1, FlagSADDR: true, FlagIIF: true, ResultOIF: true},
		expr.CmpOpEq, binaryutil.NativeEndian.PutUint32(0))
}

// notForLink matches a destination that is not an address of the receiving interface.
func notForLink() []expr.Any {
	return match(&expr.Fib{Register: 1, FlagDADDR: true, FlagIIF: true, ResultADDRTYPE: true},
		expr.CmpOpNeq, binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL))
}

// known matches packets of a connection that was let through before.
func known() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
			Xor:  make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func protocol(p byte) []expr.Any {
	return match(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, expr.CmpOpEq, []byte{p})
}

// tcp matches a range of destination ports.
func tcp(ports Ports) []expr.Any {
	return rule(protocol(unix.IPPROTO_TCP), []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: binaryutil.BigEndian.PutUint16(ports.First)},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: binaryutil.BigEndian.PutUint16(ports.Last)},
	})
}

// ping matches ICMP echo requests.
func ping() []expr.Any {
	const echoRequest = 8
	return rule(protocol(unix.IPPROTO_ICMP), match(
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		expr.CmpOpEq, []byte{echoRequest}))
}

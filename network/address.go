package network

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
)

// errNoAddress is returned when every /30 of the prefix is taken.
var errNoAddress = errors.New("all of the network's addresses are in use")

// plan divides a prefix into links of a /30 each. Link 0 is the uplink, the
// others are slots'. Of a link's four addresses the first and last are not used.
type plan struct {
	prefix netip.Prefix
}

// links returns how many links there is room for, the uplink included.
func (p plan) links() int { return 1 << (30 - p.prefix.Bits()) }

// near is the address of link i's end that leads to the world: the slot's
// gateway, or the node's end of the uplink. far is the other end's.
func (p plan) near(i int) netip.Addr { return p.address(i, 1) }
func (p plan) far(i int) netip.Addr  { return p.address(i, 2) }

func (p plan) address(i, k int) netip.Addr {
	b := p.prefix.Addr().As4()
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(b[:])+uint32(i)*4+uint32(k))
	return netip.AddrFrom4(a)
}

// checkPrefix says whether a prefix can be divided.
func checkPrefix(p netip.Prefix) error {
	if !p.Addr().Is4() || p.Bits() > 29 || p.Bits() < 8 {
		return fmt.Errorf("network: prefix %s: an IPv4 prefix of 8 to 29 bits is needed", p)
	}
	return nil
}

// Where prefixes are picked from: the range shared by carriers, which private
// networks seldom use, then the one for benchmarks.
var candidateRanges = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("198.18.0.0/15"),
}

// candidateBits is the size of a picked prefix.
const candidateBits = 18

// pickPrefix returns a prefix that overlaps none of taken. Which one depends on
// the instance, so that the networks of two nodes and two instances seldom agree.
func pickPrefix(instance string, taken []netip.Prefix) (netip.Prefix, error) {
	sum := sha256.Sum256([]byte(instance))
	for _, r := range candidateRanges {
		count := uint32(1) << (candidateBits - r.Bits())
		first := binary.BigEndian.Uint32(sum[:4]) % count
		for k := range count {
			b := r.Addr().As4()
			var a [4]byte
			at := (first + k) % count << (32 - candidateBits)
			binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(b[:])+at)
			p := netip.PrefixFrom(netip.AddrFrom4(a), candidateBits)
			if _, ok := overlap(p, taken); !ok {
				return p, nil
			}
		}
	}
	return netip.Prefix{}, errors.New("the node's routes leave no range for sandboxes free; set a prefix")
}

// overlap returns the first of taken that shares addresses with p.
func overlap(p netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	for _, t := range taken {
		if t.Overlaps(p) {
			return t, true
		}
	}
	return netip.Prefix{}, false
}

// indexes hands out the numbers 1 to limit-1. It goes round, so that a number
// comes back as late as possible: the kernel may still be removing the
// namespace that had it last.
type indexes struct {
	limit int
	last  int
	used  map[int]bool
}

func (x *indexes) take() (int, error) {
	for range x.limit - 1 {
		x.last = x.last%(x.limit-1) + 1
		if !x.used[x.last] {
			x.used[x.last] = true
			return x.last, nil
		}
	}
	return 0, errNoAddress
}

func (x *indexes) give(i int) { delete(x.used, i) }

// digest returns 8 characters that stand for s in names of limited length.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

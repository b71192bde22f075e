package network

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustPrefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func contextForVictim() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Minute)
}

func TestPlan(t *testing.T) {
	p := plan{prefix: mustPrefix("100.64.64.0/18")}
	if p.links() != 4096 {
		t.Errorf("%d links", p.links())
	}
	if p.near(0).String() != "100.64.64.1" || p.far(0).String() != "100.64.64.2" || p.far(4095).String() != "100.64.127.254" {
		t.Errorf("addresses %s %s %s", p.near(0), p.far(0), p.far(4095))
	}
}

func TestPickPrefix(t *testing.T) {
	a, err := pickPrefix("a", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := pickPrefix("a", []netip.Prefix{mustPrefix("10.0.0.0/8"), netip.PrefixFrom(a.Addr().Next(), 32)})
	if err != nil {
		t.Fatal(err)
	}
	if a.Overlaps(b) {
		t.Errorf("%s was picked although a route in it exists", b)
	}
	c, err := pickPrefix("a", []netip.Prefix{mustPrefix("100.64.0.0/10")})
	if err != nil || !mustPrefix("198.18.0.0/15").Overlaps(c) {
		t.Errorf("picked %s, %v with the first range taken", c, err)
	}
	if _, err := pickPrefix("a", []netip.Prefix{mustPrefix("100.0.0.0/8"), mustPrefix("198.0.0.0/8")}); err == nil {
		t.Error("a prefix was picked although none is free")
	}
}

func TestIndexes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(2, 10).Draw(t, "limit")
		x := indexes{limit: limit, used: make(map[int]bool)}
		held := make(map[int]bool)
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				i, err := x.take()
				if (err != nil) != (len(held) == limit-1) {
					t.Fatalf("take with %d of %d held: %v", len(held), limit-1, err)
				}
				if err != nil {
					return
				}
				if i < 1 || i >= limit || held[i] {
					t.Fatalf("took %d, held are %v", i, held)
				}
				held[i] = true
			},
			"give": func(t *rapid.T) {
				for i := range held {
					x.give(i)
					delete(held, i)
					break
				}
			},
		})
	})
}

func TestOpenRefuses(t *testing.T) {
	w := newWorld(t)
	for name, config := range map[string]Config{
		"no directory":            {},
		"bad instance":            {Dir: w.dir, Instance: "a/b"},
		"IPv6 prefix":             {Dir: w.dir, Prefix: mustPrefix("fd00::/64")},
		"tiny prefix":             {Dir: w.dir, Prefix: mustPrefix("10.0.0.0/30")},
		"ports the wrong way":     {Dir: w.dir, Ports: Ports{2, 1}},
		"prefix of the node's":    {Dir: w.dir, Base: w.node, Prefix: mustPrefix("203.0.0.0/16"), Egress: true},
		"base that is not there":  {Dir: w.dir, Base: "/nonexistent"},
		"base that is no network": {Dir: w.dir, Base: "/dev/null"},
	} {
		n, err := Open(t.Context(), config)
		if err == nil {
			n.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

package network

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolvConf(t *testing.T) {
	local := map[netip.Addr]bool{netip.MustParseAddr("192.0.2.7"): true}
	for _, c := range []struct{ name, host, upstream, want string }{
		{"plain", "# comment\nsearch corp.example\nnameserver 192.0.2.53\noptions ndots:2 timeout:1\n", "",
			"nameserver 192.0.2.53\noptions ndots:2 timeout:1\n"},
		{"systemd-resolved", "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n", "nameserver 192.0.2.1\nnameserver 192.0.2.2\n",
			"nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0\n"},
		{"the node itself", "nameserver 192.0.2.7\nnameserver 192.0.2.8\n", "nameserver 192.0.2.1\n", "nameserver 192.0.2.8\n"},
		{"IPv6 and metadata", "nameserver fd00::1\nnameserver 169.254.169.253\nnameserver fe80::1%eth0\n", "",
			"# The node has no name server that can be reached from here.\n"},
		{"more than a resolver reads", "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n", "",
			"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n"},
		{"rubbish", "nameserver\nnameserver x\n\x00\n", "", "# The node has no name server that can be reached from here.\n"},
	} {
		if got := string(resolvConf([]byte(c.host), []byte(c.upstream), local)); got != c.want {
			t.Errorf("%s:\n%swant:\n%s", c.name, got, c.want)
		}
	}
}

func TestResolvConfReadsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if _, err := ResolvConf(path); err == nil {
		t.Error("a file that is not there gave no error")
	}
	if err := os.WriteFile(path, []byte("nameserver 192.0.2.53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ResolvConf(path)
	if err != nil || !strings.Contains(string(got), "192.0.2.53") {
		t.Errorf("%q, %v", got, err)
	}
}

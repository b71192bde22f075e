package network

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Forwarding is a switch of the whole node. The value that it had is kept in a
// file, so that it is put back even if this process is killed.

const forwarding = "net/ipv4/ip_forward"

func (n *Network) forwardingFile() string { return filepath.Join(n.config.Dir, "ip_forward.before") }

// startForwarding turns forwarding on if it is off. It must run in the node's
// namespace.
func (n *Network) startForwarding() error {
	before, err := readSysctl(forwarding)
	if err != nil || before == "1" {
		return err
	}
	if err := os.WriteFile(n.forwardingFile(), []byte(before+"\n"), 0o600); err != nil {
		return err
	}
	return sysctl(forwarding, "1")
}

// stopForwarding puts back what startForwarding changed, unless another
// network on the node still needs it: then forwarding stays on.
func (n *Network) stopForwarding() error {
	before, err := os.ReadFile(n.forwardingFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	others, err := tablesLike(n.base, tablePrefix)
	if err != nil {
		return err
	}
	if len(others) == 0 {
		err := within(n.base, func() error { return sysctl(forwarding, strings.TrimSpace(string(before))) })
		if err != nil {
			return err
		}
	}
	return os.Remove(n.forwardingFile())
}

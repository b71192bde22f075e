// Package network makes the networks that sandboxes run in, ahead of time.
//
// One Network belongs to one worker process. It consists of
//
//   - a router: a network namespace that holds the node's ends of all slots' links
//     and every rule about them;
//   - an uplink: one link between the router and the node's own namespace, only
//     with egress;
//   - slots: a namespace each, with lo and an eth0 that has an address of its own.
//
// The rules speak of interfaces and of what the routing table says, never of one
// slot, so their number does not depend on the number of slots: making a slot
// touches no rule. What a slot may reach is its own gateway address, on the ports
// where the worker serves it, and with egress the world behind the node. It
// reaches neither another slot, nor the node, nor link-local addresses such as a
// cloud's metadata service; its packets carry its own source address or are
// dropped. There is no IPv6 in slots.
//
// Namespaces are held by bind mounts below Config.Dir, so that they have a path
// to hand to a sandbox, and Open removes what a killed predecessor left there.
package network

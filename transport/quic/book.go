package quic

import (
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/edgeswarm/edgeswarm/api"
)

// maxAddrs is how many addresses of a node are remembered.
const maxAddrs = 8

// book remembers where nodes are reached: the address that answered last, then
// what was learned, newest first.
type book struct {
	mu    sync.Mutex
	nodes map[api.NodeID]*entry
}

type entry struct {
	good    netip.AddrPort
	addrs   []netip.AddrPort
	changed chan struct{} // closed when an address is new
}

func (b *book) entry(node api.NodeID) *entry {
	if b.nodes == nil {
		b.nodes = map[api.NodeID]*entry{}
	}
	e := b.nodes[node]
	if e == nil {
		e = &entry{changed: make(chan struct{})}
		b.nodes[node] = e
	}
	return e
}

// learn answers whether any of the addresses was not known.
func (b *book) learn(node api.NodeID, addrs ...netip.AddrPort) (fresh bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var heard []netip.AddrPort
	for _, a := range addrs {
		if a = clean(a); a.IsValid() && !slices.Contains(heard, a) {
			heard = append(heard, a)
		}
	}
	if len(heard) == 0 {
		return false
	}
	e := b.entry(node)
	fresh = slices.ContainsFunc(heard, func(a netip.AddrPort) bool { return !slices.Contains(e.addrs, a) })
	for _, a := range e.addrs {
		if !slices.Contains(heard, a) {
			heard = append(heard, a)
		}
	}
	e.addrs = heard[:min(len(heard), maxAddrs)]
	if !slices.Contains(e.addrs, e.good) {
		e.good = netip.AddrPort{}
	}
	if fresh {
		close(e.changed)
		e.changed = make(chan struct{})
	}
	return fresh
}

// answered moves an address to the front: the node was just met there.
func (b *book) answered(node api.NodeID, addr netip.AddrPort) {
	b.learn(node, addr)
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.nodes[node]; e != nil {
		e.good = clean(addr)
	}
}

// silent takes back what answered said.
func (b *book) silent(node api.NodeID, addr netip.AddrPort) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.nodes[node]; e != nil && e.good == addr {
		e.good = netip.AddrPort{}
	}
}

func (b *book) forget(node api.NodeID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.nodes, node)
}

// lookup answers the addresses, best first, and what is closed when one more
// is learned; nil of both for an unknown node.
func (b *book) lookup(node api.NodeID) ([]netip.AddrPort, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.nodes[node]
	if e == nil {
		return nil, nil
	}
	addrs := make([]netip.AddrPort, 0, len(e.addrs))
	if e.good.IsValid() {
		addrs = append(addrs, e.good)
	}
	for _, a := range e.addrs {
		if a != e.good {
			addrs = append(addrs, a)
		}
	}
	return addrs, e.changed
}

// clean gives an address one form; the zero value for one that can't be dialled.
func clean(a netip.AddrPort) netip.AddrPort {
	ip := a.Addr().Unmap()
	if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || a.Port() == 0 {
		return netip.AddrPort{}
	}
	if !ip.IsLinkLocalUnicast() {
		ip = ip.WithZone("")
	}
	return netip.AddrPortFrom(ip, a.Port())
}

func addrPort(a net.Addr) netip.AddrPort {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return clean(udp.AddrPort())
}

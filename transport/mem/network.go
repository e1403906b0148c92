package mem

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// MTU is the largest packet that is carried, in bytes of UDP payload. A larger
// one is lost.
const MTU = 1500 - 48

// DefaultDelay is one way's, about a quiet LAN's. It is not 0, because a round
// trip of no time at all exists nowhere.
const DefaultDelay = 200 * time.Microsecond

// Faults are what happens to packets on their way. The zero value is a
// flawless wire of no delay.
type Faults struct {
	Loss      float64       // probability that a packet is lost
	Duplicate float64       // probability that a packet arrives twice
	Delay     time.Duration // of every packet
	Jitter    time.Duration // up to so much more; packets overtake each other
}

// Network is one LAN. Its methods may be called from any goroutine.
type Network struct {
	mu     sync.Mutex
	rng    *rand.Rand
	hosts  map[netip.AddrPort]*Host
	faults Faults
	links  map[link]Faults
	group  map[netip.Addr]int
	split  bool
	sent   int
}

// link is one direction between two addresses.
type link struct{ from, to netip.Addr }

// New makes a LAN without faults but DefaultDelay. Equal seeds give equal
// faults to equal sequences of packets.
func New(seed uint64) *Network {
	return &Network{
		rng: rand.New(rand.NewPCG(seed, 0x65646765)), hosts: map[netip.AddrPort]*Host{},
		faults: Faults{Delay: DefaultDelay}, links: map[link]Faults{},
	}
}

// Host opens a socket at an address. It errs with EADDRINUSE while another is open there.
func (n *Network) Host(addr netip.AddrPort) (*Host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[addr] != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, syscall.EADDRINUSE)
	}
	h := &Host{net: n, addr: addr, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	n.hosts[addr] = h
	return h, nil
}

// SetFaults sets what happens on every way that has no faults of its own.
func (n *Network) SetFaults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// SetLink sets what happens on the way from one address to another, in that
// direction only.
func (n *Network) SetLink(from, to netip.Addr, f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[link{from, to}] = f
}

// Partition lets only addresses of the same group reach each other. Those not
// named are one group more. Packets under way still arrive.
func (n *Network) Partition(groups ...[]netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.group, n.split = map[netip.Addr]int{}, true
	for i, addrs := range groups {
		for _, a := range addrs {
			n.group[a] = i + 1
		}
	}
}

// Heal ends the partition and all faults set with SetLink.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.group, n.split, n.links = nil, false, map[link]Faults{}
}

// Crash takes the plug out of the host at an address: what it still sends is
// lost, and nothing reaches it again, but it is not told. Its address is free
// for a successor.
func (n *Network) Crash(addr netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.hosts, addr)
}

// Move gives the living host at one address another. Packets under way to the
// old one are lost.
func (n *Network) Move(from, to netip.AddrPort) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[from]
	if h == nil {
		return fmt.Errorf("move %s: no host there", from)
	}
	if n.hosts[to] != nil {
		return fmt.Errorf("move %s to %s: %w", from, to, syscall.EADDRINUSE)
	}
	delete(n.hosts, from)
	n.hosts[to] = h
	h.move(to)
	return nil
}

// Sent counts the packets that were sent so far, the lost ones included.
func (n *Network) Sent() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent
}

// send puts a packet on the wire. What does not arrive is no error, as with UDP.
func (n *Network) send(from *Host, to netip.AddrPort, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	source := from.address()
	if n.hosts[source] != from {
		return // crashed
	}
	n.sent++
	target := n.hosts[to]
	if target == nil || len(data) > MTU || n.split && n.group[source.Addr()] != n.group[to.Addr()] {
		return
	}
	f, ok := n.links[link{source.Addr(), to.Addr()}]
	if !ok {
		f = n.faults
	}
	// The same number of draws for every packet keeps runs of a seed alike.
	lost, twice := n.rng.Float64() < f.Loss, n.rng.Float64() < f.Duplicate
	first, second := n.delay(f), n.delay(f)
	if lost {
		return
	}
	target.put(source, data, first)
	if twice {
		target.put(source, data, second)
	}
}

func (n *Network) delay(f Faults) time.Duration {
	return f.Delay + time.Duration(n.rng.Float64()*float64(f.Jitter))
}

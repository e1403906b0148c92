package network

import (
	"net/netip"
	"time"

	"github.com/edgeswarm/edgeswarm/network/wireguard"
)

const (
	// heardWithin is how long a peer that is there may go without proving itself:
	// it does so every two minutes, if there is anything to send, which keepalive
	// sees to.
	heardWithin = 3*time.Minute + 15*time.Second
	// tryFor is how long one address of a peer is tried before the next.
	tryFor = 10 * time.Second
)

// bearing is how a peer was found so far. WireGuard itself follows a peer that
// changes its address, or is behind an address translation: what it has found is
// left alone, unless the fleet says something new or the peer has fallen silent.
type bearing struct {
	first  netip.AddrPort // of the ways when they were looked at last
	shaken time.Time      // as the link said last, by a clock that may jump
	since  time.Time      // when that changed
	tried  time.Time      // when an address was set last
	way    int            // which of them it was
}

// steer answers the address to set for a peer; invalid leaves it as it is. Ways
// are those by which the peer may be reached, the best first; have is the peer as
// the link has it, nil if it has none.
func (b *bearing) steer(now time.Time, ways []netip.AddrPort, have *wireguard.Peer) (to netip.AddrPort) {
	if have != nil && (have.Shaken != b.shaken || b.since.IsZero()) {
		b.shaken, b.since = have.Shaken, now
	}
	if len(ways) == 0 {
		return to
	}
	news := b.first.IsValid() && b.first != ways[0]
	b.first = ways[0]
	switch {
	case have == nil, !have.Endpoint.IsValid(), news:
		b.way = 0
	case b.silent(now) && now.Sub(b.tried) > tryFor:
		b.way = (b.way + 1) % len(ways)
	default:
		return to
	}
	b.tried = now
	if have != nil && have.Endpoint == ways[b.way] {
		return to
	}
	return ways[b.way]
}

// silent reports whether the peer should have been heard of since.
func (b *bearing) silent(now time.Time) bool {
	return b.shaken.IsZero() || now.Sub(b.since) > heardWithin
}

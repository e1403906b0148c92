// Package discovery finds out who is on this LAN: it announces this board and
// gathers what other boards announce. What it finds is a hint and never a
// proof; the join protocol proves.
//
// It does not dial, does not decide who founds a fleet, and remembers nothing
// across restarts.
package discovery

import (
	"context"
	"net/netip"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Finder announces this board and watches for others.
type Finder interface {
	// Run works until ctx ends, and then withdraws the announcement. An
	// interface that appears, goes or changes its address is followed without
	// a restart; only what can never mend is an error.
	Run(ctx context.Context) error
	// Announce replaces what is announced. Nothing is announced before the first call.
	Announce(a Announcement)
	// Sightings are the boards heard of recently, ordered by node, without this one.
	Sightings() []Sighting
	// Changed receives after Sightings has changed; a burst is one receipt.
	Changed() <-chan struct{}
}

// Announcement is what a board says of itself to the whole LAN: nothing in it
// is secret, and nothing in it is trusted. Every field fits a DNS TXT string
// (with its key, at most 255 bytes).
type Announcement struct {
	Node api.NodeID
	Name string // hostname, for people
	Port uint16 // of the transport
	// KeyTag shows which fleet key a board holds without telling it
	// (identity.FleetKey.Tag); "" if it holds none.
	KeyTag string
	// Fleet is the fleet that the board belongs to; "" before.
	Fleet api.FleetID
	// Manager is set if it takes part in raft.
	Manager bool
	// Veteran is set on a board without a fleet that has been a member before.
	Veteran bool
	// Trouble is one line for the operator ("edge.yaml line 3: …"); "" if none.
	Trouble string
}

// Sighting is an announcement as heard.
type Sighting struct {
	Announcement
	// Addrs are where the board may be reached, those of this board's own
	// subnets first; a link-local one carries the zone it was heard on.
	Addrs []netip.AddrPort
	// Heard is when it was last heard, by this board's monotonic clock.
	Heard time.Time
}

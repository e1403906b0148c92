package network

import (
	"net/netip"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/network/wireguard"
)

func TestSteer(t *testing.T) {
	at := netip.MustParseAddrPort
	lan, wifi, roamed := at("192.168.1.2:51820"), at("192.168.9.2:51820"), at("203.0.113.7:4444")
	now := time.Unix(1e9, 0)
	b := &bearing{}
	peer := &wireguard.Peer{}
	for _, s := range []struct {
		what   string
		later  time.Duration
		ways   []netip.AddrPort
		new    bool
		shaken time.Duration // by the peer's clock, which need not be ours; 0 is never
		at     netip.AddrPort
		want   netip.AddrPort
	}{
		{"a new peer", 0, []netip.AddrPort{lan, wifi}, true, 0, netip.AddrPort{}, lan},
		{"which has had no time to answer", 9 * time.Second, []netip.AddrPort{lan, wifi}, false, 0, lan, netip.AddrPort{}},
		{"and does not", 2 * time.Second, []netip.AddrPort{lan, wifi}, false, 0, lan, wifi},
		{"nor there", 11 * time.Second, []netip.AddrPort{lan, wifi}, false, 0, wifi, lan},
		{"answers", time.Second, []netip.AddrPort{lan, wifi}, false, time.Hour, lan, netip.AddrPort{}},
		{"from elsewhere, behind a translation", 3 * time.Minute, []netip.AddrPort{lan, wifi}, false, 2 * time.Hour, roamed, netip.AddrPort{}},
		{"still", 3 * time.Minute, []netip.AddrPort{lan, wifi}, false, 3 * time.Hour, roamed, netip.AddrPort{}},
		{"with a clock that jumped back", 3 * time.Minute, []netip.AddrPort{lan, wifi}, false, time.Minute, roamed, netip.AddrPort{}},
		{"the fleet says something new", time.Second, []netip.AddrPort{wifi}, false, time.Minute, roamed, wifi},
		{"and nothing more", time.Second, []netip.AddrPort{wifi}, false, time.Minute, roamed, netip.AddrPort{}},
		{"silent for too long", heardWithin, []netip.AddrPort{lan, wifi}, false, time.Minute, roamed, lan},
		{"without any way", time.Hour, nil, false, time.Minute, roamed, netip.AddrPort{}},
	} {
		now = now.Add(s.later)
		have := peer
		if s.new {
			have = nil
		}
		peer.Endpoint, peer.Shaken = s.at, time.Time{}
		if s.shaken != 0 {
			peer.Shaken = time.Unix(0, 0).Add(s.shaken)
		}
		if got := b.steer(now, s.ways, have); got != s.want {
			t.Errorf("%s: sent to %v, want %v", s.what, got, s.want)
		}
	}
}

// TestSteerAfterARestart: a program that finds a link leaves alone what WireGuard
// has found, also while the peer was quiet for a moment.
func TestSteerAfterARestart(t *testing.T) {
	lan, roamed := netip.MustParseAddrPort("192.168.1.2:51820"), netip.MustParseAddrPort("203.0.113.7:4444")
	b, now := &bearing{}, time.Unix(1e9, 0)
	have := &wireguard.Peer{Endpoint: roamed, Shaken: time.Unix(1, 0)}
	for range 60 {
		if got := b.steer(now, []netip.AddrPort{lan}, have); got.IsValid() {
			t.Fatalf("sent to %v", got)
		}
		now = now.Add(3 * time.Second)
	}
	if b.silent(now) {
		t.Error("taken for silent")
	}
}

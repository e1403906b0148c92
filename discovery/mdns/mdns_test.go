package mdns

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
	"github.com/edgeswarm/edgeswarm/discovery/discoverytest"
)

// limits are for a loaded machine; TestFirstSightIsFast holds to the promise.
var limits = discoverytest.Limits{Appear: 5 * time.Second, Forget: ageIntervals*testInterval + 3*time.Second}

func TestConformance(t *testing.T) {
	direct := func(t *testing.T, body func(*testing.T)) { body(t) }
	discoverytest.Run(t, limits, direct, func(t *testing.T) discoverytest.LAN { return newLAN(t) })
}

func TestFirstSightIsFast(t *testing.T) {
	lan := newLAN(t)
	a, b := lan.Board(t, true), lan.Board(t, true)
	says := discovery.Announcement{Node: api.NewID[api.NodeID](), Port: 2377}
	start := time.Now()
	a.Announce(says)
	discoverytest.Await(t, b, 2*time.Second, "the board", discoverytest.Sees(says.Node))
	first := time.Since(start)
	start, says.Manager = time.Now(), true
	a.Announce(says)
	discoverytest.Await(t, b, 2*time.Second, "the change", func(s []discovery.Sighting) bool { return len(s) == 1 && s[0].Manager })
	t.Logf("first sight %v, a change %v", first, time.Since(start))
}

func TestLinkLocalAddressesCarryTheirZone(t *testing.T) {
	lan := newLAN(t)
	a, b := lan.board(t, true, true), lan.board(t, true, true)
	says := discovery.Announcement{Node: api.NewID[api.NodeID](), Port: 2377}
	a.Announce(says)
	discoverytest.Await(t, b, limits.Appear, "the board by IPv6 alone", func(s []discovery.Sighting) bool {
		return len(s) == 1 && s[0].Addrs[0].Addr().IsLinkLocalUnicast() && s[0].Addrs[0].Addr().Zone() == "eth0"
	})
}

func TestTwoInterfaces(t *testing.T) {
	one, two := newLAN(t), newLAN(t)
	a := one.board(t, true, false)
	// A second cable to another LAN, under the same board.
	second := &realBoard{lan: two, namespace: a.namespace}
	ip(t, "-n", two.bridge, "link", "add", "x", "type", "veth", "peer", "name", "eth1", "netns", second.namespace)
	ip(t, "-n", two.bridge, "link", "set", "x", "master", "lan", "up")
	ip(t, "-n", second.namespace, "addr", "add", "198.19.0.1/24", "dev", "eth1")
	ip(t, "-n", second.namespace, "link", "set", "eth1", "up")
	// On it, a board with an address of another subnet, and IPv6.
	b := two.board(t, true, false)
	c := one.Board(t, true)
	for i, board := range []discoverytest.Board{a, b, c} {
		board.Announce(discovery.Announcement{Node: api.IDFromBytes[api.NodeID]([16]byte{byte(i + 1)}), Port: 2377})
	}
	id := func(i byte) api.NodeID { return api.IDFromBytes[api.NodeID]([16]byte{i}) }
	discoverytest.Await(t, a, limits.Appear, "a sees both LANs", discoverytest.Sees(id(2), id(3)))
	discoverytest.Await(t, c, limits.Appear, "c sees a, at its address on c's LAN only", func(s []discovery.Sighting) bool {
		return len(s) == 1 && s[0].Node == id(1) && !hasAddr(s[0], "198.19.0.1") && hasAddr(s[0], a.addr)
	})
}

func hasAddr(s discovery.Sighting, addr string) bool {
	for _, a := range s.Addrs {
		if a.Addr() == netip.MustParseAddr(addr) {
			return true
		}
	}
	return false
}

func TestGarbageOnThePort(t *testing.T) {
	lan := newLAN(t)
	a, b := lan.board(t, true, false), lan.board(t, true, false)
	b.Announce(discovery.Announcement{Node: api.NewID[api.NodeID](), Port: 2377})
	discoverytest.Await(t, a, limits.Appear, "a board", func(s []discovery.Sighting) bool { return len(s) == 1 })
	// busybox has no UDP multicast sender that is everywhere; this binary has.
	for _, raw := range hostile() {
		sendFrom(t, b, raw)
	}
	says := discovery.Announcement{Node: api.NewID[api.NodeID](), Name: "after", Port: 2377}
	c := lan.Board(t, true)
	c.Announce(says)
	discoverytest.Await(t, a, limits.Appear, "a newcomer after garbage", func(s []discovery.Sighting) bool {
		for _, x := range s {
			if x.Announcement == says {
				return true
			}
		}
		return false
	})
	for _, x := range a.Sightings() {
		if strings.ContainsAny(x.Name, "\x1b\n") {
			t.Errorf("a name that a terminal would obey: %q", x.Name)
		}
	}
}

func TestOwnInterfacesAreLeftAlone(t *testing.T) {
	lan := newLAN(t)
	a := lan.board(t, true, false)
	a.Announce(discovery.Announcement{Node: api.NewID[api.NodeID](), Port: 2377})
	ip(t, "-n", a.namespace, "link", "add", "edge0", "type", "veth", "peer", "name", "other")
	ip(t, "-n", a.namespace, "addr", "add", "198.19.1.1/24", "dev", "edge0")
	ip(t, "-n", a.namespace, "link", "set", "edge0", "up")
	b := lan.Board(t, true)
	discoverytest.Await(t, b, limits.Appear, "the board, not at its bridge's address", func(s []discovery.Sighting) bool {
		return len(s) == 1 && !hasAddr(s[0], "198.19.1.1")
	})
	if got := a.in(t, "cat /proc/net/igmp"); !strings.Contains(got, "edge0") {
		t.Fatalf("edge0 is not there to be left alone: %s", got)
	}
}

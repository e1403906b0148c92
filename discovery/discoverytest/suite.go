// Package discoverytest is what every Finder that announces must do, as tests:
// they run on the in-memory LAN in virtual time and on real mDNS between
// network namespaces.
//
// It does not test what only packets can do wrong; mdns has tests for that.
package discoverytest

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

// LAN is a network that the suite puts boards on. It is taken down by t.Cleanup.
type LAN interface {
	// Board starts a finder; its interface is up and has an address if plugged.
	Board(t *testing.T, plugged bool) Board
}

// Board is a running finder and the plug it hangs on.
type Board interface {
	Announce(discovery.Announcement)
	Sightings() []discovery.Sighting
	Changed() <-chan struct{}

	// Plug gives the board an interface with an address; Unplug takes it away.
	Plug(t *testing.T)
	Unplug(t *testing.T)
	// Readdress replaces the board's address and answers the new one.
	Readdress(t *testing.T) netip.Addr
	// Stop ends Run and waits; Crash ends the board without a goodbye.
	Stop(t *testing.T)
	Crash(t *testing.T)
}

// Limits are how long things may take on a LAN.
type Limits struct {
	Appear time.Duration // from the start of a board, or a change, until all have heard
	Forget time.Duration // from a crash until it is forgotten
}

// Run runs the suite. Each test gets a LAN of its own; in runs a test's body,
// directly or in a bubble.
func Run(t *testing.T, limits Limits, in func(*testing.T, func(*testing.T)), lan func(*testing.T) LAN) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, LAN, Limits)
	}{
		{"appears", appears},
		{"silent before Announce", silent},
		{"everything said is heard", content},
		{"changes what it says", changes},
		{"says goodbye", goodbye},
		{"ages", ages},
		{"interface appears late", late},
		{"address changes", readdressed},
		{"interface goes and comes back", replugged},
		{"many", many},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) { test.run(t, lan(t), limits) })
		})
	}
}

// announcement is what the n-th board says.
func announcement(n byte) discovery.Announcement {
	return discovery.Announcement{Node: api.IDFromBytes[api.NodeID]([16]byte{n}), Name: "board", Port: 2377}
}

// Await waits until a board's sightings are as wanted, looking again only when
// Changed says so.
func Await(t *testing.T, b Board, within time.Duration, what string, want func([]discovery.Sighting) bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		if want(b.Sightings()) {
			return
		}
		select {
		case <-b.Changed():
		case <-deadline.C:
			t.Fatalf("not within %v: %s; sightings: %+v", within, what, b.Sightings())
		}
	}
}

// never fails if what must not be seen is seen within a time.
func never(t *testing.T, b Board, within time.Duration, what string, bad func([]discovery.Sighting) bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		if s := b.Sightings(); bad(s) {
			t.Fatalf("%s; sightings: %+v", what, s)
		}
		select {
		case <-b.Changed():
		case <-deadline.C:
			return
		}
	}
}

// Sees answers whether exactly these nodes are sighted, each with an address.
func Sees(nodes ...api.NodeID) func([]discovery.Sighting) bool {
	slices.Sort(nodes)
	return func(all []discovery.Sighting) bool {
		return slices.EqualFunc(all, nodes, func(s discovery.Sighting, id api.NodeID) bool {
			return s.Node == id && len(s.Addrs) > 0 && s.Addrs[0].Port() == s.Port && !s.Heard.IsZero()
		})
	}
}

func appears(t *testing.T, lan LAN, limits Limits) {
	a := lan.Board(t, true)
	a.Announce(announcement(1))
	never(t, a, limits.Appear/4, "sees itself", func(s []discovery.Sighting) bool { return len(s) > 0 })
	b := lan.Board(t, true)
	b.Announce(announcement(2))
	Await(t, b, limits.Appear, "the newcomer sees the first", Sees(announcement(1).Node))
	Await(t, a, limits.Appear, "the first sees the newcomer", Sees(announcement(2).Node))
}

func silent(t *testing.T, lan LAN, limits Limits) {
	a, b := lan.Board(t, true), lan.Board(t, true)
	a.Announce(announcement(1))
	Await(t, b, limits.Appear, "hears without having announced", Sees(announcement(1).Node))
	never(t, a, limits.Appear/4, "a board that announced nothing is seen", func(s []discovery.Sighting) bool { return len(s) > 0 })
}

func content(t *testing.T, lan LAN, limits Limits) {
	a, b := lan.Board(t, true), lan.Board(t, true)
	want := discovery.Announcement{
		Node: announcement(1).Node, Name: `Küche "\ 1=2`, Port: 65535, KeyTag: "kt-abcDEF_19", Fleet: api.IDFromBytes[api.FleetID]([16]byte{9}),
		Manager: true, Veteran: true, Trouble: `edge.yaml line 3: "replicas" isn't a number; see \\docs`,
	}
	a.Announce(want)
	Await(t, b, limits.Appear, "all that was said", func(s []discovery.Sighting) bool {
		return len(s) == 1 && s[0].Announcement == want
	})
}

func changes(t *testing.T, lan LAN, limits Limits) {
	a, b := lan.Board(t, true), lan.Board(t, true)
	says := announcement(1)
	a.Announce(says)
	Await(t, b, limits.Appear, "the board", Sees(says.Node))
	for i := range 3 {
		says.Manager, says.Port = !says.Manager, says.Port+1
		says.Fleet = api.IDFromBytes[api.FleetID]([16]byte{byte(i)})
		a.Announce(says)
		Await(t, b, limits.Appear, "the change", func(s []discovery.Sighting) bool {
			return len(s) == 1 && s[0].Announcement == says && s[0].Addrs[0].Port() == says.Port
		})
	}
}

func goodbye(t *testing.T, lan LAN, limits Limits) {
	a, b := lan.Board(t, true), lan.Board(t, true)
	a.Announce(announcement(1))
	Await(t, b, limits.Appear, "the board", Sees(announcement(1).Node))
	a.Stop(t)
	Await(t, b, limits.Appear+2*time.Second, "gone", Sees())
}

func ages(t *testing.T, lan LAN, limits Limits) {
	a, b, c := lan.Board(t, true), lan.Board(t, true), lan.Board(t, true)
	a.Announce(announcement(1))
	c.Announce(announcement(3))
	Await(t, b, limits.Appear, "both", Sees(announcement(1).Node, announcement(3).Node))
	a.Crash(t)
	Await(t, b, limits.Forget, "the crashed one gone, the silent but living one not", Sees(announcement(3).Node))
	never(t, b, limits.Forget/2, "a living board is forgotten", func(s []discovery.Sighting) bool { return len(s) != 1 })
}

func late(t *testing.T, lan LAN, limits Limits) {
	a, b := lan.Board(t, true), lan.Board(t, false)
	a.Announce(announcement(1))
	b.Announce(announcement(2))
	never(t, a, limits.Appear/4, "an unplugged board is seen", func(s []discovery.Sighting) bool { return len(s) > 0 })
	b.Plug(t)
	Await(t, b, limits.Appear, "the late one sees", Sees(announcement(1).Node))
	Await(t, a, limits.Appear, "the late one is seen", Sees(announcement(2).Node))
}

func readdressed(t *testing.T, lan LAN, limits Limits) {
	a, b := lan.Board(t, true), lan.Board(t, true)
	a.Announce(announcement(1))
	b.Announce(announcement(2))
	Await(t, b, limits.Appear, "the board", Sees(announcement(1).Node))
	addr := a.Readdress(t)
	Await(t, b, limits.Appear, "the new address, first", func(s []discovery.Sighting) bool {
		return len(s) == 1 && s[0].Addrs[0] == netip.AddrPortFrom(addr, 2377)
	})
	Await(t, a, limits.Appear, "and it still hears", Sees(announcement(2).Node))
}

func replugged(t *testing.T, lan LAN, limits Limits) {
	a, b := lan.Board(t, true), lan.Board(t, true)
	a.Announce(announcement(1))
	b.Announce(announcement(2))
	Await(t, b, limits.Appear, "the board", Sees(announcement(1).Node))
	a.Unplug(t)
	Await(t, b, limits.Forget, "forgotten", Sees())
	a.Plug(t)
	Await(t, b, limits.Appear, "seen again", Sees(announcement(1).Node))
	Await(t, a, limits.Appear, "sees again", Sees(announcement(2).Node))
}

func many(t *testing.T, lan LAN, limits Limits) {
	const n = 7
	var boards []Board
	for i := range byte(n) {
		b := lan.Board(t, true)
		b.Announce(announcement(i))
		boards = append(boards, b)
	}
	for i, b := range boards {
		var others []api.NodeID
		for j := range byte(n) {
			if int(j) != i {
				others = append(others, announcement(j).Node)
			}
		}
		Await(t, b, limits.Appear, "all the others", Sees(others...))
	}
}

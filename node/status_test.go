package node

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

// Of a member the leader tells; of a board that did not get that far, nobody
// would.
func TestTroublesOfBoardsOfNoFleetAreTold(t *testing.T) {
	const why = `edge.yaml line 2: unknown key "nmae"`
	heard := func(node api.NodeID, fleet api.FleetID, trouble string, addrs ...netip.AddrPort) discovery.Sighting {
		return discovery.Sighting{Announcement: discovery.Announcement{Node: node, Name: "name of " + string(node), Fleet: fleet, Trouble: trouble}, Addrs: addrs}
	}
	addr := netip.MustParseAddrPort("192.0.2.9:2377")
	got := troubled([]discovery.Sighting{heard("well", "", ""), heard("new", "", why, addr), heard("member", "fleet1", why, addr), heard("mute", "", why)})
	want := []api.TroubledBoard{
		{NodeID: "new", Hostname: "name of new", Addr: "192.0.2.9:2377", Trouble: why},
		{NodeID: "mute", Hostname: "name of mute", Trouble: why},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if flood := troubled(slices.Repeat([]discovery.Sighting{heard("liar", "", why, addr)}, 1000)); len(flood) != maxTroubled {
		t.Errorf("%d of 1000 boards are told of", len(flood))
	}
}

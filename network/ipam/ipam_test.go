package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/edgeswarm/edgeswarm/api"
)

var everybody = func(api.NodeID) bool { return true }

func network(subnet string) *api.Network {
	return &api.Network{ID: "n", Subnet: netip.MustParsePrefix(subnet)}
}

func TestPickAvoidsWhatIsTaken(t *testing.T) {
	pool := netip.MustParsePrefix("10.224.0.0/11")
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, s := range texts {
			all = append(all, netip.MustParsePrefix(s))
		}
		return all
	}
	for what, c := range map[string]struct {
		taken []netip.Prefix
		want  string
	}{
		"nothing taken":       {nil, "10.224.0.0/20"},
		"the first":           {prefixes("10.224.0.0/20"), "10.224.16.0/20"},
		"a part of the first": {prefixes("10.224.3.7/32", "0.0.0.0/0", "fd00::/8"), "10.224.16.0/20"},
		"half of the pool":    {prefixes("10.224.0.0/12"), "10.240.0.0/20"},
		"all of it":           {prefixes("10.0.0.0/8"), "invalid Prefix"},
	} {
		if got, _ := Pick(pool, 20, c.taken); got.String() != c.want {
			t.Errorf("%s: got %v, want %s", what, got, c.want)
		}
	}
}

// TestASubnetHoldsAsMuchAsItCan: with one node the whole subnet can be used, but
// for the first address of each block and the last of all.
func TestASubnetHoldsAsMuchAsItCan(t *testing.T) {
	for subnet, want := range map[string]int{"10.9.0.0/26": 8*7 - 1, "10.9.0.0/24": 32*7 - 1, "10.9.0.0/20": 128*31 - 1} {
		b := Open(network(subnet), nil, everybody)
		n := 0
		for _, ok := b.Take("a"); ok; _, ok = b.Take("a") {
			n++
		}
		if n != want {
			t.Errorf("%s holds %d tasks of one node, want %d", subnet, n, want)
		}
	}
}

// TestANodeThatChurnsStarvesNobody: a task that fails over and over on one node
// does not take the blocks that others need, and blocks without use go over.
func TestANodeThatChurnsStarvesNobody(t *testing.T) {
	n := network("10.9.0.0/26") // eight blocks
	for range 500 {
		n = take(t, n, nil, "a", nil)
	}
	used := map[netip.Addr]bool{}
	for i := range 7 {
		n = take(t, n, used, api.NodeID(fmt.Sprintf("n%d", i)), used)
	}
	if b := Open(n, used, everybody); b.unowned() < 0 {
		t.Error("more blocks than the subnet has")
	}
}

// take hands out one address and notes it in all of the maps.
func take(t *testing.T, n *api.Network, used map[netip.Addr]bool, node api.NodeID, note map[netip.Addr]bool) *api.Network {
	t.Helper()
	b := Open(n, used, everybody)
	addr, ok := b.Take(node)
	if !ok {
		t.Fatalf("no address for %s with %d in use", node, len(used))
	}
	if note != nil {
		note[addr] = true
	}
	next, _ := b.Network()
	return next
}

func TestBlocksOfFormerMembersAreGivenUp(t *testing.T) {
	n := take(t, network("10.9.0.0/24"), nil, "gone", nil)
	b := Open(n, nil, func(id api.NodeID) bool { return id != "gone" })
	if _, ok := b.Take("here"); !ok {
		t.Fatal("no address")
	}
	next, _ := b.Network()
	if len(next.Blocks) != 1 || next.Blocks[0].Node != "here" || next.Blocks[0].Prefix == n.Blocks[0].Prefix {
		t.Errorf("blocks %+v: want one of here's own, not the one just given up", next.Blocks)
	}
}

func TestOpeningChangesNothing(t *testing.T) {
	n := take(t, network("10.9.0.0/24"), nil, "a", nil)
	before := api.Clone(n)
	b := Open(n, nil, everybody)
	if _, changed := b.Network(); changed {
		t.Error("changed without anything handed out")
	}
	b.Take("a")
	if !api.Equal(n, before) {
		t.Error("the stored network was written to")
	}
}

// TestHandingOut drives a book with any series of takes and gives, as the
// leader does: opened anew from what is stored each time.
func TestHandingOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := network(rapid.SampledFrom([]string{"10.9.0.0/26", "10.9.0.0/24", "10.9.0.0/22"}).Draw(t, "subnet"))
		used := map[netip.Addr]bool{}
		owner := map[netip.Addr]api.NodeID{}
		var back []netip.Addr // in the order in which they were given back
		nodes := []api.NodeID{"", "a", "b", "c"}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if len(used) > 0 && rapid.Bool().Draw(t, "give back") {
				all := sorted(used)
				addr := all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
				delete(used, addr)
				back = append(back, addr)
				n, _ = reopened(n, used)
				continue
			}
			node := rapid.SampledFrom(nodes).Draw(t, "node")
			b := Open(n, used, everybody)
			roomy := b.unowned() > b.blocks()/2
			addr, ok := b.Take(node)
			if !ok {
				continue
			}
			next, changed := b.Network()
			if !changed || used[addr] || !n.Subnet.Contains(addr) {
				t.Fatalf("%v handed out: changed %v, in use %v, in %v", addr, changed, used[addr], n.Subnet)
			}
			if i := slices.Index(back, addr); i >= 0 {
				since := 0
				for _, later := range back[i+1:] {
					if owner[later] == owner[addr] {
						since++
					}
				}
				if roomy && since < 3 {
					t.Fatalf("%v given again after %d others were given back", addr, since)
				}
				back = slices.Delete(back, i, i+1)
			}
			used[addr], owner[addr], n = true, node, next
			check(t, n, used, owner)
		}
	})
}

// reopened is how the next plan finds the network.
func reopened(n *api.Network, used map[netip.Addr]bool) (*api.Network, bool) {
	return Open(n, used, everybody).Network()
}

func check(t *rapid.T, n *api.Network, used map[netip.Addr]bool, owner map[netip.Addr]api.NodeID) {
	for i, block := range n.Blocks {
		if !n.Subnet.Overlaps(block.Prefix) || block.Prefix.Bits() < n.Subnet.Bits() {
			t.Fatalf("block %v outside %v", block.Prefix, n.Subnet)
		}
		for _, other := range n.Blocks[:i] {
			if other.Prefix.Overlaps(block.Prefix) {
				t.Fatalf("blocks %v and %v overlap", block.Prefix, other.Prefix)
			}
		}
	}
	info := n.Info()
	for addr := range used {
		i := slices.IndexFunc(n.Blocks, func(b api.NetworkBlock) bool { return b.Prefix.Contains(addr) })
		if i < 0 || n.Blocks[i].Node != owner[addr] {
			t.Fatalf("%v of %q is in no block of its own: %+v", addr, owner[addr], n.Blocks)
		}
		if addr == n.Blocks[i].Prefix.Addr() || addr == info.Gateway(owner[addr]) {
			t.Fatalf("%v is the board's own", addr)
		}
	}
}

func sorted(used map[netip.Addr]bool) []netip.Addr {
	var all []netip.Addr
	for addr := range used {
		all = append(all, addr)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// TestEachBoardHasItsOwnOfTheIngressNetwork: one address, the same for good, and
// none that is another's.
func TestEachBoardHasItsOwnOfTheIngressNetwork(t *testing.T) {
	n := network("10.9.0.0/29")
	n.Spec.Ingress, n.NextBlock = true, 1
	nodes := []api.NodeID{"a", "b", "c", "d", "e", "f", "g", "h", "beyond"}
	b := Open(n, nil, everybody)
	for range 2 {
		for _, node := range nodes {
			b.Own(node)
		}
	}
	next, changed := b.Network()
	if !changed || len(next.Blocks) != 8 || next.Blocks[0].Prefix.String() != "10.9.0.1/32" {
		t.Fatalf("blocks %+v", next.Blocks)
	}
	had := map[api.NodeID]netip.Addr{}
	for _, node := range nodes[:8] {
		had[node] = next.Info().Gateway(node)
	}
	b = Open(next, nil, func(id api.NodeID) bool { return id != "c" })
	b.Own("beyond")
	next, _ = b.Network()
	if at := next.Info().Gateway("beyond"); at != had["c"] {
		t.Errorf("a new member has %v, not the %v of the one that left", at, had["c"])
	}
	for node, at := range had {
		if now := next.Info().Gateway(node); node != "c" && now != at {
			t.Errorf("%s had %v and has %v", node, at, now)
		}
	}
}

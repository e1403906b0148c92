package network

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
)

// driver carries packets of networks to other boards. What is said to one are
// networks of its kind alone.
type driver interface {
	// weave makes what carries the networks, or mends it: afterwards the blocks of
	// every peer that can be reached are reached from this board, which has its own
	// address in each network, and nothing else of them is. It answers those that
	// it carries, whatever became of the others.
	weave(w weaving, networks []*api.NetworkInfo) (woven []*api.NetworkInfo, err error)
	// mtu is the largest packet that passes between these boards in a network.
	mtu(w weaving) int
	// cut takes away all that carries networks but for those named.
	cut(keep []*api.NetworkInfo) error
}

// weaving is what networks are made of at one time.
type weaving struct {
	self   api.NodeID
	fabric *agent.Fabric
	// ways are the addresses at which each peer may be reached, the best first.
	ways map[api.NodeID][]netip.Addr
	now  time.Time
}

func newWeaving(f *agent.Fabric) weaving {
	w := weaving{self: f.Node, fabric: f, ways: map[api.NodeID][]netip.Addr{}, now: time.Now()}
	for _, p := range f.Peers {
		if found := waysTo(p); len(found) > 0 {
			w.ways[p.ID] = found
		}
	}
	return w
}

// waysTo are a peer's addresses that this board has a route to: first those on a
// link of its own, and of these IPv4. An address that is this board's too, as that
// of another program's bridge may be, is not the peer's alone.
func waysTo(p api.Peer) []netip.Addr {
	type ranked struct {
		addr netip.Addr
		rank int
	}
	var found []ranked
	for _, at := range p.Addrs {
		addr := at.Addr().Unmap()
		routes, err := netlink.RouteGet(addr.AsSlice())
		if err != nil || len(routes) == 0 || routes[0].Type == unix.RTN_LOCAL {
			continue
		}
		rank := 0
		if routes[0].Gw != nil {
			rank += 2
		}
		if !addr.Is4() {
			rank++
		}
		found = append(found, ranked{addr, rank})
	}
	slices.SortStableFunc(found, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	addrs := make([]netip.Addr, len(found))
	for i, r := range found {
		addrs[i] = r.addr
	}
	return addrs
}

// reached is the IPv4 address at which a peer is reached, if there is one.
func (w weaving) reached(node api.NodeID) (addr netip.Addr, ok bool) {
	for _, addr := range w.ways[node] {
		if addr.Is4() {
			return addr, true
		}
	}
	return addr, false
}

// peers are all that are reached, and where.
func (w weaving) peers() map[api.NodeID]netip.Addr {
	all := map[api.NodeID]netip.Addr{}
	for node := range w.ways {
		if addr, ok := w.reached(node); ok {
			all[node] = addr
		}
	}
	return all
}

// defaultMTU is that of a board's link until it is known by which one the
// others are reached.
const defaultMTU = 1500

// mtu is the least of the links by which peers are reached.
func (w weaving) mtu() int {
	least := 0
	for _, addrs := range w.ways {
		routes, err := netlink.RouteGet(addrs[0].AsSlice())
		if err != nil || len(routes) == 0 {
			continue
		}
		mtu := routes[0].MTU
		if mtu == 0 {
			link, err := netlink.LinkByIndex(routes[0].LinkIndex)
			if err != nil {
				continue
			}
			mtu = link.Attrs().MTU
		}
		if least == 0 || mtu < least {
			least = mtu
		}
	}
	return cmp.Or(least, defaultMTU)
}

// ensureAddrs makes these the link's only IPv4 addresses.
func ensureAddrs(link netlink.Link, want []netip.Addr) error {
	have, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	found := map[netip.Addr]bool{}
	for _, a := range have {
		if got, _ := netip.AddrFromSlice(a.IP.To4()); slices.Contains(want, got) {
			found[got] = true
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil {
			return err
		}
	}
	for _, addr := range want {
		if found[addr] {
			continue
		}
		if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(addr, 32)}); err != nil {
			return err
		}
	}
	return nil
}

// way is how a part of a network is reached by a link: through whom, invalid if
// the link alone says it, and with which address of the board's as source.
type way struct{ via, source netip.Addr }

// ensureRoutes makes the link's routes those to the peers' blocks. What the board
// itself sends there is from its own address in the network.
func ensureRoutes(link netlink.Link, want map[netip.Prefix]way) error {
	have, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: routeOwner}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return err
	}
	kept := map[netip.Prefix]bool{}
	for _, r := range have {
		via, _ := netip.AddrFromSlice(r.Gw.To4())
		src, _ := netip.AddrFromSlice(r.Src.To4())
		dst := prefixOf(r.Dst)
		if wanted, ok := want[dst]; ok && wanted == (way{via, src}) {
			kept[dst] = true
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	for dst, by := range want {
		if kept[dst] {
			continue
		}
		r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNetOf(dst), Src: by.source.AsSlice(), Scope: netlink.SCOPE_LINK, Protocol: routeOwner}
		if by.via.IsValid() {
			r.Gw, r.Flags, r.Scope = by.via.AsSlice(), int(netlink.FLAG_ONLINK), netlink.SCOPE_UNIVERSE
		}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("to %v: %w", dst, err)
		}
	}
	return nil
}

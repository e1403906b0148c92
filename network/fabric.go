package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/network/dns"
)

// healEvery is how often the board's links, routes and rules are held against
// what they should be, while there are networks: another tool may have taken
// some away.
const healEvery = 3 * time.Second

// routeOwner marks our routes, as the protocol that made them.
const routeOwner netlink.RouteProtocol = 237

// driver carries packets of networks to other boards.
type driver interface {
	// weave makes what carries a network, or mends it: afterwards the blocks of
	// every peer with an address are reached from this board, which has its own
	// address in the network, and nothing else of the network is.
	weave(n *api.NetworkInfo, self api.NodeID, peers map[api.NodeID]netip.Addr) error
	// mtu is the largest packet that passes between these boards in a network.
	mtu(peers map[api.NodeID]netip.Addr) int
	// cut takes away all that carries networks but for those named.
	cut(keep []*api.NetworkInfo) error
}

// Learn implements agent.Network.
func (l *Local) Learn(f agent.Fabric) {
	l.fabric.Store(&f)
	select {
	case l.learned <- struct{}{}:
	default:
	}
}

// Run makes and mends networks as they were learned, and answers names, until ctx
// ends. What it has made stays.
func (l *Local) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- l.names.Run(ctx) }()
	l.keep(ctx)
	return <-done
}

func (l *Local) keep(ctx context.Context) {
	heal := time.NewTicker(healEvery)
	defer heal.Stop()
	said := "" // the last trouble, said once
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.learned:
		case <-heal.C:
			if said == "" && !needsCare(l.fabric.Load()) {
				continue
			}
		}
		err := l.reconcile()
		switch {
		case err != nil && err.Error() != said:
			said = err.Error()
			l.cfg.Logger.Warn("networks are not whole, trying again", "err", err)
		case err == nil && said != "":
			said = ""
			l.cfg.Logger.Info("networks are whole again")
		}
	}
}

// needsCare reports whether there is anything that another tool could take away.
func needsCare(f *agent.Fabric) bool {
	return f != nil && (len(f.Networks) > 0 || slices.ContainsFunc(f.Tasks, func(t *api.Task) bool { return len(t.Ports) > 0 }))
}

// reconcile makes the kernel's state what was learned last.
func (l *Local) reconcile() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.fabric.Load() // under the lock: nobody acts on an older one after this
	if f == nil {
		return nil
	}
	peers := reachedAt(f.Peers)
	var woven []*api.NetworkInfo
	var errs []error
	for _, n := range f.Networks {
		if err := l.weave(n, f.Node, peers); err != nil {
			errs = append(errs, fmt.Errorf("network %s: %w", n.Name, err))
			continue
		}
		woven = append(woven, n)
	}
	errs = append(errs, l.rewire(f, woven), l.vxlan.cut(f.Networks), ensureCover(f.Networks), l.ensureRules(f, woven, peers))
	l.names.Learn(l.zone(f), gateways(woven, f.Node))
	return errors.Join(errs...)
}

// weave makes one network on this board.
func (l *Local) weave(n *api.NetworkInfo, self api.NodeID, peers map[api.NodeID]netip.Addr) error {
	if !n.Gateway(self).IsValid() {
		return nil // until a task of it is here
	}
	if n.Driver != api.DriverVXLAN {
		return fmt.Errorf("driver %q is not known to this version of edged: update it", n.Driver)
	}
	if err := collides(n.Subnet); err != nil {
		return err
	}
	if err := setSysctl("/proc/sys/net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	return l.vxlan.weave(n, self, peers)
}

// collides reports a route of the board that a network's subnet overlaps: it may
// have come after the network was made.
func collides(subnet netip.Prefix) error {
	routes, err := routedSubnets()
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Overlaps(subnet) {
			return api.Errorf(api.Conflict, "", "its subnet %s overlaps %s, which this board reaches by a link of its own: move the service to a network with another subnet", subnet, r)
		}
	}
	return nil
}

// mostSubnets bounds what is reported of a board with many routes.
const mostSubnets = 64

// Subnets are what networks must keep clear of on this board: what it has routes
// to, and the pool of its own bridge.
func (l *Local) Subnets() ([]netip.Prefix, error) {
	found, err := routedSubnets()
	if err != nil {
		return nil, err
	}
	found = append(found[:min(len(found), mostSubnets)], l.cfg.Pool.Masked())
	slices.SortFunc(found, comparePrefixes)
	return slices.Compact(found), nil
}

// routedSubnets are the IPv4 subnets that the board has routes to, but for the
// default one and those of our making, in order.
func routedSubnets() ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	ours := map[int]bool{}
	for _, link := range links {
		ours[link.Attrs().Index] = strings.HasPrefix(link.Attrs().Name, "edge")
	}
	var found []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil || r.Protocol == routeOwner || ours[r.LinkIndex] {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		ones, _ := r.Dst.Mask.Size()
		if ok && ones > 0 && !addr.Unmap().IsLinkLocalUnicast() {
			found = append(found, netip.PrefixFrom(addr.Unmap(), ones))
		}
	}
	slices.SortFunc(found, comparePrefixes)
	return slices.Compact(found), nil
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// ensureCover makes what has no owner of each network's subnet unreachable: it
// would leave by the default route.
func ensureCover(networks []*api.NetworkInfo) error {
	want := map[netip.Prefix]bool{}
	for _, n := range networks {
		want[n.Subnet] = true
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: routeOwner, Type: unix.RTN_UNREACHABLE}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TYPE)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		dst := prefixOf(r.Dst)
		if want[dst] {
			delete(want, dst)
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove route to %v: %w", dst, err)
		}
	}
	for subnet := range want {
		r := &netlink.Route{Dst: ipNetOf(subnet), Type: unix.RTN_UNREACHABLE, Protocol: routeOwner, Priority: coverMetric}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("cover %v: %w", subnet, err)
		}
	}
	return nil
}

// coverMetric lets any other route of the same size come first.
const coverMetric = 4096

// reachedAt picks the address at which each peer is reached: one on a link of
// this board's, else one behind a gateway. An address that is this board's too,
// as that of another program's bridge may be, is not the peer's alone.
func reachedAt(peers []api.Peer) map[api.NodeID]netip.Addr {
	at := map[api.NodeID]netip.Addr{}
	for _, p := range peers {
		best := 0
		for _, addr := range p.Addrs {
			if !addr.Addr().Is4() {
				continue
			}
			routes, err := netlink.RouteGet(addr.Addr().AsSlice())
			if err != nil || len(routes) == 0 || routes[0].Type == unix.RTN_LOCAL {
				continue
			}
			rank := 2
			if routes[0].Gw != nil {
				rank = 1
			}
			if rank > best {
				at[p.ID], best = addr.Addr(), rank
			}
		}
	}
	return at
}

func gateways(networks []*api.NetworkInfo, self api.NodeID) (all []netip.Addr) {
	for _, n := range networks {
		if gw := n.Gateway(self); gw.IsValid() {
			all = append(all, gw)
		}
	}
	return all
}

// zone is what the resolver knows.
func (l *Local) zone(f *agent.Fabric) *dns.Zone {
	var askers []dns.Asker
	for _, t := range f.Tasks {
		if len(t.Addresses) == 0 {
			continue
		}
		a := dns.Asker{}
		for _, at := range t.Addresses {
			a.Addrs, a.Networks = append(a.Addrs, at.Addr), append(a.Networks, at.Network)
		}
		if d := t.Spec.ContainerSpec.DNSConfig; d != nil {
			a.Resolvers = d.Nameservers
		}
		askers = append(askers, a)
	}
	return dns.NewZone(f.Networks, f.Endpoints, askers)
}

func prefixOf(n interface{ String() string }) netip.Prefix {
	p, _ := netip.ParsePrefix(n.String())
	return p
}

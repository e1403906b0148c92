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
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/network/dns"
)

// healEvery is how often the board's links, routes and rules are held against
// what they should be, while there are networks: another tool may have taken
// some away.
const healEvery = 3 * time.Second

// routeOwner marks our routes, as the protocol that made them.
const routeOwner netlink.RouteProtocol = 237

// Learn implements agent.Network.
func (l *Local) Learn(f agent.Fabric) {
	l.fabric.Store(&f)
	l.ring()
}

// ring has Run look at everything.
func (l *Local) ring() {
	select {
	case l.learned <- struct{}{}:
	default:
	}
}

// Mesh is the board's end of encrypted networks, as others are to know it.
func (l *Local) Mesh() api.MeshEnd {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mesh.end()
}

// TurnKey has the board take a new key for encrypted networks, once no peer would
// miss it.
func (l *Local) TurnKey() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.mesh.ready(); err != nil {
		return nil //nolint:nilerr // a board without such networks has none to turn
	}
	return l.mesh.keys.due()
}

// End takes away what tasks and networks have on this board, also that which is
// meant to outlive edged.
func (l *Local) End(ctx context.Context) error {
	err := l.Retain(ctx, nil)
	l.fabric.Store(&agent.Fabric{})
	return errors.Join(err, l.reconcile())
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
	watched := 0
	for {
		var turn <-chan time.Time
		pid, turning := l.meshNow()
		if turning {
			turn = time.After(turnEvery)
		}
		if pid > 0 && pid != watched {
			watched = pid
			go l.awaitEnd(ctx, pid)
		}
		err := error(nil)
		select {
		case <-ctx.Done():
			return
		case <-l.learned:
			err = l.reconcile()
		case <-turn:
			err = l.steerMesh()
		case <-heal.C:
			if said == "" && !needsCare(l.fabric.Load()) {
				continue
			}
			err = l.reconcile()
		}
		l.mu.Lock()
		if l.trouble = ""; err != nil {
			l.trouble = err.Error()
		}
		l.mu.Unlock()
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

// turnEvery is how often the links of encrypted networks are looked at while a key
// is turned: what a board sends with its new key is dropped until its peers have
// seen that it does.
const turnEvery = 100 * time.Millisecond

// meshNow is what has to be watched of encrypted networks: the process that
// carries them, if one does, and whether keys are being turned.
func (l *Local) meshNow() (pid int, turning bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mesh.pid, l.mesh.turning || l.mesh.keys.turning()
}

// awaitEnd has all looked at anew when a process ends.
func (l *Local) awaitEnd(ctx context.Context, pid int) {
	if err := host.AwaitExit(ctx, pid); err == nil {
		l.ring()
	}
}

// steerMesh looks at the links of encrypted networks alone.
func (l *Local) steerMesh() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.fabric.Load()
	if f == nil {
		return nil
	}
	sound, err := l.sound(f, f.Networks)
	_, e := l.mesh.weave(newWeaving(f), of(api.DriverMesh, sound))
	return errors.Join(err, e)
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
	w := newWeaving(f)
	woven, err := l.weave(w, f.Networks)
	err = errors.Join(err, l.rewire(f, woven), l.vxlan.cut(of(api.DriverVXLAN, f.Networks)), l.mesh.cut(of(api.DriverMesh, f.Networks)),
		ensureCover(f.Networks), l.ensureRules(w, woven))
	l.names.Learn(l.zone(f), resolvers(woven, f.Node))
	return err
}

// weave makes networks on this board, and answers those that are whole.
func (l *Local) weave(w weaving, networks []*api.NetworkInfo) (woven []*api.NetworkInfo, err error) {
	sound, err := l.sound(w.fabric, networks)
	plain, plainErr := l.vxlan.weave(w, of(api.DriverVXLAN, sound))
	secret, secretErr := l.mesh.weave(w, of(api.DriverMesh, sound))
	return slices.Concat(plain, secret), errors.Join(err, plainErr, secretErr)
}

// sound are the networks that this board can and is to make: that tasks of it are
// on, that collide with nothing, and that it knows how to carry.
func (l *Local) sound(f *agent.Fabric, networks []*api.NetworkInfo) (sound []*api.NetworkInfo, err error) {
	for _, n := range networks {
		if !n.Gateway(f.Node).IsValid() {
			continue // until a task of it is here
		}
		e := collides(n.Subnet)
		if n.Driver != api.DriverVXLAN && n.Driver != api.DriverMesh {
			e = fmt.Errorf("driver %q is not known to this version of edged: update it", n.Driver)
		}
		if e == nil {
			e = setSysctl("/proc/sys/net/ipv4/ip_forward", "1")
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("network %s: %w", n.Name, e))
			continue
		}
		sound = append(sound, n)
	}
	return sound, err
}

// of are the networks of a driver.
func of(driver api.NetworkDriver, networks []*api.NetworkInfo) (all []*api.NetworkInfo) {
	for _, n := range networks {
		if n.Driver == driver {
			all = append(all, n)
		}
	}
	return all
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

// resolvers are the addresses at which the board's tasks ask for names.
func resolvers(networks []*api.NetworkInfo, self api.NodeID) (all []netip.Addr) {
	for _, n := range networks {
		if gw := n.Gateway(self); gw.IsValid() && !n.Ingress {
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

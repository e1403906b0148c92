package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
)

// wire links a task to a network: a pair of links of which the one inside has the
// task's address, alone, and the way to the network's subnet by the board; and
// outside, the way to that address. Both ends' hardware addresses are known from
// the beginning, so nobody asks for them.
func (l *Local) wire(task api.TaskID, nsPath string, index int, inner string, addr netip.Addr, n *api.NetworkInfo) error {
	gateway, outer := n.Gateway(l.self()), wireName(task, index)
	inside, ns, leave, err := enter(nsPath)
	if err != nil {
		return err
	}
	defer leave()
	mtu := l.driver(n).mtu(newWeaving(l.fabric.Load()))
	out, err := ensureWire(outer, inner, inside, ns, mtu, macOf(gateway), macOf(addr))
	if err != nil {
		return fmt.Errorf("make link %s: %w", outer, err)
	}
	if err := furnish(inside, inner, mtu, addr, gateway, n.Subnet); err != nil {
		return fmt.Errorf("set up %s: %w", inner, err)
	}
	return lead(out, addr, gateway)
}

// driver is what carries a network.
func (l *Local) driver(n *api.NetworkInfo) driver {
	if n.Driver == api.DriverMesh {
		return l.mesh
	}
	return l.vxlan
}

// lead makes the way to a task's address by its link; what the board itself sends
// there is from the board's address in the network.
func lead(out netlink.Link, addr, gateway netip.Addr) error {
	err := netlink.NeighSet(neighbour(out, addr))
	if err == nil {
		err = netlink.RouteReplace(&netlink.Route{
			LinkIndex: out.Attrs().Index, Dst: ipNet(addr, 32), Scope: netlink.SCOPE_LINK, Src: gateway.AsSlice(), Protocol: routeOwner,
		})
	}
	if err != nil {
		return fmt.Errorf("route to %v by %s: %w", addr, out.Attrs().Name, err)
	}
	return nil
}

// rewire mends the ways to tasks that are attached. They are lost with the
// board's address in the network.
func (l *Local) rewire(f *agent.Fabric, networks []*api.NetworkInfo) error {
	if len(networks) == 0 {
		return nil
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: routeOwner}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	type way struct {
		link     int
		dst, src netip.Addr
	}
	have := map[way]bool{}
	for _, r := range routes {
		src, _ := netip.AddrFromSlice(r.Src.To4())
		have[way{r.LinkIndex, prefixOf(r.Dst).Addr(), src}] = true
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	byName := map[string]netlink.Link{}
	for _, link := range links {
		byName[link.Attrs().Name] = link
	}
	for _, task := range f.Tasks {
		for i, at := range task.Addresses {
			out := byName[wireName(task.ID, i)]
			n := slices.IndexFunc(networks, func(n *api.NetworkInfo) bool { return n.ID == at.Network })
			if out == nil || n < 0 {
				continue
			}
			gateway := networks[n].Gateway(f.Node)
			if have[way{out.Attrs().Index, at.Addr, gateway}] {
				continue
			}
			if err := lead(out, at.Addr, gateway); err != nil {
				return err
			}
		}
	}
	return nil
}

// ensureWire makes the pair of links where it is not there, and answers the outer.
func ensureWire(outer, inner string, inside *netlink.Handle, ns netns.NsHandle, mtu int, outerMAC, innerMAC []byte) (netlink.Link, error) {
	link, err := netlink.LinkByName(outer)
	if err == nil {
		if _, err := inside.LinkByName(inner); err == nil {
			return link, netlink.LinkSetUp(link)
		}
		if err := netlink.LinkDel(link); err != nil { // half a pair: left by a crash in between
			return nil, err
		}
	} else if !isNotFound(err) {
		return nil, err
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: outer, MTU: mtu, HardwareAddr: outerMAC},
		PeerName:  inner, PeerNamespace: netlink.NsFd(ns), PeerHardwareAddr: innerMAC,
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, err
	}
	return pair, netlink.LinkSetUp(pair)
}

// furnish gives the link inside a task its size, address and routes.
func furnish(inside *netlink.Handle, inner string, mtu int, addr, gateway netip.Addr, subnet netip.Prefix) error {
	eth, err := inside.LinkByName(inner)
	if err != nil {
		return err
	}
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return inside.LinkSetUp(lo) },
		func() error { return inside.LinkSetMTU(eth, mtu) },
		func() error { return inside.AddrReplace(eth, &netlink.Addr{IPNet: ipNet(addr, 32)}) },
		func() error { return inside.LinkSetUp(eth) },
		func() error { return inside.NeighSet(neighbour(eth, gateway)) },
		func() error {
			return inside.RouteReplace(&netlink.Route{LinkIndex: eth.Attrs().Index, Dst: ipNet(gateway, 32), Scope: netlink.SCOPE_LINK, Src: addr.AsSlice()})
		},
		func() error {
			return inside.RouteReplace(&netlink.Route{LinkIndex: eth.Attrs().Index, Dst: ipNetOf(subnet), Gw: gateway.AsSlice(), Src: addr.AsSlice()})
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// neighbour is whom a link finds at an address for good.
func neighbour(link netlink.Link, addr netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: macOf(addr)}
}

// wireName fits the kernel's 15 characters: 9 of a task's ID are 46 random bits,
// and no name of linkName's has a hyphen.
func wireName(task api.TaskID, index int) string {
	return wirePrefix(task) + strconv.Itoa(index)
}

func wirePrefix(task api.TaskID) string { return "edge" + string(task[:min(9, len(task))]) + "-" }

// unwire removes a task's links to networks; what hangs on them goes with them.
func unwire(task api.TaskID) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, link := range links {
		if !strings.HasPrefix(link.Attrs().Name, wirePrefix(task)) {
			continue
		}
		if e := netlink.LinkDel(link); e != nil && !isNotFound(e) {
			err = errors.Join(err, fmt.Errorf("remove task's link: %w", e))
		}
	}
	return err
}

package network

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

// Of VXLAN (RFC 7348): the port that it is assigned, and what its headers take
// of each packet over IPv4.
const (
	vxlanPort     = 4789
	vxlanOverhead = 50
)

// defaultMTU is that of a board's link until it is known by which one the
// others are reached.
const defaultMTU = 1500

// vxlanPrefix begins the names of the links; the network's number follows.
const vxlanPrefix = "edgex"

// vxlan carries each network in a unicast VXLAN of its own, in plain. A board is
// known in it by its address in the network, and the hardware address is derived
// from that: routes, neighbours and forwarding entries are static, nothing is
// learned and nothing flooded.
type vxlan struct{}

var _ driver = vxlan{}

func vxlanName(n *api.NetworkInfo) string { return fmt.Sprintf("%s%06x", vxlanPrefix, n.VNI) }

func (v vxlan) weave(n *api.NetworkInfo, self api.NodeID, peers map[api.NodeID]netip.Addr) error {
	gateway := n.Gateway(self)
	link, err := v.ensureLink(n, gateway, v.mtu(peers))
	if err != nil {
		return fmt.Errorf("link %s: %w", vxlanName(n), err)
	}
	if err := ensureAddr(link, gateway); err != nil {
		return fmt.Errorf("address of %s: %w", vxlanName(n), err)
	}
	far := map[netip.Addr]netip.Addr{} // a peer's address in the network -> on the LAN
	routes := map[netip.Prefix]netip.Addr{}
	for _, b := range n.Blocks {
		at, known := peers[b.Node]
		if b.Node == self || !known {
			continue
		}
		via := n.Gateway(b.Node)
		far[via], routes[b.Prefix] = at, via
	}
	if err := ensureFar(link, far); err != nil {
		return fmt.Errorf("peers of %s: %w", vxlanName(n), err)
	}
	if err := ensureRoutes(link, routes, gateway); err != nil {
		return fmt.Errorf("routes of %s: %w", vxlanName(n), err)
	}
	return nil
}

// mtu is the least of the links by which peers are reached, less the headers.
func (vxlan) mtu(peers map[api.NodeID]netip.Addr) int {
	least := 0
	for _, at := range peers {
		routes, err := netlink.RouteGet(at.AsSlice())
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
	if least == 0 {
		least = defaultMTU
	}
	return least - vxlanOverhead
}

// ensureLink makes the network's link, or makes it anew if it is another's.
func (vxlan) ensureLink(n *api.NetworkInfo, gateway netip.Addr, mtu int) (netlink.Link, error) {
	name := vxlanName(n)
	link, err := netlink.LinkByName(name)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	if err == nil {
		have, ok := link.(*netlink.Vxlan)
		if ok && have.VxlanId == int(n.VNI) && have.Port == vxlanPort && !have.Learning {
			err = nil
			if have.MTU != mtu {
				err = netlink.LinkSetMTU(link, mtu)
			}
			if !bytes.Equal(have.HardwareAddr, macOf(gateway)) {
				err = errors.Join(err, netlink.LinkSetHardwareAddr(link, macOf(gateway)))
			}
			if have.Flags&net.FlagUp == 0 {
				err = errors.Join(err, netlink.LinkSetUp(link))
			}
			return link, err
		}
		if err := netlink.LinkDel(link); err != nil {
			return nil, err
		}
	}
	link = &netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu, HardwareAddr: macOf(gateway)},
		VxlanId:   int(n.VNI), Port: vxlanPort, Learning: false,
	}
	if err := netlink.LinkAdd(link); err != nil {
		return nil, err
	}
	return link, netlink.LinkSetUp(link)
}

// cut removes links of networks that are not kept.
func (vxlan) cut(keep []*api.NetworkInfo) error {
	wanted := map[string]bool{}
	for _, n := range keep {
		wanted[vxlanName(n)] = true
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, link := range links {
		name := link.Attrs().Name
		if link.Type() == "vxlan" && strings.HasPrefix(name, vxlanPrefix) && !wanted[name] {
			if err := netlink.LinkDel(link); err != nil && !isNotFound(err) {
				return fmt.Errorf("remove link %s: %w", name, err)
			}
		}
	}
	return nil
}

// ensureAddr makes addr the link's only IPv4 address.
func ensureAddr(link netlink.Link, addr netip.Addr) error {
	have, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	found := false
	for _, a := range have {
		if got, _ := netip.AddrFromSlice(a.IP.To4()); got == addr {
			found = true
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil {
			return err
		}
	}
	if found {
		return nil
	}
	return netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(addr, 32)})
}

// ensureFar makes the link's neighbours and forwarding entries those of the
// peers: by their addresses in the network, and where they are on the LAN.
func ensureFar(link netlink.Link, far map[netip.Addr]netip.Addr) error {
	index := link.Attrs().Index
	neighbours, err := netlink.NeighList(index, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	known := map[netip.Addr]bool{}
	for _, n := range neighbours {
		addr, _ := netip.AddrFromSlice(n.IP.To4())
		if _, wanted := far[addr]; wanted && n.State == netlink.NUD_PERMANENT && bytes.Equal(n.HardwareAddr, macOf(addr)) {
			known[addr] = true
		} else if n.State == netlink.NUD_PERMANENT && !wanted {
			if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
	}
	entries, err := netlink.NeighList(index, unix.AF_BRIDGE)
	if err != nil {
		return err
	}
	forwards := map[string]netip.Addr{}
	for _, e := range entries {
		at, _ := netip.AddrFromSlice(e.IP.To4())
		forwards[e.HardwareAddr.String()] = at
	}
	for via, at := range far {
		mac := macOf(via)
		if !known[via] {
			if err := netlink.NeighSet(&netlink.Neigh{LinkIndex: index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: via.AsSlice(), HardwareAddr: mac}); err != nil {
				return err
			}
		}
		if forwards[mac.String()] != at {
			if err := netlink.NeighSet(fdbEntry(index, mac, at)); err != nil {
				return err
			}
		}
		delete(forwards, mac.String())
	}
	for mac, at := range forwards { // peers that are no more
		hw, err := net.ParseMAC(mac)
		if err == nil {
			err = netlink.NeighDel(fdbEntry(index, hw, at))
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// fdbEntry is an entry of a VXLAN's forwarding table.
func fdbEntry(index int, mac net.HardwareAddr, at netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF, IP: at.AsSlice(), HardwareAddr: mac}
}

// ensureRoutes makes the link's routes those to the peers' blocks. What the board
// itself sends there is from its own address in the network.
func ensureRoutes(link netlink.Link, want map[netip.Prefix]netip.Addr, source netip.Addr) error {
	have, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: routeOwner}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return err
	}
	kept := map[netip.Prefix]bool{}
	for _, r := range have {
		via, _ := netip.AddrFromSlice(r.Gw.To4())
		src, _ := netip.AddrFromSlice(r.Src.To4())
		dst := prefixOf(r.Dst)
		if want[dst] == via && via.IsValid() && src == source {
			kept[dst] = true
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	for dst, via := range want {
		if kept[dst] {
			continue
		}
		r := &netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: ipNetOf(dst), Gw: via.AsSlice(), Src: source.AsSlice(), Flags: int(netlink.FLAG_ONLINK), Protocol: routeOwner,
		}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("to %v: %w", dst, err)
		}
	}
	return nil
}

func ipNetOf(p netip.Prefix) *net.IPNet { return ipNet(p.Addr(), p.Bits()) }

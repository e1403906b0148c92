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

// vxlanPrefix begins the names of the links; the network's number follows.
const vxlanPrefix = "edgex"

// vxlan carries each network in a unicast VXLAN of its own, in plain. A board is
// known in it by its address in the network, and the hardware address is derived
// from that: routes, neighbours and forwarding entries are static, nothing is
// learned and nothing flooded.
type vxlan struct{}

var _ driver = vxlan{}

func vxlanName(n *api.NetworkInfo) string { return fmt.Sprintf("%s%06x", vxlanPrefix, n.VNI) }

func (v vxlan) weave(w weaving, networks []*api.NetworkInfo) (woven []*api.NetworkInfo, err error) {
	for _, n := range networks {
		if e := v.weaveOne(n, w); e != nil {
			err = errors.Join(err, fmt.Errorf("network %s: %w", n.Name, e))
			continue
		}
		woven = append(woven, n)
	}
	return woven, err
}

func (v vxlan) weaveOne(n *api.NetworkInfo, w weaving) error {
	gateway := n.Gateway(w.self)
	link, err := v.ensureLink(n, gateway, v.mtu(w))
	if err != nil {
		return fmt.Errorf("link %s: %w", vxlanName(n), err)
	}
	if err := ensureAddrs(link, []netip.Addr{gateway}); err != nil {
		return fmt.Errorf("address of %s: %w", vxlanName(n), err)
	}
	far := map[netip.Addr]netip.Addr{} // a peer's address in the network -> on the LAN
	routes := map[netip.Prefix]way{}
	for _, b := range n.Blocks {
		at, known := w.reached(b.Node)
		if b.Node == w.self || !known {
			continue
		}
		via := n.Gateway(b.Node)
		far[via], routes[b.Prefix] = at, way{via, gateway}
	}
	if err := ensureFar(link, far); err != nil {
		return fmt.Errorf("peers of %s: %w", vxlanName(n), err)
	}
	if err := ensureRoutes(link, routes); err != nil {
		return fmt.Errorf("routes of %s: %w", vxlanName(n), err)
	}
	return nil
}

// mtu implements driver.
func (vxlan) mtu(w weaving) int { return w.mtu() - vxlanOverhead }

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

func ipNetOf(p netip.Prefix) *net.IPNet { return ipNet(p.Addr(), p.Bits()) }

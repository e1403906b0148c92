package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

// bridgeName is the board's bridge. Links of ours begin with "edge", so that
// discovery leaves them alone.
const bridgeName = "edge0"

// ensureBridge makes the bridge, its subnet and its rules where they are
// missing; it repairs what another tool took away.
func (l *Local) ensureBridge() error {
	link, err := netlink.LinkByName(bridgeName)
	if isNotFound(err) {
		if link, err = l.makeBridge(); err != nil {
			return fmt.Errorf("make bridge: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("look for bridge: %w", err)
	}
	subnet, err := subnetOf(link)
	if err != nil {
		return err
	}
	l.subnet = subnet
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set bridge up: %w", err)
	}
	for path, value := range map[string]string{
		"/proc/sys/net/ipv4/ip_forward": "1",
		// A board's own programs reach published ports at 127.0.0.1.
		"/proc/sys/net/ipv4/conf/" + bridgeName + "/route_localnet": "1",
	} {
		if err := setSysctl(path, value); err != nil {
			return err
		}
	}
	return ensureRules(subnet)
}

func (l *Local) makeBridge() (netlink.Link, error) {
	subnet, err := freeSubnet(l.cfg.Pool)
	if err != nil {
		return nil, err
	}
	// A bridge without a MAC of its own takes its ports' lowest, and changes it
	// under the tasks' feet as they come and go.
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName, HardwareAddr: macOf(bridgeAddr(subnet))}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return nil, err
	}
	addr := &netlink.Addr{IPNet: ipNet(bridgeAddr(subnet), subnet.Bits())}
	if err := netlink.AddrAdd(bridge, addr); err != nil {
		return nil, errors.Join(err, netlink.LinkDel(bridge))
	}
	l.cfg.Logger.Info("made the board's bridge", "link", bridgeName, "subnet", subnet)
	return bridge, nil
}

// freeSubnet is the pool's first subnet that overlaps no route of the board.
func freeSubnet(pool netip.Prefix) (netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("list routes: %w", err)
	}
	for addr := pool.Addr(); pool.Contains(addr); addr = after(addr, subnetBits) {
		subnet := netip.PrefixFrom(addr, subnetBits)
		if !overlaps(subnet, routes) {
			return subnet, nil
		}
	}
	return netip.Prefix{}, api.Errorf(api.Unavailable, "", "every subnet of %s collides with a route of this board: give edged another with --task-subnets", pool)
}

func overlaps(subnet netip.Prefix, routes []netlink.Route) bool {
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		ones, _ := r.Dst.Mask.Size()
		if ok && ones > 0 && subnet.Overlaps(netip.PrefixFrom(addr.Unmap(), ones)) {
			return true
		}
	}
	return false
}

// after is the first address behind the block of that size which begins at addr.
func after(addr netip.Addr, bits int) netip.Addr {
	b := addr.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n += 1 << (32 - bits)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// bridgeAddr is a subnet's first usable address.
func bridgeAddr(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

func subnetOf(bridge netlink.Link) (netip.Prefix, error) {
	addrs, err := netlink.AddrList(bridge, netlink.FAMILY_V4)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("read bridge's address: %w", err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			ones, _ := a.Mask.Size()
			return netip.PrefixFrom(ip.Unmap(), ones).Masked(), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("link %s has no address: remove it (ip link del %s) and it is made anew", bridgeName, bridgeName)
}

// enter opens a namespace to work in, until leave is called.
func enter(nsPath string) (inside *netlink.Handle, ns netns.NsHandle, leave func(), err error) {
	ns, err = netns.GetFromPath(nsPath)
	if err != nil {
		return nil, ns, nil, fmt.Errorf("open namespace: %w", err)
	}
	inside, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		_ = ns.Close()
		return nil, ns, nil, fmt.Errorf("enter namespace: %w", err)
	}
	return inside, ns, func() {
		inside.Close()
		_ = ns.Close()
	}, nil
}

// plug links a namespace to the bridge and gives it its address and route.
func (l *Local) plug(task api.TaskID, nsPath string, addr netip.Addr) error {
	inside, ns, leave, err := enter(nsPath)
	if err != nil {
		return err
	}
	defer leave()
	if err := l.ensurePair(task, inside, ns, addr); err != nil {
		return fmt.Errorf("link task to bridge: %w", err)
	}
	eth0, err := inside.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0: %w", err)
	}
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	err = inside.AddrReplace(eth0, &netlink.Addr{IPNet: ipNet(addr, l.subnet.Bits())})
	for _, link := range []netlink.Link{lo, eth0} {
		if err == nil {
			err = inside.LinkSetUp(link)
		}
	}
	if err == nil {
		err = inside.RouteReplace(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: bridgeAddr(l.subnet).AsSlice()})
	}
	if err != nil {
		return fmt.Errorf("set up eth0: %w", err)
	}
	return nil
}

// ensurePair makes the veth pair between bridge and namespace.
func (l *Local) ensurePair(task api.TaskID, inside *netlink.Handle, ns netns.NsHandle, addr netip.Addr) error {
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return err
	}
	outer, outerErr := netlink.LinkByName(linkName(task))
	_, innerErr := inside.LinkByName("eth0")
	if outerErr == nil && innerErr == nil {
		return errors.Join(netlink.LinkSetMaster(outer, bridge), netlink.LinkSetHairpin(outer, true), netlink.LinkSetUp(outer))
	}
	if outerErr == nil { // half a pair: left by a crash in between
		if err := netlink.LinkDel(outer); err != nil {
			return err
		}
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: linkName(task), MasterIndex: bridge.Attrs().Index},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(ns), PeerHardwareAddr: macOf(addr),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return err
	}
	// A task that asks its own published port is sent back where it came from,
	// which a bridge otherwise refuses when br_netfilter is on.
	return errors.Join(netlink.LinkSetHairpin(pair, true), netlink.LinkSetUp(pair))
}

// unplug removes a task's link; the one inside goes with it.
func unplug(task api.TaskID) error {
	link, err := netlink.LinkByName(linkName(task))
	if isNotFound(err) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("remove task's link: %w", err)
	}
	return nil
}

// linkName fits the kernel's 15 characters; 11 of a task's ID are 56 random bits.
func linkName(task api.TaskID) string { return "edge" + string(task[:min(11, len(task))]) }

// macOf derives a MAC (locally administered) from an address of the bridge's
// subnet: whoever remembers the one for a task's address is right for the next
// task that has it.
func macOf(addr netip.Addr) net.HardwareAddr {
	ip := addr.As4()
	return net.HardwareAddr{0x02, 0x65, ip[0], ip[1], ip[2], ip[3]}
}

func ipNet(addr netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
}

func isNotFound(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV)
}

// setSysctl writes a kernel setting unless it is so already.
func setSysctl(path, value string) error {
	if raw, err := os.ReadFile(path); err == nil && string(raw) == value+"\n" {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set %s: %w", path, err)
	}
	return nil
}

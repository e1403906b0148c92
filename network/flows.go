package network

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// led is where datagrams to an address, or to a port of the board, are led.
type led struct {
	addr netip.Addr // invalid: any
	port uint16     // 0: any
	to   []netip.Addr
}

var _ netlink.CustomConntrackFilter = led{}

// MatchConntrackFlow implements netlink.CustomConntrackFilter: of datagrams that
// went where they are led no more.
func (l led) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP || l.port != 0 && flow.Forward.DstPort != l.port {
		return false
	}
	dst, ok := netip.AddrFromSlice(flow.Forward.DstIP)
	if !ok || l.addr.IsValid() && dst.Unmap() != l.addr {
		return false
	}
	at, ok := netip.AddrFromSlice(flow.Reverse.SrcIP)
	return ok && at.Unmap() != dst.Unmap() && !slices.Contains(l.to, at.Unmap()) // one that was led nowhere is another's
}

// forgetFlows ends what the kernel remembers of datagrams that went where they are
// led no more: who goes on sending would never be led elsewhere, since nothing
// opens a connection anew.
func forgetFlows(changed []led) error {
	if len(changed) == 0 {
		return nil
	}
	filters := make([]netlink.CustomConntrackFilter, len(changed))
	for i, l := range changed {
		filters[i] = l
	}
	if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, filters...); err != nil {
		return fmt.Errorf("end flows of datagrams: %w", err)
	}
	return nil
}

package ethernet

import (
	"encoding/binary"
	"net/netip"
)

// Types of Ethernet payload.
const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
)

// addressOf is the IPv4 address that a frame's sender says it has: of an ARP
// packet, or as the source of an IP packet. A sender that has none yet asks
// from 0.0.0.0, which does not count; neither does one in search of a free
// link-local address.
func addressOf(f frame) (netip.Addr, bool) {
	payload := f[headerSize:]
	var raw []byte
	switch binary.BigEndian.Uint16(f[12:14]) {
	case typeARP:
		if len(payload) < 28 || MAC(payload[8:14]) != f.from() {
			return netip.Addr{}, false
		}
		raw = payload[14:18]
	case typeIPv4:
		if len(payload) < 20 {
			return netip.Addr{}, false
		}
		raw = payload[12:16]
	default:
		return netip.Addr{}, false
	}
	a := netip.AddrFrom4([4]byte(raw))
	return a, a.IsPrivate()
}

package ipam

import (
	"encoding/binary"
	"net/netip"
)

// Pick finds the first subnet of that prefix length in a pool of IPv4 addresses
// that overlaps nothing that is taken.
func Pick(pool netip.Prefix, bits int, taken []netip.Prefix) (netip.Prefix, bool) {
	pool = pool.Masked()
	if !pool.Addr().Is4() || bits < pool.Bits() || bits > 32 {
		return netip.Prefix{}, false
	}
	for i := range 1 << (bits - pool.Bits()) {
		subnet := nth(pool, bits, i)
		if _, collides := Overlapping(subnet, taken); !collides {
			return subnet, true
		}
	}
	return netip.Prefix{}, false
}

// Overlapping finds the first of the taken prefixes that has an address in
// common with p. A default route has none with anything.
func Overlapping(p netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	for _, t := range taken {
		if t.Bits() > 0 && p.Overlaps(t) {
			return t, true
		}
	}
	return netip.Prefix{}, false
}

// nth is the part number i of a prefix, in parts of the prefix length bits.
func nth(p netip.Prefix, bits, i int) netip.Prefix {
	return netip.PrefixFrom(offset(p.Addr(), i<<(32-bits)), bits)
}

// offset is the address n behind addr.
func offset(addr netip.Addr, n int) netip.Addr {
	b := addr.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
	return netip.AddrFrom4(b)
}

package wireguard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Kernel is a link of type wireguard, by its name in this network namespace.
// What is said here is linux/wireguard.h's.
type Kernel struct{ Name string }

var _ Link = Kernel{}

// mostBytes of a message are given to peers; the kernel takes less than 64 KiB.
const mostBytes = 24 << 10

// Apply implements Link.
func (k Kernel) Apply(c Change) error {
	first := true
	for first || len(c.Peers) > 0 {
		req, err := k.request(unix.WG_CMD_SET_DEVICE, unix.NLM_F_ACK)
		if err != nil {
			return err
		}
		if first && c.Private != nil {
			req.AddData(nl.NewRtAttr(unix.WGDEVICE_A_PRIVATE_KEY, c.Private[:]))
		}
		if first && c.Port != 0 {
			req.AddData(nl.NewRtAttr(unix.WGDEVICE_A_LISTEN_PORT, nl.Uint16Attr(c.Port)))
		}
		first = false
		list, size := nl.NewRtAttr(unix.WGDEVICE_A_PEERS|unix.NLA_F_NESTED, nil), 0
		for len(c.Peers) > 0 && size < mostBytes {
			peer := c.Peers[0].attr()
			list.AddChild(peer)
			size += peer.Len()
			c.Peers = c.Peers[1:]
		}
		if size > 0 {
			req.AddData(list)
		}
		if _, err := req.Execute(unix.NETLINK_GENERIC, 0); err != nil {
			return fmt.Errorf("set up WireGuard link %s: %w", k.Name, err)
		}
	}
	return nil
}

func (k Kernel) request(command uint8, flags int) (*nl.NetlinkRequest, error) {
	family, err := netlink.GenlFamilyGet(unix.WG_GENL_NAME)
	if err != nil {
		return nil, fmt.Errorf("find the kernel's WireGuard: %w", err)
	}
	req := nl.NewNetlinkRequest(int(family.ID), flags)
	req.AddData(&nl.Genlmsg{Command: command, Version: unix.WG_GENL_VERSION})
	req.AddData(nl.NewRtAttr(unix.WGDEVICE_A_IFNAME, nl.ZeroTerminated(k.Name)))
	return req, nil
}

// attr is a peer's change as a nested attribute.
func (p PeerChange) attr() *nl.RtAttr {
	peer := nl.NewRtAttr(unix.NLA_F_NESTED, nil)
	peer.AddRtAttr(unix.WGPEER_A_PUBLIC_KEY, p.Key[:])
	flags := uint32(0)
	if p.Remove {
		flags |= unix.WGPEER_F_REMOVE_ME
	}
	if p.Replace {
		flags |= unix.WGPEER_F_REPLACE_ALLOWEDIPS
	}
	peer.AddRtAttr(unix.WGPEER_A_FLAGS, nl.Uint32Attr(flags))
	if p.Remove {
		return peer
	}
	if p.Endpoint.IsValid() {
		peer.AddRtAttr(unix.WGPEER_A_ENDPOINT, sockaddr(p.Endpoint))
	}
	if p.Keepalive != nil {
		peer.AddRtAttr(unix.WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, nl.Uint16Attr(uint16(*p.Keepalive/time.Second)))
	}
	if len(p.Allowed) == 0 {
		return peer
	}
	allowed := peer.AddRtAttr(unix.WGPEER_A_ALLOWEDIPS|unix.NLA_F_NESTED, nil)
	for _, prefix := range p.Allowed {
		family := uint16(unix.AF_INET)
		if prefix.Addr().Is6() {
			family = unix.AF_INET6
		}
		one := allowed.AddRtAttr(unix.NLA_F_NESTED, nil)
		one.AddRtAttr(unix.WGALLOWEDIP_A_FAMILY, nl.Uint16Attr(family))
		one.AddRtAttr(unix.WGALLOWEDIP_A_IPADDR, prefix.Addr().AsSlice())
		one.AddRtAttr(unix.WGALLOWEDIP_A_CIDR_MASK, []byte{byte(prefix.Bits())})
	}
	return peer
}

// sockaddr is a struct sockaddr_in or sockaddr_in6.
func sockaddr(at netip.AddrPort) []byte {
	raw := make([]byte, 2, unix.SizeofSockaddrInet6)
	addr := at.Addr().Unmap()
	family := uint16(unix.AF_INET)
	if addr.Is6() {
		family = unix.AF_INET6
	}
	binary.NativeEndian.PutUint16(raw, family)
	raw = binary.BigEndian.AppendUint16(raw, at.Port())
	if addr.Is4() {
		return append(append(raw, addr.AsSlice()...), make([]byte, 8)...)
	}
	return append(append(append(raw, make([]byte, 4)...), addr.AsSlice()...), make([]byte, 4)...)
}

// State implements Link. A peer with many addresses may come in several parts.
func (k Kernel) State() (s State, err error) {
	req, err := k.request(unix.WG_CMD_GET_DEVICE, unix.NLM_F_DUMP)
	if err != nil {
		return s, err
	}
	parts, err := req.Execute(unix.NETLINK_GENERIC, 0)
	for _, part := range parts {
		if err == nil && len(part) >= nl.SizeofGenlmsg {
			err = s.read(part[nl.SizeofGenlmsg:])
		}
	}
	if err != nil {
		return s, fmt.Errorf("read WireGuard link %s: %w", k.Name, err)
	}
	return s, nil
}

func (s *State) read(raw []byte) error {
	return each(raw, func(kind uint16, value []byte) error {
		switch kind {
		case unix.WGDEVICE_A_PRIVATE_KEY:
			copy(s.Private[:], value)
		case unix.WGDEVICE_A_LISTEN_PORT:
			s.Port = binary.NativeEndian.Uint16(value)
		case unix.WGDEVICE_A_PEERS:
			return each(value, func(_ uint16, raw []byte) error {
				var p Peer
				err := p.read(raw)
				if last := len(s.Peers) - 1; last >= 0 && s.Peers[last].Key == p.Key {
					s.Peers[last].Allowed = append(s.Peers[last].Allowed, p.Allowed...)
				} else {
					s.Peers = append(s.Peers, p)
				}
				return err
			})
		}
		return nil
	})
}

func (p *Peer) read(raw []byte) error {
	return each(raw, func(kind uint16, value []byte) error {
		switch kind {
		case unix.WGPEER_A_PUBLIC_KEY:
			copy(p.Key[:], value)
		case unix.WGPEER_A_ENDPOINT:
			p.Endpoint = endpointOf(value)
		case unix.WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
			p.Keepalive = time.Duration(binary.NativeEndian.Uint16(value)) * time.Second
		case unix.WGPEER_A_LAST_HANDSHAKE_TIME:
			if sec := binary.NativeEndian.Uint64(value); len(value) >= 16 && sec > 0 {
				p.Shaken = time.Unix(int64(sec), int64(binary.NativeEndian.Uint64(value[8:])))
			}
		case unix.WGPEER_A_ALLOWEDIPS:
			return each(value, func(_ uint16, raw []byte) error {
				var addr netip.Addr
				var bits int
				err := each(raw, func(kind uint16, value []byte) error {
					switch kind {
					case unix.WGALLOWEDIP_A_IPADDR:
						addr, _ = netip.AddrFromSlice(value)
					case unix.WGALLOWEDIP_A_CIDR_MASK:
						bits = int(value[0])
					}
					return nil
				})
				p.Allowed = append(p.Allowed, netip.PrefixFrom(addr, bits))
				return err
			})
		}
		return nil
	})
}

func endpointOf(raw []byte) netip.AddrPort {
	if len(raw) < unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(raw[2:])
	if binary.NativeEndian.Uint16(raw) == unix.AF_INET6 && len(raw) >= unix.SizeofSockaddrInet6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), port)
}

// errShort is an attribute that is cut off.
var errShort = errors.New("an attribute of the kernel's answer is cut off")

// each calls do with every attribute of raw.
func each(raw []byte, do func(kind uint16, value []byte) error) error {
	attrs, err := nl.ParseRouteAttr(raw)
	if err != nil {
		return err
	}
	for _, a := range attrs {
		if err := read(a, do); err != nil {
			return err
		}
	}
	return nil
}

func read(a syscall.NetlinkRouteAttr, do func(uint16, []byte) error) (err error) {
	defer func() {
		if recover() != nil { // a value shorter than its kind has it
			err = errShort
		}
	}()
	return do(a.Attr.Type&nl.NLA_TYPE_MASK, a.Value)
}

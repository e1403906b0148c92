package mdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const port = 5353

var (
	group4 = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: port}
	group6 = &net.UDPAddr{IP: net.ParseIP("ff02::fb"), Port: port}
)

// socket is one address family's membership in the mDNS groups of some
// interfaces, and of no others.
type socket struct {
	send func(raw []byte, iface int) error
	// receive answers a multicast packet's length, interface and source; 0
	// for a packet that was not sent to the group.
	receive func(buf []byte) (n, iface int, source netip.Addr, err error)
	close   func() error
}

// openSockets joins the groups; a family that the kernel lacks or that no
// interface has is left out. It errs if none is left.
func openSockets(ctx context.Context, all []link) ([]*socket, error) {
	s4, err4 := open4(ctx, all)
	s6, err6 := open6(ctx, all)
	var out []*socket
	for _, s := range []*socket{s4, s6} {
		if s != nil {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("open multicast sockets: %w", errors.Join(err4, err6))
	}
	return out, nil
}

// listen binds the mDNS port beside whoever else has. By default Linux hands a
// socket the packets of every group that any program joined on any interface;
// then a link-local address could not be told its zone by where we joined.
func listen(ctx context.Context, network string, level, all int) (net.PacketConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		ctlErr := raw.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
				err = unix.SetsockoptInt(int(fd), level, all, 0)
			}
		})
		return errors.Join(ctlErr, err)
	}}
	return config.ListenPacket(ctx, network, fmt.Sprintf(":%d", port))
}

func open4(ctx context.Context, all []link) (*socket, error) {
	raw, err := listen(ctx, "udp4", unix.IPPROTO_IP, unix.IP_MULTICAST_ALL)
	if err != nil {
		return nil, err
	}
	conn := ipv4.NewPacketConn(raw)
	err = errors.Join(conn.SetControlMessage(ipv4.FlagInterface|ipv4.FlagDst, true), conn.SetMulticastTTL(255), conn.SetMulticastLoopback(true))
	joined := 0
	for _, i := range interfaces(all) {
		if e := conn.JoinGroup(&i, group4); e == nil {
			joined++
		}
	}
	if err != nil || joined == 0 {
		return nil, errors.Join(err, raw.Close(), errors.New("no IPv4 interface"))
	}
	return &socket{
		send: func(raw []byte, iface int) error {
			_, err := conn.WriteTo(raw, &ipv4.ControlMessage{IfIndex: iface}, group4)
			return err
		},
		receive: func(buf []byte) (int, int, netip.Addr, error) {
			n, cm, from, err := conn.ReadFrom(buf)
			if err != nil || cm == nil || !cm.Dst.IsMulticast() {
				return 0, 0, netip.Addr{}, err
			}
			return n, cm.IfIndex, sourceOf(from), nil
		},
		close: raw.Close,
	}, nil
}

func open6(ctx context.Context, all []link) (*socket, error) {
	raw, err := listen(ctx, "udp6", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL)
	if err != nil {
		return nil, err
	}
	conn := ipv6.NewPacketConn(raw)
	err = errors.Join(conn.SetControlMessage(ipv6.FlagInterface|ipv6.FlagDst, true), conn.SetMulticastHopLimit(255), conn.SetMulticastLoopback(true))
	joined := 0
	for _, i := range interfaces(all) {
		if e := conn.JoinGroup(&i, group6); e == nil {
			joined++
		}
	}
	if err != nil || joined == 0 {
		return nil, errors.Join(err, raw.Close(), errors.New("no IPv6 interface"))
	}
	return &socket{
		send: func(raw []byte, iface int) error {
			_, err := conn.WriteTo(raw, &ipv6.ControlMessage{IfIndex: iface}, group6)
			return err
		},
		receive: func(buf []byte) (int, int, netip.Addr, error) {
			n, cm, from, err := conn.ReadFrom(buf)
			if err != nil || cm == nil || !cm.Dst.IsMulticast() {
				return 0, 0, netip.Addr{}, err
			}
			return n, cm.IfIndex, sourceOf(from), nil
		},
		close: raw.Close,
	}, nil
}

func sourceOf(from net.Addr) netip.Addr {
	if udp, ok := from.(*net.UDPAddr); ok {
		return udp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

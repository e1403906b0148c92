package quic_test

import (
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/transport"
	"github.com/edgeswarm/edgeswarm/transport/mem"
	"github.com/edgeswarm/edgeswarm/transport/quic"
	"github.com/edgeswarm/edgeswarm/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformanceOverUDP(t *testing.T) {
	t.Parallel()
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		f := newUDP(t, "127.0.0.1")
		return f.fixture()
	})
}

func TestConformanceOverUDPv6(t *testing.T) {
	t.Parallel()
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		f := newUDP(t, "::1")
		return f.fixture()
	})
}

func TestConformanceInMemory(t *testing.T) {
	transporttest.RunInBubble(t, func(t *testing.T) transporttest.Fixture { return newLAN(mem.Faults{Delay: mem.DefaultDelay}).fixture() })
}

func TestConformanceOnABadLAN(t *testing.T) {
	transporttest.RunInBubble(t, func(t *testing.T) transporttest.Fixture {
		return newLAN(mem.Faults{Loss: 0.05, Duplicate: 0.05, Delay: time.Millisecond, Jitter: 2 * time.Millisecond}).fixture()
	})
}

// udp is loopback: a host is a port.
type udp struct {
	ip    netip.Addr
	mu    sync.Mutex
	ports map[int]uint16
	socks map[int]net.PacketConn
	spray net.PacketConn
	hole  net.PacketConn // is never read
}

func newUDP(t *testing.T, ip string) *udp {
	u := &udp{ip: netip.MustParseAddr(ip), ports: map[int]uint16{}, socks: map[int]net.PacketConn{}}
	for _, pc := range []*net.PacketConn{&u.spray, &u.hole} {
		var err error
		if *pc, err = net.ListenPacket("udp", netip.AddrPortFrom(u.ip, 0).String()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = (*pc).Close() })
	}
	return u
}

func (u *udp) addr(n int) netip.AddrPort {
	u.mu.Lock()
	defer u.mu.Unlock()
	return netip.AddrPortFrom(u.ip, u.ports[n])
}

func (u *udp) fixture() transporttest.Fixture {
	const idle = 4 * time.Second
	return transporttest.Fixture{
		Idle: idle, NewFleet: newFleet, Stranger: stranger, Addr: u.addr,
		Nowhere: u.hole.LocalAddr().(*net.UDPAddr).AddrPort(),
		Open: func(t *testing.T, n int, id transport.Identity, admit func(transport.Peer, transport.Protocol) error) transport.Endpoint {
			// A dual-stack socket on every address, as a board has it.
			pc, err := quic.Listen(netip.AddrPortFrom(netip.IPv6Unspecified(), u.addr(n).Port()).String())
			if err != nil {
				t.Fatal(err)
			}
			u.mu.Lock()
			u.socks[n], u.ports[n] = pc, pc.LocalAddr().(*net.UDPAddr).AddrPort().Port()
			u.mu.Unlock()
			return open(t, pc, id, admit, idle)
		},
		Crash: func(n int) {
			u.mu.Lock()
			defer u.mu.Unlock()
			_ = u.socks[n].Close()
		},
		Garbage: func(t *testing.T, n int, packet []byte) {
			if _, err := u.spray.WriteTo(packet, net.UDPAddrFromAddrPort(u.addr(n))); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// lan is a network in memory: a host is an address.
type lan struct {
	*mem.Network
	mu   sync.Mutex
	last map[int]netip.AddrPort
}

func newLAN(faults mem.Faults) *lan {
	l := &lan{Network: mem.New(1), last: map[int]netip.AddrPort{}}
	l.SetFaults(faults)
	return l
}

func lanAddr(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), api.DefaultPort)
}

func (l *lan) addr(n int) netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, moved := l.last[n]; moved {
		return a
	}
	return lanAddr(n)
}

func (l *lan) fixture() transporttest.Fixture {
	const idle = 5 * time.Second
	var spray *mem.Host
	return transporttest.Fixture{
		Idle: idle, NewFleet: newFleet, Stranger: stranger, Addr: l.addr, Nowhere: lanAddr(200),
		Open: func(t *testing.T, n int, id transport.Identity, admit func(transport.Peer, transport.Protocol) error) transport.Endpoint {
			pc, err := l.Host(l.addr(n))
			if err != nil {
				t.Fatal(err)
			}
			return open(t, pc, id, admit, idle)
		},
		Crash: func(n int) { l.Crash(l.addr(n)) },
		Move: func(t *testing.T, n int) netip.AddrPort {
			next := lanAddr(n + 100)
			if err := l.Move(l.addr(n), next); err != nil {
				t.Fatal(err)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.last[n] = next
			return next
		},
		Garbage: func(t *testing.T, n int, packet []byte) {
			if spray == nil {
				var err error
				if spray, err = l.Host(lanAddr(201)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := spray.WriteTo(packet, net.UDPAddrFromAddrPort(l.addr(n))); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func open(t *testing.T, pc net.PacketConn, id transport.Identity, admit func(transport.Peer, transport.Protocol) error, idle time.Duration) transport.Endpoint {
	t.Helper()
	ep, err := quic.New(quic.Config{PacketConn: pc, Identity: id, Admit: admit, IdleTimeout: idle})
	if err != nil {
		t.Fatal(err)
	}
	return ep
}

// fleet makes members with real credentials.
type fleet struct{ ca identity.CA }

func newFleet(t *testing.T) transporttest.Fleet {
	ca, err := identity.NewCA(api.NewID[api.FleetID](), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return fleet{ca}
}

func (f fleet) ID() api.FleetID { return f.ca.Fleet() }

func (f fleet) Member(t *testing.T) transporttest.Member {
	m := stranger(t)
	f.Certify(t, m)
	return m
}

func (f fleet) Certify(t *testing.T, m transporttest.Member) {
	k := m.(*identity.Keeper)
	csr, err := k.CSR()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := f.ca.Sign(csr, k.Node(), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Adopt(creds); err != nil {
		t.Fatal(err)
	}
}

func stranger(t *testing.T) transporttest.Member {
	k, err := identity.Open(identity.Config{Dir: filepath.Join(t.TempDir(), "identity"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

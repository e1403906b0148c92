package quic_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/transport"
	"github.com/edgeswarm/edgeswarm/transport/mem"
	"github.com/edgeswarm/edgeswarm/transport/quic"
	"github.com/edgeswarm/edgeswarm/transport/transporttest"
)

type host struct {
	transporttest.Member
	transport.Endpoint
	addr netip.AddrPort
}

func (l *lan) host(t *testing.T, n int, m transporttest.Member) *host {
	t.Helper()
	pc, err := l.Host(lanAddr(n))
	if err != nil {
		t.Fatal(err)
	}
	ep, err := quic.New(quic.Config{PacketConn: pc, Identity: m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ep.Close() })
	return &host{m, ep, lanAddr(n)}
}

// An idle fleet costs nothing: connections without streams go, and with them
// their pings. One with a stream is kept, at a few packets a minute.
func TestIdleConnectionsFallSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(mem.Faults{Delay: time.Millisecond})
		f := newFleet(t)
		a, b := l.host(t, 1, f.Member(t)), l.host(t, 2, f.Member(t))
		a.Learn(b.Node(), b.addr)
		listener, err := b.Listen(transport.Blob)
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Dial(t.Context(), b.Node(), transport.Blob)
		if err != nil {
			t.Fatal(err)
		}
		there, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		packets := func(d time.Duration) int {
			before := l.Sent()
			<-time.After(d)
			return l.Sent() - before
		}
		packets(10 * time.Second)
		if n := packets(time.Minute); n == 0 || n > 120 {
			t.Errorf("an open stream costs %d packets a minute", n)
		}
		_, _ = c.Close(), there.Close()
		packets(40 * time.Second)
		if n := packets(10 * time.Minute); n != 0 {
			t.Errorf("no stream at all costs %d packets in ten minutes", n)
		}
		if c, err = a.Dial(t.Context(), b.Node(), transport.Blob); err != nil {
			t.Errorf("dialled again: %v", err)
		} else {
			_ = c.Close()
		}
	})
}

// Strangers get only so many connections, and lose those that they don't use.
func TestStrangersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(mem.Faults{Delay: time.Millisecond})
		a, b := l.host(t, 1, stranger(t)), l.host(t, 2, stranger(t))
		listener, err := b.Listen(transport.Join)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { _ = c.Close() })
			}
		}()
		var open []transport.Conn
		for range 64 {
			c, err := a.DialAddr(t.Context(), b.addr)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
			synctest.Wait()
		}
		if _, err := a.DialAddr(t.Context(), b.addr); !errors.Is(err, transport.ErrRefused) {
			t.Errorf("the 65th: %v", err)
		}
		for _, c := range open {
			_ = c.Close()
		}
		<-time.After(2 * time.Second)
		c, err := a.DialAddr(t.Context(), b.addr)
		if err != nil {
			t.Fatalf("after they have gone: %v", err)
		}
		_ = c.Close()
	})
}

func TestHandshakesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN(mem.Faults{Delay: time.Millisecond})
		f := newFleet(t)
		a, b := l.host(t, 1, f.Member(t)), l.host(t, 2, f.Member(t))
		listener, err := b.Listen(transport.RPC)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if c, err := listener.Accept(); err == nil {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}
		}()
		// A flood from someone who hears no answers.
		deaf := l.host(t, 3, stranger(t))
		l.SetLink(b.addr.Addr(), deaf.addr.Addr(), mem.Faults{Loss: 1})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 300 {
			go func() { _, _ = deaf.DialAddr(ctx, b.addr) }()
		}
		<-time.After(time.Second)
		a.Learn(b.Node(), b.addr)
		c, err := a.Dial(t.Context(), b.Node(), transport.RPC)
		if err != nil {
			t.Fatalf("a member is kept out: %v", err)
		}
		_ = c.Close()
	})
}

func TestListenSaysWhatToDo(t *testing.T) {
	first, err := quic.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for addr, want := range map[string]struct {
		is   error
		says string
	}{
		first.LocalAddr().String(): {syscall.EADDRINUSE, "another program"},
		"192.0.2.1:0":              {syscall.EADDRNOTAVAIL, "does not have that address"},
	} {
		pc, err := quic.Listen(addr)
		if !errors.Is(err, want.is) || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), want.says) {
			t.Errorf("Listen(%s) = %v, %v", addr, pc, err)
		}
	}
	if _, err := quic.Listen("no port"); err == nil {
		t.Error("listened on nonsense")
	}
}

func TestDualStackPort(t *testing.T) {
	pc, err := quic.Listen(":0")
	if err != nil {
		t.Fatal(err)
	}
	ep, err := quic.New(quic.Config{PacketConn: pc, Identity: stranger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer ep.Close()
	l, err := ep.Listen(transport.Join)
	if err != nil {
		t.Fatal(err)
	}
	if int(ep.Port()) != pc.LocalAddr().(*net.UDPAddr).Port {
		t.Errorf("Port = %d", ep.Port())
	}
	for _, ip := range []string{"127.0.0.1", "::1"} {
		c, err := ep.DialAddr(t.Context(), netip.AddrPortFrom(netip.MustParseAddr(ip), ep.Port()))
		if err != nil {
			t.Fatal(err)
		}
		there, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := there.Peer().Addr.Addr().String(); got != ip {
			t.Errorf("dialled %s, the peer is at %s", ip, got)
		}
		_, _ = c.Close(), there.Close()
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := quic.New(quic.Config{}); err == nil {
		t.Error("an endpoint without a socket")
	}
}

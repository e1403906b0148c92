package mem

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
	"github.com/edgeswarm/edgeswarm/discovery/discoverytest"
)

type testLAN struct {
	lan  *LAN
	next byte
}

type testBoard struct {
	*Finder
	lan  *testLAN
	stop func()
}

func (l *testLAN) addr() netip.Addr {
	l.next++
	return netip.AddrFrom4([4]byte{192, 0, 2, l.next})
}

func (l *testLAN) Board(t *testing.T, plugged bool) discoverytest.Board {
	var addr netip.Addr
	if plugged {
		addr = l.addr()
	}
	f := l.lan.Join(addr)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.Run(ctx) })
	stop := func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return &testBoard{f, l, stop}
}

func (b *testBoard) Plug(*testing.T)   { b.Finder.Readdress(b.lan.addr()) }
func (b *testBoard) Unplug(*testing.T) { b.Finder.Readdress(netip.Addr{}) }
func (b *testBoard) Stop(*testing.T)   { b.stop() }
func (b *testBoard) Crash(*testing.T) {
	b.Finder.Readdress(netip.Addr{})
	b.stop()
}

func (b *testBoard) Readdress(*testing.T) netip.Addr {
	addr := b.lan.addr()
	b.Finder.Readdress(addr)
	return addr
}

func TestConformance(t *testing.T) {
	discoverytest.Run(t, discoverytest.Limits{Appear: time.Second, Forget: maxAge + 2*interval}, synctest.Test,
		func(*testing.T) discoverytest.LAN { return &testLAN{lan: NewLAN(1)} })
}

func TestLossOnlyDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := &testLAN{lan: NewLAN(7)}
		lan.lan.SetLoss(0.3)
		lan.lan.SetDelay(time.Millisecond, 80*time.Millisecond)
		a, b := lan.Board(t, true), lan.Board(t, true)
		a.Announce(discovery.Announcement{Node: api.NewID[api.NodeID](), Port: 1})
		discoverytest.Await(t, b, 10*time.Second, "the board", func(s []discovery.Sighting) bool { return len(s) == 1 })
	})
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := &testLAN{lan: NewLAN(7)}
		a, b := lan.Board(t, true), lan.Board(t, true)
		lan.lan.Partition([]netip.Addr{a.(*testBoard).at()}, []netip.Addr{b.(*testBoard).at()})
		a.Announce(discovery.Announcement{Node: api.NewID[api.NodeID](), Port: 1})
		synctest.Wait()
		if s := b.Sightings(); len(s) != 0 {
			t.Fatalf("heard through a partition: %v", s)
		}
		lan.lan.Heal()
		discoverytest.Await(t, b, 2*time.Minute, "the board", func(s []discovery.Sighting) bool { return len(s) == 1 })
	})
}

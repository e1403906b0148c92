package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

func bothEndsKnowEachOther(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	a.Learn(b.Node(), s.Addr(2))
	type seen struct {
		peer          transport.Peer
		key, otherKey []byte
	}
	met := make(chan seen, 2)
	channel := func(c transport.Conn, label string) []byte {
		key, err := c.Channel(label)
		if err != nil || len(key) != 32 {
			t.Errorf("Channel: %d bytes, %v", len(key), err)
		}
		return key
	}
	for _, p := range []transport.Protocol{transport.RPC, transport.Blob} {
		serve(t, b, p, func(c transport.Conn) {
			met <- seen{c.Peer(), channel(c, "one"), channel(c, "two")}
			echo(c)
		})
	}
	c := dial(t, s, a, b.Node(), transport.RPC)
	there := <-met
	check := func(what string, p transport.Peer, want *node) {
		if p.ID != want.Node() || p.Fleet != s.fleet.ID() || !bytes.Equal(p.Key, want.PublicKey()) || len(p.Chain) == 0 {
			t.Errorf("%s sees %s of fleet %q, want %s", what, p.ID, p.Fleet, want.Node())
		}
		if p.Addr != s.Addr(want.n) {
			t.Errorf("%s sees address %s, want %s", what, p.Addr, s.Addr(want.n))
		}
	}
	check("dialer", c.Peer(), b)
	check("acceptor", there.peer, a)
	if !bytes.Equal(channel(c, "one"), there.key) || !bytes.Equal(channel(c, "two"), there.otherKey) {
		t.Error("the channel's name differs between its ends")
	}
	if bytes.Equal(there.key, there.otherKey) {
		t.Error("the label does not count")
	}
	dial(t, s, a, b.Node(), transport.Blob)
	if other := <-met; bytes.Equal(other.key, there.key) {
		t.Error("two connections have one name")
	}
}

func acceptorMaySpeakFirst(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	a.Learn(b.Node(), s.Addr(2))
	serve(t, b, transport.Raft, func(c transport.Conn) { say(t, c, "welcome") })
	hear(t, dial(t, s, a, b.Node(), transport.Raft), "welcome")
}

func unknownNode(t *testing.T, s *suite) {
	a := s.open(t, 1, s.fleet.Member(t))
	if _, err := a.Dial(s.ctx, "nobody", transport.RPC); !errors.Is(err, transport.ErrUnknownNode) {
		t.Errorf("Dial: %v", err)
	}
	if addrs := a.Addrs("nobody"); len(addrs) != 0 {
		t.Errorf("Addrs = %v", addrs)
	}
}

func addressesAreRankedAndBounded(t *testing.T, s *suite) {
	a, b := s.pair(t)
	works(t, s, a, b.Node())
	good := s.Addr(2)
	for i := range 12 {
		a.Learn(b.Node(), netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 2377))
	}
	a.Learn(b.Node(), netip.AddrPort{}, netip.MustParseAddrPort("0.0.0.0:2377"), netip.MustParseAddrPort("[::ffff:192.0.2.5]:2377"))
	addrs := a.Addrs(b.Node())
	if len(addrs) != 8 || addrs[0] != netip.MustParseAddrPort("192.0.2.5:2377") || slices.Contains(addrs, good) {
		t.Errorf("after 12 more: %v", addrs)
	}
	c := s.open(t, 3, s.fleet.Member(t))
	c.Learn(b.Node(), good)
	works(t, s, c, b.Node())
	c.Learn(b.Node(), netip.MustParseAddrPort("192.0.2.1:2377"))
	if addrs := c.Addrs(b.Node()); len(addrs) != 2 || addrs[0] != good {
		t.Errorf("the address that answered is not first: %v", addrs)
	}
}

func anotherNodeAtTheAddress(t *testing.T, s *suite) {
	a, b := s.pair(t)
	c := s.open(t, 3, s.fleet.Member(t))
	a.Learn(c.Node(), s.Addr(2))
	ctx, cancel := soon(s)
	defer cancel()
	if conn, err := a.Dial(ctx, c.Node(), transport.RPC); err == nil || ctx.Err() != nil {
		t.Fatalf("node %s answered for %s: %v, %v", b.Node(), c.Node(), conn, err)
	}
	serve(t, c, transport.RPC, echo)
	a.Learn(c.Node(), s.Addr(3))
	a.Learn(c.Node(), s.Addr(2)) // first again
	works(t, s, a, c.Node())
	if got := a.Addrs(c.Node())[0]; got != s.Addr(3) {
		t.Errorf("first address %v", got)
	}
}

func deadAddressesAreSteppedOver(t *testing.T, s *suite) {
	a, b := s.pair(t)
	a.Learn(b.Node(), s.Nowhere)
	start := time.Now()
	works(t, s, a, b.Node())
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("one dead address cost %v", took)
	}
}

func addressLearnedWhileDialling(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	serve(t, b, transport.RPC, echo)
	a.Learn(b.Node(), s.Nowhere)
	timer := time.AfterFunc(time.Second, func() { a.Learn(b.Node(), s.Addr(2)) })
	defer timer.Stop()
	start := time.Now()
	works(t, s, a, b.Node())
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func inboundPeersCanBeDialled(t *testing.T, s *suite) {
	a, b := s.pair(t)
	serve(t, a, transport.RPC, echo)
	works(t, s, a, b.Node())
	works(t, s, b, a.Node())
}

func foreignFleet(t *testing.T, s *suite) {
	a, b := s.pair(t)
	stranger := s.open(t, 3, s.NewFleet(t).Member(t))
	serve(t, stranger, transport.RPC, echo)
	a.Learn(stranger.Node(), s.Addr(3))
	stranger.Learn(b.Node(), s.Addr(2))
	ctx, cancel := soon(s)
	defer cancel()
	if _, err := a.Dial(ctx, stranger.Node(), transport.RPC); err == nil || ctx.Err() != nil {
		t.Errorf("dialled a foreign fleet's node: %v", err)
	}
	if _, err := stranger.Dial(ctx, b.Node(), transport.RPC); err == nil || ctx.Err() != nil {
		t.Errorf("a foreign fleet's node dialled: %v", err)
	}
}

// liarsAreRefused dials with certificates that the acceptor must not take, by
// boards that skip their own check.
func liarsAreRefused(t *testing.T, s *suite) {
	_, b := s.pair(t)
	believe := func([][]byte) (api.NodeID, api.FleetID) { return b.Node(), s.fleet.ID() }
	for i, m := range []Member{s.NewFleet(t).Member(t), s.Stranger(t)} {
		evil := s.open(t, 3+i, liar{m, believe})
		evil.Learn(b.Node(), s.Addr(2))
		ctx, cancel := soon(s)
		_, err := evil.Dial(ctx, b.Node(), transport.RPC)
		cancel()
		if !errors.Is(err, transport.ErrRefused) || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("liar %d: %v", i, err)
		}
		if len(b.Addrs(m.Node())) != 0 {
			t.Error("an unproven peer was entered into the address book")
		}
	}
}

func removedNode(t *testing.T, s *suite) {
	a, b := s.pair(t)
	other := s.open(t, 3, s.fleet.Member(t))
	other.Learn(b.Node(), s.Addr(2))
	gone, stays := dial(t, s, a, b.Node(), transport.RPC), dial(t, s, other, b.Node(), transport.RPC)
	say(t, gone, "1")
	hear(t, gone, "1")
	b.refuses.Store(a.Node())
	say(t, gone, "2") // nothing happens before Recheck
	hear(t, gone, "2")
	b.Recheck()
	if err, took := ends(t, gone); !errors.Is(err, transport.ErrRefused) || took > time.Second {
		t.Errorf("after Recheck: %v in %v", err, took)
	}
	say(t, stays, "3")
	hear(t, stays, "3")
	if _, err := a.Dial(s.ctx, b.Node(), transport.RPC); !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), errRemoved.Error()) {
		t.Errorf("Dial: %v", err)
	}
	b.refuses.Store(api.NodeID(""))
	works(t, s, a, b.Node())
}

func removedNodeIsNotDialled(t *testing.T, s *suite) {
	a, b := s.pair(t)
	a.refuses.Store(b.Node())
	if _, err := a.Dial(s.ctx, b.Node(), transport.RPC); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("Dial: %v", err)
	}
}

func rotationKeepsConnections(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	a.Learn(b.Node(), s.Addr(2))
	chains := make(chan []byte, 2)
	for _, p := range []transport.Protocol{transport.RPC, transport.Blob} {
		serve(t, b, p, func(c transport.Conn) {
			chains <- c.Peer().Chain[0]
			echo(c)
		})
	}
	before := dial(t, s, a, b.Node(), transport.RPC)
	first := <-chains
	s.fleet.Certify(t, a.Member)
	s.fleet.Certify(t, b.Member)
	a.Recheck()
	b.Recheck()
	say(t, before, "still")
	hear(t, before, "still")
	after := dial(t, s, a, b.Node(), transport.Blob)
	if bytes.Equal(<-chains, first) {
		t.Error("a new connection shows the old certificate")
	}
	if got := after.Peer().Chain[0]; !bytes.Equal(got, b.Certificate().Certificate[0]) {
		t.Error("the acceptor shows the old certificate")
	}
}

func fleetChangeEndsConnections(t *testing.T, s *suite) {
	a, b := s.pair(t)
	c := dial(t, s, a, b.Node(), transport.RPC)
	say(t, c, "1")
	hear(t, c, "1")
	next := s.NewFleet(t)
	next.Certify(t, a.Member)
	a.Recheck()
	if err, took := ends(t, c); err == nil || took > time.Second {
		t.Errorf("connection of the fleet before: %v in %v", err, took)
	}
	ctx, cancel := soon(s)
	defer cancel()
	if _, err := a.Dial(ctx, b.Node(), transport.RPC); err == nil {
		t.Error("dialled a node of the fleet before")
	}
	next.Certify(t, b.Member)
	b.Recheck()
	works(t, s, a, b.Node())
}

func forget(t *testing.T, s *suite) {
	a, b := s.pair(t)
	c := dial(t, s, a, b.Node(), transport.RPC)
	a.Forget(b.Node())
	if err, took := ends(t, c); err == nil || took > time.Second {
		t.Errorf("stream to a forgotten node: %v in %v", err, took)
	}
	if _, err := a.Dial(s.ctx, b.Node(), transport.RPC); !errors.Is(err, transport.ErrUnknownNode) {
		t.Errorf("Dial: %v", err)
	}
}

func joinBetweenStrangers(t *testing.T, s *suite) {
	a, b := s.open(t, 1, s.Stranger(t)), s.open(t, 2, s.Stranger(t))
	type seen struct {
		peer transport.Peer
		key  []byte
	}
	met := make(chan seen, 1)
	serve(t, b, transport.Join, func(c transport.Conn) {
		key, _ := c.Channel("x")
		met <- seen{c.Peer(), key}
		echo(c) // until the dialer has said all
		say(t, c, "farewell")
	})
	c, err := a.DialAddr(s.ctx, s.Addr(2))
	if err != nil {
		t.Fatal(err)
	}
	there := <-met
	key, _ := c.Channel("x")
	if !bytes.Equal(key, there.key) || len(key) != 32 {
		t.Error("the channel's name differs between its ends")
	}
	for _, p := range []struct {
		got  transport.Peer
		want *node
	}{{c.Peer(), b}, {there.peer, a}} {
		if p.got.ID != p.want.Node() || p.got.Fleet != "" || !bytes.Equal(p.got.Key, p.want.PublicKey()) {
			t.Errorf("peer %s of fleet %q, want %s", p.got.ID, p.got.Fleet, p.want.Node())
		}
	}
	say(t, c, "hello")
	hear(t, c, "hello")
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	hear(t, c, "farewell") // said and closed at once: it must arrive
	_ = c.Close()
	if _, err := a.Dial(s.ctx, b.Node(), transport.RPC); err == nil {
		t.Error("a stranger dialled more than join")
	}
}

// joinClaimsProveNothing has a board claim to be another on Join: the other's
// connections must not suffer, nor its address be replaced.
func joinClaimsProveNothing(t *testing.T, s *suite) {
	a, b := s.pair(t)
	serve(t, b, transport.Join, echo)
	c := dial(t, s, a, b.Node(), transport.RPC)
	thief := s.open(t, 3, a.Member) // a copy of a card says the same as a claim
	j, err := thief.DialAddr(s.ctx, s.Addr(2))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	say(t, j, "I am a")
	hear(t, j, "I am a")
	say(t, c, "still here")
	hear(t, c, "still here")
	if got := b.Addrs(a.Node()); len(got) != 1 || got[0] != s.Addr(1) {
		t.Errorf("b reaches a at %v", got)
	}
}

// Package transporttest is the conformance suite of transport.Endpoint: what
// every implementation must do, on real sockets and on a LAN in memory within
// a testing/synctest bubble. It makes no credentials and opens no sockets; a
// Fixture does.
package transporttest

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// Fixture is what the suite runs on. It is made anew for each test.
type Fixture struct {
	// Open starts an endpoint on host n (1 to 9). Opened again after Crash or
	// Close it is the successor, at the same address.
	Open func(t *testing.T, n int, id transport.Identity, admit func(transport.Peer, transport.Protocol) error) transport.Endpoint
	// Addr is where the endpoint opened on host n is reached.
	Addr func(n int) netip.AddrPort
	// Crash takes host n off the network at once: nothing that its endpoint
	// still does is seen by anybody.
	Crash func(n int)
	// Move gives living host n another address, and answers it. Nil where that
	// can't be done; the tests of it are then not part of the suite.
	Move func(t *testing.T, n int) netip.AddrPort
	// Garbage sends a packet to host n from an address of its own.
	Garbage func(t *testing.T, n int, packet []byte)
	// Nowhere is an address that answers nothing.
	Nowhere netip.AddrPort

	NewFleet func(t *testing.T) Fleet
	// Stranger makes a board that belongs to no fleet.
	Stranger func(t *testing.T) Member
	// Idle is after how long of silence the endpoints take a peer for dead.
	Idle time.Duration
}

// Fleet makes members.
type Fleet interface {
	ID() api.FleetID
	Member(t *testing.T) Member
	// Certify gives a board a new certificate of this fleet for the key it has.
	Certify(t *testing.T, m Member)
}

// Member is a board's identity.
type Member interface {
	transport.Identity
	Node() api.NodeID
	PublicKey() []byte
}

// Run holds the implementation to the suite in real time.
func Run(t *testing.T, fixture func(t *testing.T) Fixture) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			run(t, fixture(t), c)
		})
	}
}

// RunInBubble holds it to the suite with each test in a synctest bubble of its
// own. The suite's own limits then are exact, and a goroutine left behind fails it.
func RunInBubble(t *testing.T, fixture func(t *testing.T) Fixture) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, fixture(t), c) })
		})
	}
}

func run(t *testing.T, f Fixture, c testCase) {
	if c.moves && f.Move == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c.run(t, &suite{Fixture: f, ctx: ctx, fleet: f.NewFleet(t)})
}

type testCase struct {
	name  string
	run   func(*testing.T, *suite)
	moves bool
}

var cases = []testCase{
	{name: "BothEndsKnowEachOther", run: bothEndsKnowEachOther},
	{name: "AcceptorMaySpeakFirst", run: acceptorMaySpeakFirst},
	{name: "UnknownNode", run: unknownNode},
	{name: "AddressesAreRankedAndBounded", run: addressesAreRankedAndBounded},
	{name: "AnotherNodeAtTheAddress", run: anotherNodeAtTheAddress},
	{name: "DeadAddressesAreSteppedOver", run: deadAddressesAreSteppedOver},
	{name: "AddressLearnedWhileDialling", run: addressLearnedWhileDialling},
	{name: "InboundPeersCanBeDialled", run: inboundPeersCanBeDialled},
	{name: "ForeignFleet", run: foreignFleet},
	{name: "LiarsAreRefused", run: liarsAreRefused},
	{name: "RemovedNode", run: removedNode},
	{name: "RemovedNodeIsNotDialled", run: removedNodeIsNotDialled},
	{name: "RotationKeepsConnections", run: rotationKeepsConnections},
	{name: "FleetChangeEndsConnections", run: fleetChangeEndsConnections},
	{name: "Forget", run: forget},
	{name: "JoinBetweenStrangers", run: joinBetweenStrangers},
	{name: "JoinClaimsProveNothing", run: joinClaimsProveNothing},
	{name: "UnreadStreamsGiveTheirCreditBack", run: unreadStreamsGiveTheirCreditBack},
	{name: "ManyStreamsAtOnce", run: manyStreamsAtOnce},
	{name: "HalfClose", run: halfClose},
	{name: "CloseDeliversWhatWasWritten", run: closeDeliversWhatWasWritten},
	{name: "CloseFreesReaderAndWriter", run: closeFreesReaderAndWriter},
	{name: "Deadlines", run: deadlines},
	{name: "ListenerClose", run: listenerClose},
	{name: "NobodyListens", run: nobodyListens},
	{name: "EndpointClose", run: endpointClose},
	{name: "CancelledDial", run: cancelledDial},
	{name: "GarbageDisturbsNobody", run: garbageDisturbsNobody},
	{name: "RestartIsNoticedByDialer", run: restartIsNoticedByDialer},
	{name: "RestartIsNoticedByAcceptor", run: restartIsNoticedByAcceptor},
	{name: "SilentDeathIsNoticed", run: silentDeathIsNoticed},
	{name: "IdleStreamsLiveOn", run: idleStreamsLiveOn},
	{name: "AddressChangeOfDialer", run: addressChangeOfDialer, moves: true},
	{name: "AddressChangeOfAcceptor", run: addressChangeOfAcceptor, moves: true},
}

// suite is a Fixture in one test.
type suite struct {
	Fixture
	ctx   context.Context
	fleet Fleet
}

// node is a host with an endpoint.
type node struct {
	Member
	transport.Endpoint
	n       int
	refuses atomic.Value // api.NodeID
}

func (s *suite) open(t *testing.T, n int, id Member) *node {
	t.Helper()
	host := &node{Member: id, n: n}
	host.refuses.Store(api.NodeID(""))
	host.Endpoint = s.Open(t, n, id, host.admit)
	t.Cleanup(func() { _ = host.Close() })
	return host
}

func (h *node) admit(p transport.Peer, _ transport.Protocol) error {
	if h.refuses.Load() == p.ID {
		return errRemoved
	}
	return nil
}

// pair opens a and b of one fleet; a knows where b is, and b echoes on RPC.
func (s *suite) pair(t *testing.T) (a, b *node) {
	t.Helper()
	a, b = s.open(t, 1, s.fleet.Member(t)), s.open(t, 2, s.fleet.Member(t))
	a.Learn(b.Node(), s.Addr(2))
	serve(t, b, transport.RPC, echo)
	return a, b
}

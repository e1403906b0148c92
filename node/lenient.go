package node

import (
	"crypto/tls"
	"errors"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
)

// lenient shows the board's credentials to the transport; it implements
// transport.Identity. It is less strict than their keeper in one thing: when a
// whole fleet has slept past the end of its certificates, there is no leader to
// renew them, and none can be elected as long as managers refuse each other. So
// while no leader is known, or this board's own certificate has run out, the
// end of another's does not count. Who it is still does, and whether it is a
// member: see trust.
type lenient struct{ b *Board }

// Certificate implements transport.Identity.
func (l lenient) Certificate() *tls.Certificate { return l.b.keeper.Certificate() }

// Verify implements transport.Identity.
func (l lenient) Verify(chain [][]byte) (api.NodeID, api.FleetID, error) {
	node, fleet, err := l.b.keeper.Verify(chain)
	if errors.Is(err, identity.ErrExpired) && l.b.leaderless() {
		return l.b.keeper.VerifyExpired(chain)
	}
	return node, fleet, err
}

// leaderless reports whether nobody could have renewed certificates.
func (b *Board) leaderless() bool {
	if b.expired() {
		return true
	}
	m := b.member.Load()
	if m == nil {
		return false
	}
	leader, _ := m.compass.Leader()
	return leader == ""
}

// expired reports whether this board's own certificate has run out.
func (b *Board) expired() bool { return !b.clock.Now().Before(b.keeper.Expires()) }

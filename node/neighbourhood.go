package node

import (
	"context"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// neighbourhood shows the fleet to the board's images; it implements
// Neighbourhood, in and out of memberships.
type neighbourhood struct{ b *Board }

// DialBlob implements Neighbourhood.
func (n neighbourhood) DialBlob(ctx context.Context, node api.NodeID) (transport.Conn, error) {
	return n.b.endpoint.Dial(ctx, node, transport.Blob)
}

// Neighbours implements Neighbourhood.
func (n neighbourhood) Neighbours() []api.NodeID {
	if m := n.b.member.Load(); m != nil {
		return m.neighbours()
	}
	return nil
}

// Platforms implements Neighbourhood.
func (n neighbourhood) Platforms() []api.Platform {
	out := []api.Platform{n.b.describe().Platform}
	m := n.b.member.Load()
	if m == nil {
		return out
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, peer := range m.peers {
		if peer.Platform != (api.Platform{}) && !slices.Contains(out, peer.Platform) {
			out = append(out, peer.Platform)
		}
	}
	return out
}

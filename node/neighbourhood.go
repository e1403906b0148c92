package node

import (
	"context"

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

// Platforms implements Neighbourhood: a manager knows those of all boards.
func (n neighbourhood) Platforms() []api.Platform {
	seen := map[api.Platform]bool{n.b.self.Platform: true}
	out := []api.Platform{n.b.self.Platform}
	m := n.b.member.Load()
	if m == nil {
		return out
	}
	sitting := m.seat.present.Load()
	if sitting == nil {
		return out
	}
	for node := range sitting.store.View().Nodes.All() {
		if p := node.Description.Platform; !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

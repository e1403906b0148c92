package node

import (
	"errors"
	"fmt"
	"sync"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// errNoMember is why a board that does not belong to the fleet is not let in.
var errNoMember = errors.New("this node is no member, or no longer one")

// trust decides which peers are let in, and for what. A certificate says who a
// peer is; whether it still belongs is what the fleet's state says.
type trust struct {
	self  api.NodeID
	fleet api.FleetID

	mu    sync.Mutex
	known map[api.NodeID]bool // members, from the assignment set
	state func(api.NodeID) (member, sure bool)
}

// Admit is the endpoint's question for each connection. RPC is also open to a
// member that this node has not heard of yet: it may have joined a moment ago,
// and each service looks for itself. One that was a member and is no more is
// let in nowhere.
func (t *trust) Admit(peer transport.Peer, p transport.Protocol) error {
	if p == transport.Join || peer.ID == t.self {
		return nil
	}
	if peer.Fleet != t.fleet {
		return fmt.Errorf("certificate is of fleet %q: %w", peer.Fleet, errNoMember)
	}
	member, heardOf := t.Knows(peer.ID)
	switch {
	case member:
		return nil
	case p == transport.RPC && !heardOf:
		return nil
	default:
		return errNoMember
	}
}

// Knows tells whether a node is a member, and whether it was ever heard of.
func (t *trust) Knows(id api.NodeID) (member, heardOf bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != nil {
		if member, sure := t.state(id); member || sure {
			return member, true
		}
	}
	member, heardOf = t.known[id]
	return member, heardOf
}

// Members takes in the present members by the assignment set. One that is
// missing and was there before is remembered as gone.
func (t *trust) Members(ids []api.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.known {
		t.known[id] = false
	}
	if t.known == nil {
		t.known = map[api.NodeID]bool{}
	}
	for _, id := range ids {
		t.known[id] = true
	}
}

// Consult lets a manager's copy of the state have the first word; nil ends that.
func (t *trust) Consult(state func(api.NodeID) (member, sure bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = state
}

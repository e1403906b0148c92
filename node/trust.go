package node

import (
	"errors"
	"fmt"
	"sync"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// errNoMember is why a board that does not belong to the fleet is not let in.
var errNoMember = errors.New("this node is no member, or no longer one")

// errNoManager is why a member does not get to the log.
var errNoManager = errors.New("this node is no manager")

// trust decides which peers are let in, and for what. A certificate says who a
// peer is; whether it still belongs is what the fleet's state says.
type trust struct {
	self  api.NodeID
	fleet api.FleetID

	mu    sync.Mutex
	known map[api.NodeID]rank // from the assignment set
	state func(api.NodeID) (rank, bool)
}

// rank is what a node is to the fleet, as far as is known here.
type rank int

const (
	stranger rank = iota // never heard of
	gone                 // was a member, and is no more
	member
	governor // a member that takes part in the log
)

// Admit is the endpoint's question for each connection. RPC is also open to a
// member that this node has not heard of yet: it may have joined a moment ago,
// and each service looks for itself. The log is between managers: whoever else
// speaks its protocol could depose a leader. One that was a member and is no
// more is let in nowhere.
func (t *trust) Admit(peer transport.Peer, p transport.Protocol) error {
	if p == transport.Join || peer.ID == t.self {
		return nil
	}
	if peer.Fleet != t.fleet {
		return fmt.Errorf("certificate is of fleet %q: %w", peer.Fleet, errNoMember)
	}
	switch rank := t.rank(peer.ID); {
	case rank == stranger && p == transport.RPC:
		return nil
	case rank < member:
		return errNoMember
	case p == transport.Raft && rank < governor:
		return errNoManager
	default:
		return nil
	}
}

// Knows tells whether a node is a member, and whether it was ever heard of.
func (t *trust) Knows(id api.NodeID) (is, heardOf bool) {
	rank := t.rank(id)
	return rank >= member, rank != stranger
}

// Disowns tells whether what was said at a door is the fleet's word that this
// board is no member of it any more. Only one has a say that is known to take
// part in the log, by the word of a leader or by the log itself: a board that
// was removed, or stolen, still proves that it once belonged.
func (t *trust) Disowns(err error) bool {
	var said *admission.Disowned
	return errors.As(err, &said) && t.rank(said.By) == governor
}

func (t *trust) rank(id api.NodeID) rank {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.known[id]
	if t.state == nil {
		return out
	}
	said, sure := t.state(id)
	if sure {
		return said
	}
	return max(out, said)
}

// Members takes in the other members by the assignment set. One that is
// missing and was there before is remembered as gone.
func (t *trust) Members(peers []api.Peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[api.NodeID]rank{}
	}
	for id := range t.known {
		t.known[id] = gone
	}
	for _, p := range peers {
		t.known[p.ID] = member
		if p.Manager {
			t.known[p.ID] = governor
		}
	}
}

// Consult lets a manager's copy of the state have a word beside, and the last
// one where that is sure; nil ends that.
func (t *trust) Consult(state func(api.NodeID) (rank, bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = state
}

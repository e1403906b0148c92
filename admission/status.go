package admission

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
)

// Standing is what a node is and knows, as its Door needs it. It is asked for
// anew with every caller.
type Standing struct {
	// Veteran: was a member before and is none now.
	Veteran bool
	// Member: belongs to a fleet, whether it can reach it or not. The fields
	// below, to Managers, are a member's.
	Member bool
	// Manager: takes part in raft, and so may vouch for others.
	Manager bool
	// Ready: a manager that knows a leader, so that boards can be admitted now.
	Ready        bool
	Fleet        api.FleetID
	FoundedAt    time.Time
	FoundedBlind bool
	Touched      bool
	FoldedInto   api.FleetID
	// Managers and where they are reached, as last known.
	Managers []api.ManagerAddr
	// Folded are fleets that gave way while this board was a member of them.
	Folded []api.FleetID

	// Keys are the fleet keys that it can prove and check: the card's own, and
	// on a manager the fleet's.
	Keys []identity.FleetKey
	// Tokens are the fleet's join tokens; only managers have any.
	Tokens []RoleToken
}

// RoleToken is a join token and what it lets a board in as. A zero Expires never does.
type RoleToken struct {
	Token   identity.Token
	Role    api.NodeRole
	Expires time.Time
}

// Status is what a board says of itself to one that has proven itself.
type Status struct {
	Node       api.NodeID
	Veteran    bool        `json:",omitempty"`
	Member     bool        `json:",omitempty"`
	Manager    bool        `json:",omitempty"`
	Ready      bool        `json:",omitempty"`
	Fleet      api.FleetID `json:",omitempty"`
	FoundedAt  time.Time   `json:",omitzero"`
	Blind      bool        `json:",omitempty"` // api.Cluster.FoundedBlind
	Touched    bool        `json:",omitempty"`
	FoldedInto api.FleetID `json:",omitempty"`
	// Managers of its fleet, at most 8.
	Managers []api.ManagerAddr `json:",omitempty"`
	// Folded: fleets it was a member of that gave way, newest last, at most 16.
	Folded []api.FleetID `json:",omitempty"`
	// Knows are other boards of the same key that proved themselves to it, at
	// most 32: so boards that can't hear each other's multicast meet.
	Knows []Known `json:",omitempty"`
	// Yields answers a board that asks to found: this one will join it.
	Yields bool `json:",omitempty"`
}

// Known is a board and where it was reached.
type Known struct {
	Node  api.NodeID
	Addrs []netip.AddrPort
}

// Limits of lists in a Status: more is cut off by who sends and refused by who receives.
const (
	maxManagers = 8
	maxFolded   = 16
	maxKnown    = 32
	maxAddrs    = 8
)

// status is a standing as told to others.
func (s Standing) status(node api.NodeID) *Status {
	if !s.Member {
		return &Status{Node: node, Veteran: s.Veteran, Folded: newest(s.Folded, maxFolded)}
	}
	out := &Status{
		Node: node, Member: true, Manager: s.Manager, Ready: s.Manager && s.Ready,
		Fleet: s.Fleet, FoundedAt: s.FoundedAt, Blind: s.FoundedBlind, Touched: s.Touched, FoldedInto: s.FoldedInto,
		Folded: newest(s.Folded, maxFolded),
	}
	out.Managers = clipManagers(s.Managers)
	return out
}

func clipManagers(all []api.ManagerAddr) []api.ManagerAddr {
	out := make([]api.ManagerAddr, 0, min(len(all), maxManagers))
	for _, m := range all[:min(len(all), maxManagers)] {
		out = append(out, api.ManagerAddr{ID: m.ID, Addrs: m.Addrs[:min(len(m.Addrs), maxAddrs)]})
	}
	return out
}

func newest(all []api.FleetID, limit int) []api.FleetID {
	return slices.Clone(all[max(0, len(all)-limit):])
}

// valid reports whether a status that came over the wire keeps to its form.
func (s *Status) valid() bool {
	if !api.IsID(string(s.Node)) || s.Member != (s.Fleet != "") || (s.Fleet != "" && !api.IsID(string(s.Fleet))) {
		return false
	}
	return len(s.Folded) <= maxFolded && len(s.Knows) <= maxKnown && validManagers(s.Managers) &&
		!slices.ContainsFunc(s.Knows, func(k Known) bool { return !api.IsID(string(k.Node)) || len(k.Addrs) > maxAddrs })
}

func validManagers(all []api.ManagerAddr) bool {
	return len(all) <= maxManagers &&
		!slices.ContainsFunc(all, func(m api.ManagerAddr) bool { return !api.IsID(string(m.ID)) || len(m.Addrs) > maxAddrs })
}

// compareFleets orders fleets of one key: the one that others give way to
// first. One that a user has written to comes before one that nobody has; then
// one whose founder had a clock; then the older; then the smaller ID. Only
// Touched ever changes, and only to true.
func compareFleets(a, b Status) int {
	return cmp.Or(-cmp.Compare(bit(a.Touched), bit(b.Touched)), cmp.Compare(bit(a.Blind), bit(b.Blind)), a.FoundedAt.Compare(b.FoundedAt), cmp.Compare(a.Fleet, b.Fleet))
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// newTrust is board a's of fleet f, told by a leader that b governs, c is a
// member, and d was one.
func newTrust() *trust {
	t := &trust{self: "a", fleet: "f"}
	t.Members([]api.Peer{{ID: "b", Manager: true}, {ID: "c"}, {ID: "d", Manager: true}})
	t.Members([]api.Peer{{ID: "b", Manager: true}, {ID: "c"}})
	return t
}

func TestWhoIsLetInAndForWhat(t *testing.T) {
	const all, none = "join rpc blob raft", "join"
	for _, c := range []struct {
		peer  transport.Peer
		state func(api.NodeID) (rank, bool)
		want  string
	}{
		{peer: transport.Peer{ID: "a"}, want: all}, // itself, also without a certificate
		{peer: transport.Peer{ID: "b", Fleet: "f"}, want: all},
		{peer: transport.Peer{ID: "b", Fleet: "g"}, want: none}, // known, but another's certificate
		{peer: transport.Peer{ID: "c", Fleet: "f"}, want: "join rpc blob"},
		{peer: transport.Peer{ID: "d", Fleet: "f"}, want: none},
		{peer: transport.Peer{ID: "e", Fleet: "f"}, want: "join rpc"}, // it may have come a moment ago
		// A follower's copy of the state may be behind: what it knows beside counts,
		// and what it lacks does not.
		{peer: transport.Peer{ID: "c", Fleet: "f"}, state: says(governor, false), want: all},
		{peer: transport.Peer{ID: "b", Fleet: "f"}, state: says(stranger, false), want: all},
		{peer: transport.Peer{ID: "e", Fleet: "f"}, state: says(member, false), want: "join rpc blob"},
		// The leader's word is the last.
		{peer: transport.Peer{ID: "b", Fleet: "f"}, state: says(gone, true), want: none},
		{peer: transport.Peer{ID: "b", Fleet: "f"}, state: says(member, true), want: "join rpc blob"},
		{peer: transport.Peer{ID: "d", Fleet: "f"}, state: says(member, true), want: "join rpc blob"},
		{peer: transport.Peer{ID: "e", Fleet: "f"}, state: says(gone, true), want: none},
	} {
		trust := newTrust()
		trust.Consult(c.state)
		got := ""
		for _, p := range []struct {
			name string
			is   transport.Protocol
		}{{"join", transport.Join}, {"rpc", transport.RPC}, {"blob", transport.Blob}, {"raft", transport.Raft}} {
			if trust.Admit(c.peer, p.is) == nil {
				got += " " + p.name
			}
		}
		if got != " "+c.want {
			said := "nothing"
			if c.state != nil {
				r, sure := c.state(c.peer.ID)
				said = fmt.Sprintf("%d, sure %v", r, sure)
			}
			t.Errorf("%+v, of whom the state says %s, is let in for%s; want %s", c.peer, said, got, c.want)
		}
	}
}

func says(r rank, sure bool) func(api.NodeID) (rank, bool) {
	return func(api.NodeID) (rank, bool) { return r, sure }
}

func TestAMembershipThatEndsIsRemembered(t *testing.T) {
	trust := newTrust()
	for _, c := range []struct {
		id          api.NodeID
		is, heardOf bool
	}{{"b", true, true}, {"c", true, true}, {"d", false, true}, {"e", false, false}} {
		if is, heardOf := trust.Knows(c.id); is != c.is || heardOf != c.heardOf {
			t.Errorf("%s: member %v, heard of %v", c.id, is, heardOf)
		}
	}
	trust.Members([]api.Peer{{ID: "d"}})
	if is, _ := trust.Knows("d"); !is {
		t.Error("d was taken in again and is no member")
	}
	if is, heardOf := trust.Knows("b"); is || !heardOf {
		t.Error("b is still a member, or was never heard of")
	}
}

// Whoever holds an old certificate of the fleet can answer at a door that a
// board was removed. Only those that govern now are believed.
func TestARemovedBoardsWordCountsForNothing(t *testing.T) {
	trust := newTrust()
	said := func(by api.NodeID) error {
		return fmt.Errorf("ask at the door: %w", &admission.Disowned{By: by, Err: errors.New("removed")})
	}
	if !trust.Disowns(said("b")) {
		t.Error("a manager is not believed")
	}
	for _, by := range []api.NodeID{"c", "d", "e", ""} {
		if trust.Disowns(said(by)) {
			t.Errorf("%q, which does not govern, is believed", by)
		}
	}
	if trust.Disowns(nil) || trust.Disowns(errors.New("no answer")) {
		t.Error("no word is taken for a no")
	}
	trust.Consult(says(governor, false))
	if !trust.Disowns(said("e")) {
		t.Error("a manager that the log knows is not believed")
	}
	trust.Consult(says(gone, true))
	if trust.Disowns(said("b")) {
		t.Error("who was removed from the log is believed")
	}
}

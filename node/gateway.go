package node

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
	"github.com/edgeswarm/edgeswarm/transport/rpc"
)

// forwardedKey marks a call that another node has passed on: it is not passed
// on again, so that two nodes with stale compasses can't play ball with it.
const forwardedKey = "edge-forwarded"

// routeControl sends a Control call where it is decided: to this node's own
// term if it leads, else one hop to the leader. It is given up when the leader
// changes, not when the network notices.
func (m *membership) routeControl(ctx context.Context, _ string) (api.Target, error) {
	if err := m.mayCall(ctx); err != nil {
		return api.Target{}, err
	}
	if term := m.seat.term.Load(); term != nil {
		return api.Target{Ctx: ctx, Done: func() {}, Local: term.Control()}, nil
	}
	if md, _ := metadata.FromIncomingContext(ctx); len(md.Get(forwardedKey)) > 0 {
		return api.Target{}, m.notLeader(ctx)
	}
	leader, err := m.findLeader(ctx)
	if err != nil {
		return api.Target{}, err
	}
	conn, err := m.conn(leader)
	if err != nil {
		return api.Target{}, err
	}
	ctx, done := m.compass.While(ctx, leader)
	slow := time.AfterFunc(forwardPatience, func() { m.doubt(ctx, leader) })
	return api.Target{
		Ctx: metadata.AppendToOutgoingContext(ctx, forwardedKey, "1"), Conn: conn,
		Done: func() { slow.Stop(); done() },
	}, nil
}

// forwardPatience is how long a leader may take over a call before the
// managers are asked whether another leads.
const forwardPatience = 500 * time.Millisecond

// mayCall refuses whoever is no member. The leader knows them all; another
// node may not have heard of one that was admitted a moment ago, and sends it
// on without a word to whom.
func (m *membership) mayCall(ctx context.Context) error {
	peer, remote := rpc.PeerOf(ctx)
	if !remote || peer.ID == m.self {
		return nil
	}
	member, heardOf := m.trust.Knows(peer.ID)
	switch {
	case member:
		return nil
	case !heardOf && m.seat.term.Load() == nil:
		return m.notLeader(ctx)
	default:
		return api.Errorf(api.Denied, "", "node %s is no member of this fleet", peer.ID)
	}
}

// routeDispatch answers Dispatch in this node's own term, and refuses it
// otherwise: agents are told who leads and go there themselves.
func (m *membership) routeDispatch(ctx context.Context, _ string) (api.Target, error) {
	if term := m.seat.term.Load(); term != nil {
		return api.Target{Ctx: ctx, Done: func() {}, Local: term.Dispatch()}, nil
	}
	return api.Target{}, m.notLeader(ctx)
}

// notLeader sends a caller on; who is not known to be a member does not hear
// where to.
func (m *membership) notLeader(ctx context.Context) error {
	leader, _ := m.compass.Leader()
	err := api.Errorf(api.NotLeader, "", "another node leads")
	if peer, remote := rpc.PeerOf(ctx); remote && peer.ID != m.self {
		if member, _ := m.trust.Knows(peer.ID); !member {
			return err
		}
	}
	if leader == "" {
		err = api.Errorf(api.NotLeader, "", "no leader is known now")
	}
	err.Leader = leader
	return err
}

// control is a client of the leader's Control, for this node's own needs.
func (m *membership) control(ctx context.Context) (*api.ControlClient, error) {
	leader, err := m.findLeader(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := m.conn(leader)
	if err != nil {
		return nil, err
	}
	return api.NewControlClient(conn), nil
}

// boardOf is a client of another member's Board.
func (m *membership) boardOf(id api.NodeID) (*api.BoardClient, error) {
	conn, err := m.conn(id)
	if err != nil {
		return nil, err
	}
	return api.NewBoardClient(conn), nil
}

// conn is the one connection for calls to a member, this node included. It is
// made lazily and mends itself.
func (m *membership) conn(id api.NodeID) (*grpc.ClientConn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.conns[id]; ok {
		return c, nil
	}
	c, err := rpc.Dial(members{m.board.endpoint, m}, id)
	if err != nil {
		return nil, err
	}
	m.conns[id] = c
	return c, nil
}

// hangUp closes the connections for calls.
func (m *membership) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		_ = c.Close() // it only releases
	}
	clear(m.conns)
}

// members reaches other members by the endpoint, and this node itself by a
// short way.
type members struct {
	transport.Endpoint
	m *membership
}

// Dial opens a stream to a member.
func (d members) Dial(ctx context.Context, node api.NodeID, p transport.Protocol) (transport.Conn, error) {
	if node == d.m.self {
		return d.m.loop.Dial(ctx)
	}
	conn, err := d.Endpoint.Dial(ctx, node, p)
	if errors.Is(err, transport.ErrRefused) {
		d.m.doubts.turnedAway()
	}
	return conn, err
}

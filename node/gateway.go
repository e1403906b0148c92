package node

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport/rpc"
)

// forwardedKey marks a call that another node has passed on: it is not passed
// on again, so that two nodes with stale compasses can't play ball with it.
const forwardedKey = "edge-forwarded"

// routeControl sends a Control call where it is decided: to this node's own
// term if it leads, else one hop to the leader. It is given up when the leader
// changes, not when the network notices.
func (m *membership) routeControl(ctx context.Context, _ string) (api.Target, error) {
	if term := m.seat.term.Load(); term != nil {
		return api.Target{Ctx: ctx, Done: func() {}, Local: term.Control()}, nil
	}
	if peer, remote := rpc.PeerOf(ctx); remote {
		if member, _ := m.trust.Knows(peer.ID); !member && peer.ID != m.self {
			return api.Target{}, api.Errorf(api.Denied, "", "node %s is no member of this fleet", peer.ID)
		}
	}
	if md, _ := metadata.FromIncomingContext(ctx); len(md.Get(forwardedKey)) > 0 {
		return api.Target{}, m.notLeader()
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
	return api.Target{Ctx: metadata.AppendToOutgoingContext(ctx, forwardedKey, "1"), Done: done, Conn: conn}, nil
}

// routeDispatch answers Dispatch in this node's own term, and refuses it
// otherwise: agents are told who leads and go there themselves.
func (m *membership) routeDispatch(ctx context.Context, _ string) (api.Target, error) {
	if term := m.seat.term.Load(); term != nil {
		return api.Target{Ctx: ctx, Done: func() {}, Local: term.Dispatch()}, nil
	}
	return api.Target{}, m.notLeader()
}

func (m *membership) notLeader() error {
	leader, _ := m.compass.Leader()
	err := api.Errorf(api.NotLeader, "", "another node leads")
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

// board is a client of another member's Board.
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
	c, err := rpc.Dial(members{m.board.endpoint, m.self, m.loop}, id)
	if err != nil {
		return nil, err
	}
	m.conns[id] = c
	return c, nil
}

// findLeader is who leads: known by a manager's own share of the log, by other
// nodes from asking the managers.
func (m *membership) findLeader(ctx context.Context) (api.NodeID, error) {
	if leader, _ := m.compass.Leader(); leader != "" {
		return leader, nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	if m.seat.present.Load() == nil {
		m.askAround(ctx)
	}
	leader, err := m.compass.Await(ctx)
	if err != nil {
		return "", api.Errorf(api.Unavailable, "", "no leader is known: %s", m.whyNoLeader())
	}
	return leader, nil
}

// askAround asks every manager at once who leads, and takes the first answer.
func (m *membership) askAround(ctx context.Context) {
	for _, peer := range m.managers() {
		go func() {
			client, err := m.boardOf(peer.ID)
			if err != nil {
				return
			}
			if hint, err := client.WhoLeads(ctx); err == nil && hint.Leader != "" && ctx.Err() == nil {
				m.compass.Point(hint.Leader)
			}
		}()
	}
}

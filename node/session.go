package node

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

// patience is how long a leader may be silent before the managers are asked
// whether another leads; afterwards it is two of its heartbeats.
const patience = 2 * time.Second

// Open implements agent.Sessions: a session with whoever leads, which is given
// up as soon as another does.
func (m *membership) Open(ctx context.Context) (grpc.BidiStreamingClient[api.Report, api.Assignment], error) {
	leader, err := m.findLeader(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := m.conn(leader)
	if err != nil {
		return nil, err
	}
	ctx, done := m.compass.While(ctx, leader)
	stream, err := api.NewDispatchClient(conn).Session(ctx)
	if err != nil {
		done()
		m.sessionEnded(ctx, leader, err)
		return nil, err
	}
	return &session{BidiStreamingClient: stream, m: m, ctx: ctx, leader: leader, done: done, patience: patience}, nil
}

// session watches how a session goes and ends: a node that takes no part in
// the log learns from that alone that the leader is gone, or who leads instead.
type session struct {
	grpc.BidiStreamingClient[api.Report, api.Assignment]
	m        *membership
	ctx      context.Context // the stream's
	leader   api.NodeID
	done     func()
	patience time.Duration
}

// Recv implements grpc.BidiStreamingClient, for one goroutine.
func (s *session) Recv() (*api.Assignment, error) {
	silent := time.AfterFunc(s.patience, func() { s.m.doubt(s.ctx, s.leader) })
	a, err := s.BidiStreamingClient.Recv()
	silent.Stop()
	if err != nil {
		s.m.sessionEnded(s.ctx, s.leader, err)
		s.done()
		return nil, err
	}
	s.m.doubts.settle()
	if a.HeartbeatPeriod > 0 {
		s.patience = 2 * a.HeartbeatPeriod
	}
	return a, nil
}

// sessionEnded draws conclusions from how a session ended. If the agent ended
// it, it was because the leader has fallen silent.
func (m *membership) sessionEnded(ctx context.Context, leader api.NodeID, err error) {
	if errors.Is(context.Cause(ctx), errLeaderChanged) {
		return
	}
	switch api.KindOf(err) {
	case api.NotLeader:
		m.lost(leader)
		var e *api.Error
		if errors.As(err, &e) && e.Leader != "" && e.Leader != leader && !m.seated() {
			m.compass.Point(e.Leader)
		}
	case api.Denied:
		m.disowned()
	case api.Conflict, api.Invalid:
		// It leads, and has its reasons.
	default:
		m.lost(leader)
	}
}

package managertest

import (
	"context"
	"io"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

// Session is the agent's end of a session over channels: what is sent and not
// read blocks the leader, as it would over a network.
type Session struct {
	grpc.ServerStream // of the leader's end; only Context is used
	ctx               context.Context
	cancel            context.CancelFunc
	up                chan *api.Report
	down              chan *api.Assignment
	ended             chan struct{}
	err               error
}

// Open opens a node's session at its leader. It ends with ctx.
func Open(ctx context.Context, leader api.DispatchServer, id api.NodeID) *Session {
	ctx, cancel := context.WithCancel(As(ctx, id))
	s := &Session{ctx: ctx, cancel: cancel, up: make(chan *api.Report), down: make(chan *api.Assignment), ended: make(chan struct{})}
	go func() {
		s.err = leader.Session(leaderEnd{s})
		cancel()
		close(s.ended)
	}()
	return s
}

// Report sends a report; false if the session has ended.
func (s *Session) Report(r *api.Report) bool {
	select {
	case s.up <- r:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// Assignments receives what the leader sends.
func (s *Session) Assignments() <-chan *api.Assignment { return s.down }

// Ended is closed once the leader's end has returned, with Err.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Err is how the session ended.
func (s *Session) Err() error { return s.err }

// Close breaks the session.
func (s *Session) Close() { s.cancel() }

// leaderEnd implements grpc.BidiStreamingServer.
type leaderEnd struct{ *Session }

func (e leaderEnd) Context() context.Context { return e.ctx }

func (e leaderEnd) Recv() (*api.Report, error) {
	select {
	case r := <-e.up:
		return r, nil
	case <-e.ctx.Done():
		return nil, io.EOF
	}
}

func (e leaderEnd) Send(a *api.Assignment) error {
	select {
	case e.down <- a:
		return nil
	case <-e.ctx.Done():
		return e.ctx.Err()
	}
}

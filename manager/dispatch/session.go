package dispatch

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/term"
)

const (
	// settle gathers changes that come in a burst into one message.
	settle = 20 * time.Millisecond
	// helloWithin is how long a caller may hold a session open without a word.
	helloWithin = 10 * time.Second
)

// session is a node's present stream. What is sent is always the difference
// between the latest view and what was sent last, so a slow agent costs the
// leader nothing but one set of digests.
type session struct {
	node    api.NodeID
	version string // of the agent
	parts   bool   // it takes an assignment in several messages
	wake    chan struct{}
	beat    chan struct{}
	// replaced is closed when the node has opened a newer session.
	replaced chan struct{}

	sent set
	at   api.SetID
}

// Session implements api.DispatchServer.
func (s *Server) Session(stream grpc.BidiStreamingServer[api.Report, api.Assignment]) error {
	ctx, leave, err := s.gate.Enter(stream.Context())
	if err != nil {
		return err
	}
	defer leave()
	// Sending to an agent that does not read ends only with the stream, and
	// the stream with this handler: so the handler itself must not wait on it.
	done := make(chan error, 1)
	go func() { done <- s.session(ctx, stream) }()
	select {
	case err := <-done:
		return term.Over(ctx, err)
	case <-ctx.Done():
		return term.Over(ctx, ctx.Err())
	}
}

func (s *Server) session(ctx context.Context, stream grpc.BidiStreamingServer[api.Report, api.Assignment]) error {
	node, err := s.member(ctx, "open session")
	if err != nil {
		return err
	}
	sess := &session{
		node: node.ID, wake: make(chan struct{}, 1), beat: make(chan struct{}, 1), replaced: make(chan struct{}),
	}
	hello, received := make(chan *api.Hello, 1), make(chan error, 1)
	// It ends with the stream, which ends when this handler returns.
	go func() { received <- s.receive(ctx, stream, sess, hello) }()

	timeout := time.NewTimer(helloWithin)
	defer timeout.Stop()
	select {
	case h := <-hello:
		s.enlist(sess)
		defer s.discharge(sess)
		first, err := s.greet(sess, h)
		if err != nil {
			return err
		}
		if err := sess.send(stream, first); err != nil {
			return err
		}
	case err := <-received:
		return ended(err)
	case <-timeout.C:
		return api.Errorf(api.Invalid, "open session", "no hello within %v", helloWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.serve(ctx, stream, sess, received)
}

// receive takes in what the agent reports, whether or not it reads what it is sent.
func (s *Server) receive(ctx context.Context, stream grpc.BidiStreamingServer[api.Report, api.Assignment], sess *session, hello chan<- *api.Hello) error {
	for first := true; ; first = false {
		report, err := stream.Recv()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if first != (report.Hello != nil) {
			return api.Errorf(api.Invalid, "report", "a session begins with hello, and has only one")
		}
		if first {
			s.watch.greet(sess.node, report.Hello, s.now())
		}
		news := s.watch.hear(s.cfg.Store.View(), sess.node, report, s.now())
		if first {
			hello <- report.Hello
		}
		if news {
			s.rebalance(s.cfg.Store.View(), report.Tasks)
		}
		if first || news {
			s.news.Ring()
		}
		if !first {
			ring(sess.beat)
		}
	}
}

// ended is how a session ends whose agent is gone: closing it is no error.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// enlist makes sess the node's only session.
func (s *Server) enlist(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.sessions[sess.node]; old != nil {
		close(old.replaced)
	}
	s.sessions[sess.node] = sess
}

func (s *Server) discharge(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[sess.node] == sess {
		delete(s.sessions, sess.node)
	}
}

// serve answers heartbeats with leases and changes with what changed.
func (s *Server) serve(ctx context.Context, stream grpc.BidiStreamingServer[api.Report, api.Assignment], sess *session, received <-chan error) error {
	for {
		var next *api.Assignment
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-received:
			return ended(err)
		case <-sess.replaced:
			return api.Errorf(api.Conflict, "session", "node %s has opened a newer session", sess.node)
		case <-sess.beat:
			next = s.lease(sess)
		case <-sess.wake:
			timer := time.NewTimer(settle)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
			var err error
			if next, err = s.advance(sess); err != nil {
				return err
			}
		}
		if next == nil {
			continue
		}
		if err := sess.send(stream, next); err != nil {
			return err
		}
	}
}

// send sends an assignment, in as many messages as it takes.
func (sess *session) send(stream grpc.BidiStreamingServer[api.Report, api.Assignment], whole *api.Assignment) error {
	if !sess.parts {
		return stream.Send(whole)
	}
	set, gone := whole.Set, whole.Removed
	for {
		part := *whole
		part.Set, set = api.Split(set)
		part.Removed, gone = api.Split(gone)
		part.More = len(set)+len(gone) > 0
		if err := stream.Send(&part); err != nil || !part.More {
			return err
		}
	}
}

// lease is an assignment that changes nothing.
func (s *Server) lease(sess *session) *api.Assignment {
	v := s.cfg.Store.View()
	period := HeartbeatPeriod(v.Cluster())
	return &api.Assignment{
		Previous: sess.at, Next: sess.at,
		Lease: leaseOf(period), HeartbeatPeriod: period, Time: later(s.cfg.Clock(), v.Time),
	}
}

// greet is the first assignment of a session: nothing if the agent holds the
// set as it is, from whomever it has it; else all of it.
func (s *Server) greet(sess *session, hello *api.Hello) (*api.Assignment, error) {
	sess.version, sess.parts = hello.Description.Engine.EngineVersion, hello.Parts
	next, at, err := s.compose(sess)
	if err != nil {
		return nil, err
	}
	sess.sent, sess.at = next, at
	first := s.lease(sess)
	if hello.Have != at {
		first.Full, first.Previous = true, hello.Have
		first.Set, _ = next.since(nil)
	}
	return first, nil
}

// advance is what changed since the last assignment; nil if nothing did.
func (s *Server) advance(sess *session) (*api.Assignment, error) {
	next, at, err := s.compose(sess)
	if err != nil {
		return nil, err
	}
	changed, gone := next.since(sess.sent)
	previous := sess.at
	sess.sent, sess.at = next, at
	if at == previous {
		return nil, nil
	}
	a := s.lease(sess)
	a.Previous, a.Set, a.Removed = previous, changed, gone
	return a, nil
}

func (s *Server) compose(sess *session) (set, api.SetID, error) {
	r := s.roster()
	node := r.view.Node(sess.node)
	if node == nil {
		return nil, api.SetID{}, removed("session", sess.node)
	}
	next := r.compose(node, sess.sent)
	var epoch uint64
	if c := r.view.Cluster(); c != nil {
		epoch = c.Epoch
	}
	return next, next.id(epoch, sess.version), nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

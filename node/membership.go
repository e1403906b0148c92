package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
	"github.com/edgeswarm/edgeswarm/transport/rpc"
)

// leaderWait is how long a call waits for a leader to be known.
const leaderWait = 3 * time.Second

// How a membership ends before its board does.
var (
	errLeft   = errors.New("this board has left its fleet")
	errFolded = errors.New("this fleet has given way to another")
)

// membership is a board's life in one fleet.
type membership struct {
	board  *board
	self   api.NodeID
	fleet  api.FleetID
	logger *slog.Logger

	trust   *trust
	compass *compass
	loop    *loop
	seat    *seat
	agent   *agent.Agent
	rivals  rivals
	end     chan error // 1 slot: why the membership ends

	mu    sync.Mutex
	info  api.FleetInfo
	peers map[api.NodeID]api.Peer
	conns map[api.NodeID]*grpc.ClientConn
}

// newMembership puts the parts together; known are members told of at joining.
func newMembership(b *board, known []api.Peer) (*membership, error) {
	m := &membership{
		board: b, self: b.keeper.Node(), fleet: b.keeper.Fleet(), logger: b.cfg.Logger,
		compass: newCompass(), end: make(chan error, 1), peers: map[api.NodeID]api.Peer{}, conns: map[api.NodeID]*grpc.ClientConn{},
	}
	m.trust = &trust{self: m.self, fleet: m.fleet}
	m.loop = newLoop(transport.Peer{ID: m.self, Fleet: m.fleet, Key: b.keeper.PublicKey()})
	m.seat = &seat{
		self: m.self, dir: b.dir, endpoint: b.endpoint, compass: m.compass, trust: m.trust, clock: b.clock,
		images: replicator{m}, folder: m.folder, caller: callerOf, logger: m.logger, wanted: make(chan bool, 1),
	}
	m.meet(known)
	var err error
	m.agent, err = agent.New(agent.Config{
		Node: m.self, Dir: b.dir.room("agent"), VolumesDir: b.dir.room("volumes"), CgroupParent: b.cfg.CgroupParent,
		Driver: b.driver, Images: b.images, Network: b.network, Logs: b.logs, Sessions: m,
		Describe: b.describe, Addrs: b.addrs, Changed: b.readdressed, Now: b.clock.Now,
		OnSet: m.onSet, OnTime: b.clock.Learn, Logger: m.logger.With("room", "agent"),
	})
	return m, err
}

// Run lives the membership until ctx ends, or until errLeft, errFolded or
// errRemoved says why it is over.
func (m *membership) Run(ctx context.Context) error {
	b := m.board
	listener, err := b.endpoint.Listen(transport.RPC)
	if err != nil {
		return fmt.Errorf("serve members: %w", err)
	}
	blobs, err := b.endpoint.Listen(transport.Blob)
	if err != nil {
		return errors.Join(fmt.Errorf("serve images: %w", err), listener.Close())
	}
	server := rpc.NewServer()
	server.RegisterService(ptr(api.RelayDesc(api.ControlDesc, m.routeControl)), nil)
	server.RegisterService(ptr(api.RelayDesc(api.DispatchDesc, m.routeDispatch)), nil)
	server.RegisterService(&api.BoardDesc, boardServer{b})
	b.serving(m)
	defer b.serving(nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return rpc.Serve(ctx, server, rpc.Streams(listener), rpc.Streams(m.loop)) })
	g.Go(func() error { return b.images.Serve(ctx, blobs) })
	g.Go(func() error { return m.seat.Run(ctx) })
	g.Go(func() error { return m.agent.Run(ctx) })
	g.Go(func() error { return m.renew(ctx) })
	g.Go(func() error {
		select {
		case err := <-m.end:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	err = g.Wait()
	m.hangUp()
	return err
}

// finish ends the membership for a reason; the first one counts.
func (m *membership) finish(reason error) {
	select {
	case m.end <- reason:
	default:
	}
}

// onSet takes in what the assignment set says of the fleet and its members.
func (m *membership) onSet(info api.FleetInfo, peers []api.Peer) {
	if info.ID == "" {
		return // nothing was ever assigned
	}
	m.mu.Lock()
	live := m.info.ID != ""
	m.info = info
	m.mu.Unlock()
	m.meet(peers)
	ids := make([]api.NodeID, 0, len(peers)+1)
	for _, p := range peers {
		ids = append(ids, p.ID)
	}
	m.trust.Members(append(ids, m.self))
	m.board.endpoint.Recheck()
	// What an earlier run stored may be older than the log: only a leader's own
	// word takes the seat away.
	if info.Voter || live {
		m.seat.Want(info.Voter)
	}
	m.board.announce()
	if info.FoldedInto != "" {
		m.finish(errFolded)
	}
}

// meet takes in other members and where they are reached.
func (m *membership) meet(peers []api.Peer) {
	m.mu.Lock()
	gone := m.peers
	m.peers = make(map[api.NodeID]api.Peer, len(peers))
	for _, p := range peers {
		m.peers[p.ID] = p
		delete(gone, p.ID)
	}
	m.mu.Unlock()
	for _, p := range peers {
		if p.ID != m.self {
			m.board.endpoint.Learn(p.ID, p.Addrs...)
		}
	}
	for id := range gone {
		m.board.endpoint.Forget(id)
	}
	if err := m.board.memory.Joined(m.fleet, managerAddrs(peers)); err != nil {
		m.logger.Warn("managers' addresses not noted", "err", err)
	}
}

// managers are the members known to take part in the log, without this node.
func (m *membership) managers() []api.Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []api.Peer
	for _, p := range m.peers {
		if p.Manager && p.ID != m.self {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b api.Peer) int { return compare(a.ID, b.ID) })
	return out
}

// neighbours are the other members, those that were met last first.
func (m *membership) neighbours() []api.NodeID {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]api.NodeID, 0, len(m.peers))
	for id := range m.peers {
		if id != m.self {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func (m *membership) fleetInfo() api.FleetInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.info
}

func (m *membership) nameOf(id api.NodeID) string {
	if id == m.self {
		return m.board.cfg.Name
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peers[id].Name
}

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
		m.lost(leader)
		return nil, err
	}
	return &session{stream, m, leader, done}, nil
}

// session watches how a session ends: a node that takes no part in the log
// learns from that alone that the leader is gone, or who leads instead.
type session struct {
	grpc.BidiStreamingClient[api.Report, api.Assignment]
	m      *membership
	leader api.NodeID
	done   func()
}

func (s *session) Recv() (*api.Assignment, error) {
	a, err := s.BidiStreamingClient.Recv()
	if err != nil {
		s.done()
		var e *api.Error
		if errors.As(err, &e) && e.Kind == api.NotLeader && e.Leader != "" && s.m.seat.present.Load() == nil {
			s.m.compass.Point(e.Leader)
		} else {
			s.m.lost(s.leader)
		}
		if api.KindOf(err) == api.Denied {
			s.m.finish(errRemoved)
		}
	}
	return a, err
}

// lost says that a leader did not answer. A manager's own log knows better.
func (m *membership) lost(leader api.NodeID) {
	if m.seat.present.Load() == nil {
		if now, _ := m.compass.Leader(); now == leader {
			m.compass.Point("")
		}
	}
}

// whyNoLeader puts in words what an operator should look at.
func (m *membership) whyNoLeader() string {
	managers := m.managers()
	if m.seat.present.Load() != nil {
		return fmt.Sprintf("too few of the fleet's managers answer this one; see that %d more boards run and are on this network", max(1, len(managers)/2))
	}
	return fmt.Sprintf("none of the %d managers that this board knows answers; see that they run and are on this network", len(managers))
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
	self api.NodeID
	loop *loop
}

func (d members) Dial(ctx context.Context, node api.NodeID, p transport.Protocol) (transport.Conn, error) {
	if node == d.self {
		return d.loop.Dial(ctx)
	}
	return d.Endpoint.Dial(ctx, node, p)
}

// callerOf is who calls, by the certificate of the connection.
func callerOf(ctx context.Context) (api.NodeID, bool) {
	peer, ok := rpc.PeerOf(ctx)
	return peer.ID, ok
}

func managerAddrs(peers []api.Peer) []api.ManagerAddr {
	var out []api.ManagerAddr
	for _, p := range peers {
		if p.Manager {
			out = append(out, api.ManagerAddr{ID: p.ID, Addrs: slices.Clone(p.Addrs)})
		}
	}
	slices.SortFunc(out, func(a, b api.ManagerAddr) int { return compare(a.ID, b.ID) })
	return out
}

func compare[T ~string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

func ptr[T any](v T) *T { return &v }

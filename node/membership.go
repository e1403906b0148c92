package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
	"github.com/edgeswarm/edgeswarm/transport/rpc"
)

// agentRoom is the agent's folder in the state directory.
const agentRoom = "agent"

// How a membership ends before its board does.
var (
	errLeft    = errors.New("this board has left its fleet")
	errFolded  = errors.New("this fleet has given way to another")
	errRemoved = errors.New("this board was removed from its fleet")
)

// membership is a board's life in one fleet.
type membership struct {
	board  *Board
	self   api.NodeID
	fleet  api.FleetID
	logger *slog.Logger

	listener, blobs transport.Listener

	trust   *trust
	compass *compass
	loop    *loop
	seat    *seat
	agent   *agent.Agent
	rivals  rivals
	doubts  doubts
	leaving atomic.Bool   // the operator has asked for it
	end     chan error    // 1 slot: why the membership ends
	ended   chan struct{} // closed once it has
	gone    chan struct{} // closed once the board has forgotten it too
	expiry  chan struct{} // 1 slot: the fleet wants certificates of another life

	mu    sync.Mutex
	info  api.FleetInfo
	peers map[api.NodeID]api.Peer
	conns map[api.NodeID]*grpc.ClientConn
}

// newMembership puts the parts together; known are members told of at joining.
// Run must follow.
func newMembership(b *Board, known []api.Peer) (m *membership, err error) {
	m = &membership{
		board: b, self: b.keeper.Node(), fleet: b.keeper.Fleet(), logger: b.cfg.Logger,
		compass: newCompass(), doubts: newDoubts(), end: make(chan error, 1), ended: make(chan struct{}), gone: make(chan struct{}), expiry: make(chan struct{}, 1),
		peers: map[api.NodeID]api.Peer{}, conns: map[api.NodeID]*grpc.ClientConn{},
	}
	if m.listener, err = b.endpoint.Listen(transport.RPC); err != nil {
		return nil, fmt.Errorf("serve members: %w", err)
	}
	if m.blobs, err = b.endpoint.Listen(transport.Blob); err != nil {
		return nil, errors.Join(fmt.Errorf("serve images: %w", err), m.listener.Close())
	}
	m.trust = &trust{self: m.self, fleet: m.fleet}
	m.loop = newLoop(transport.Peer{ID: m.self, Fleet: m.fleet, Key: b.keeper.PublicKey()})
	seal, err := b.keeper.Sealer()
	if err != nil {
		return nil, errors.Join(err, m.listener.Close(), m.blobs.Close())
	}
	m.seat = &seat{
		self: m.self, dir: b.dir, endpoint: b.endpoint, compass: m.compass, trust: m.trust, clock: b.clock, seal: seal,
		images: replicator{m}, folder: m.folder, caller: callerOf, wake: b.wake, logger: m.logger, wanted: make(chan bool, 1),
	}
	m.agent, err = agent.New(agent.Config{
		Node: m.self, Dir: b.dir.room(agentRoom), VolumesDir: b.dir.room("volumes"), FilesDir: b.cfg.filesDir(), Seal: seal, CgroupParent: b.cfg.CgroupParent, Devices: b.devicesOf, BootID: b.cfg.BootID,
		Driver: b.parts.Driver, Images: b.images, Network: b.parts.Network, Logs: b.parts.Logs, Sessions: m,
		Describe: m.describe, Addrs: b.addrs, Changed: b.changed, Now: b.clock.Now,
		OnSet: m.onSet, OnTime: b.clock.Learn, Logger: m.logger.With("room", "agent"),
	})
	if err != nil {
		return nil, errors.Join(err, m.listener.Close(), m.blobs.Close())
	}
	if known == nil {
		known = remembered(b.memory.Read(), m.fleet)
	}
	m.meet(known)
	return m, nil
}

// Run lives the membership until ctx ends, or until errLeft, errFolded or
// errRemoved says why it is over.
func (m *membership) Run(ctx context.Context) error {
	b := m.board
	server := rpc.NewServer()
	server.RegisterService(ptr(api.RelayDesc(api.ControlDesc, m.routeControl)), nil)
	server.RegisterService(ptr(api.RelayDesc(api.VaultDesc, m.routeControl)), nil)
	server.RegisterService(ptr(api.RelayDesc(api.NetworkDesc, m.routeControl)), nil)
	server.RegisterService(ptr(api.RelayDesc(api.DispatchDesc, m.routeDispatch)), nil)
	server.RegisterService(&api.BoardDesc, boardServer{b})
	b.serving(m)
	defer b.serving(nil)
	defer close(m.ended)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return rpc.Serve(ctx, server, rpc.Streams(m.listener), rpc.Streams(m.loop)) })
	g.Go(func() error { return b.images.Serve(ctx, m.blobs) })
	g.Go(func() error { return m.seat.Run(ctx) })
	g.Go(func() error { return m.agent.Run(ctx) })
	g.Go(func() error { return m.renew(ctx) })
	g.Go(func() error { return m.inquire(ctx) })
	g.Go(func() error {
		select {
		case err := <-m.end:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	err := g.Wait()
	m.hangUp()
	return err
}

// describe is the board's account of itself as a member.
func (m *membership) describe() api.NodeDescription {
	d := m.board.describe()
	if trouble := m.seat.Trouble(); trouble != "" { // of the two the one that the fleet suffers from
		d.Trouble = trouble
	}
	return d
}

// finish ends the membership for a reason; the first one counts. A board that
// was about to leave has not been removed.
func (m *membership) finish(reason error) {
	if m.leaving.Load() && reason == errRemoved {
		reason = errLeft
	}
	select {
	case m.end <- reason:
	default:
	}
}

// foldGrace is how long the leader of a fleet that has given way stays, so
// that the others hear of it from somebody.
const foldGrace = 2 * time.Second

// giveWay ends the membership because the fleet has given way.
func (m *membership) giveWay() {
	if m.seat.term.Load() == nil {
		m.finish(errFolded)
		return
	}
	time.AfterFunc(foldGrace, func() { m.finish(errFolded) })
}

// leaveFleet takes this board out of its fleet, by the leader's word, or by
// force without it.
func (b *Board) leaveFleet(ctx context.Context, req *api.LeaveRequest) error {
	m := b.member.Load()
	if m == nil {
		return errNoFleet("leave")
	}
	if !req.Force {
		if err := m.awaitDemotion(ctx); err != nil {
			return err
		}
	}
	m.leaving.Store(true)
	if err := m.depart(ctx, req.Force); err != nil && !req.Force {
		m.leaving.Store(false)
		return err
	}
	m.finish(errLeft)
	select {
	case <-m.gone: // the operator's next word may be join
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// demotionTimeout is how long leaving waits for a demotion to take effect:
// somebody else has to be made a manager first, and may have to catch up.
const demotionTimeout = 20 * time.Second

// awaitDemotion waits until a board that has just been demoted has given up its
// seat. It refuses for a board that is to be a manager.
func (m *membership) awaitDemotion(ctx context.Context) error {
	if m.seat.present.Load() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, demotionTimeout)
	defer cancel()
	for demoted := false; m.seat.present.Load() != nil; {
		if !demoted {
			role, err := m.ownRole(ctx)
			if err == nil && role != api.RoleWorker {
				return api.Errorf(api.Conflict, "leave", "this board is a manager of its fleet: demote it first with `edgectl node demote self`, or use --force")
			}
			demoted = err == nil
		}
		select {
		case <-time.After(leaderPause):
		case <-m.ended:
			return nil
		case <-ctx.Done():
			return api.Errorf(api.Unavailable, "leave", "this board is still among the managers after %v, because too few of the others answer or none can take its place: see `edgectl status`, and ask again; or use --force", demotionTimeout)
		}
	}
	return nil
}

// ownRole is what the operator wants this board to be, by the leader's word.
func (m *membership) ownRole(ctx context.Context) (api.NodeRole, error) {
	control, err := m.control(ctx)
	if err != nil {
		return "", err
	}
	resp, err := control.GetNode(ctx, &api.GetNodeRequest{Node: string(m.self)})
	if err != nil {
		return "", err
	}
	return resp.Node.Spec.Role, nil
}

// departTimeout bounds the goodbye.
const departTimeout = 10 * time.Second

// depart says goodbye to the leader, and to the next one should it change.
func (m *membership) depart(ctx context.Context, force bool) error {
	ctx, cancel := context.WithTimeout(ctx, departTimeout)
	defer cancel()
	for {
		err := m.departOnce(ctx, force)
		switch api.KindOf(err) {
		case api.NotLeader, api.Unavailable:
		case api.Denied:
			return nil // an earlier try did it, and its answer was lost
		default:
			return err
		}
		select {
		case <-m.ended:
			return nil
		case <-time.After(leaderPause):
		case <-ctx.Done():
			return api.Errorf(api.Unavailable, "leave", "%w; to leave without telling the fleet, use --force", err)
		}
	}
}

func (m *membership) departOnce(ctx context.Context, force bool) error {
	leader, err := m.findLeader(ctx)
	if err != nil {
		return err
	}
	conn, err := m.conn(leader)
	if err != nil {
		return err
	}
	_, err = api.NewDispatchClient(conn).Depart(ctx, &api.DepartRequest{Force: force})
	return err
}

// callerOf is who calls, by the certificate of the connection.
func callerOf(ctx context.Context) (api.NodeID, bool) {
	peer, ok := rpc.PeerOf(ctx)
	return peer.ID, ok
}

func ptr[T any](v T) *T { return &v }

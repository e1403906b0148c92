package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/transport"
	"github.com/edgeswarm/edgeswarm/transport/quic"
	"github.com/edgeswarm/edgeswarm/transport/rpc"
)

// Board is what lasts for as long as edged runs, through all memberships.
type Board struct {
	cfg     Config
	parts   Parts
	started time.Time
	self    atomic.Pointer[api.NodeDescription] // but for the runtime, which the agent knows

	dir      *stateDir
	clock    *clock
	keeper   *identity.Keeper
	memory   *admission.Memory
	endpoint transport.Endpoint
	images   Images
	door     *admission.Door

	changed    chan struct{} // 1 slot: this board's addresses or devices did
	intents    chan intent   // what the operator asks for at the local socket
	member     atomic.Pointer[membership]
	seeking    atomic.Pointer[admission.Seeker]
	waits      atomic.Pointer[waiting]        // what it says of itself without a fleet
	left       atomic.Pointer[string]         // what keeps it from ending its former fleet's tasks
	advertised atomic.Pointer[string]         // host[:port]; "" is every address
	resolved   atomic.Pointer[netip.AddrPort] // what that was last
}

// New makes a board of the parts given, on the state in cfg.StateDir. It takes
// over Packets and Local, also when it errs. Run must follow, once.
func New(cfg Config, parts Parts) (*Board, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, errors.Join(err, parts.Packets.Close(), parts.Local.Close())
	}
	dir, err := openStateDir(cfg.StateDir)
	if err != nil {
		return nil, errors.Join(err, parts.Packets.Close(), parts.Local.Close())
	}
	return newBoard(cfg, dir, parts)
}

// newBoard opens what is kept of the board, in an order in which each room
// finds what it needs. It takes over the state directory as well.
func newBoard(cfg Config, dir *stateDir, parts Parts) (b *Board, err error) {
	b = &Board{
		cfg: cfg, parts: parts, dir: dir, changed: make(chan struct{}, 1), intents: make(chan intent)}
	defer func() {
		if err != nil {
			err = errors.Join(err, parts.Packets.Close(), parts.Local.Close(), dir.Close())
		}
	}()
	if err := b.introduce(); err != nil {
		return nil, err
	}
	if err := b.loadAdvertised(); err != nil {
		return nil, err
	}
	if b.clock, err = openClock(cfg.StateDir, cfg.BuildTime, parts.Wall); err != nil {
		return nil, err
	}
	b.started = b.clock.Now()
	if b.keeper, err = identity.Open(identity.Config{Dir: b.dir.room("identity"), Now: b.clock.Now}); err != nil {
		return nil, err
	}
	if b.memory, err = admission.OpenMemory(b.dir.room("membership")); err != nil {
		return nil, err
	}
	b.endpoint, err = quic.New(quic.Config{
		PacketConn: parts.Packets, Identity: lenient{b}, Admit: b.admit, Logger: cfg.Logger.With("room", "transport"),
	})
	if err != nil {
		return nil, err
	}
	b.images = parts.Images(neighbourhood{b})
	b.door = admission.NewDoor(admission.DoorConfig{
		Identity: b.keeper, Endpoint: b.endpoint, Fleet: gatekeeper{b}, Seeker: b.seeking.Load, Now: b.clock.Now, Log: cfg.Logger.With("room", "admission"),
	})
	return b, nil
}

// admit asks the membership's trust; without one, only joiners may come.
func (b *Board) admit(peer transport.Peer, p transport.Protocol) error {
	m := b.member.Load()
	if m == nil {
		if p == transport.Join {
			return nil
		}
		return errNoMember
	}
	return m.trust.Admit(peer, p)
}

// Run is the board's life: it works until ctx ends, and returns an error only
// if it can't go on. Tasks outlive it.
func (b *Board) Run(ctx context.Context) error {
	return errors.Join(b.run(ctx), b.endpoint.Close(), b.clock.Save(), b.dir.Close())
}

func (b *Board) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for name, part := range map[string]func(context.Context) error{
		"local socket": b.serveLocal, "discovery": b.parts.Finder.Run, "door": b.door.Run, "logs": b.parts.Logs.Run, "network": b.parts.Network.Run,
		"addresses": b.watchAddrs, "account": b.watchSelf, "life": b.live, "containerd": b.parts.Keep, "consoles": b.showFace, "readiness": b.noteFindings,
	} {
		if part == nil {
			continue
		}
		g.Go(func() error {
			if err := part(ctx); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// serveLocal answers edgectl.
func (b *Board) serveLocal(ctx context.Context) error {
	server := rpc.NewServer()
	server.RegisterService(ptr(api.RelayDesc(api.ControlDesc, b.routeControl)), nil)
	server.RegisterService(ptr(api.RelayDesc(api.VaultDesc, b.routeControl)), nil)
	server.RegisterService(ptr(api.RelayDesc(api.NetworkDesc, b.routeControl)), nil)
	server.RegisterService(&api.BoardDesc, boardServer{b})
	return rpc.Serve(ctx, server, rpc.Local(b.parts.Local))
}

func (b *Board) routeControl(ctx context.Context, method string) (api.Target, error) {
	if m := b.member.Load(); m != nil {
		return m.routeControl(ctx, method)
	}
	return api.Target{}, errNoFleet("")
}

// live goes from membership to membership.
func (b *Board) live(ctx context.Context) error {
	for {
		var known []api.Peer
		if b.keeper.Fleet() == "" {
			var err error
			if known, err = b.enter(ctx); err != nil {
				return err
			}
		}
		m, err := newMembership(b, known)
		if err != nil {
			return err
		}
		err = m.Run(ctx)
		if ctx.Err() != nil {
			return err
		}
		if err := b.quit(ctx, m, err); err != nil {
			return err
		}
		close(m.gone)
	}
}

// quit cleans up after a membership that ended for good; another end is an
// error. The credentials go first: what is left then belongs to no membership,
// and enter clears it away should the plug be pulled in between.
func (b *Board) quit(ctx context.Context, m *membership, reason error) error {
	switch {
	case errors.Is(reason, errFolded):
		b.cfg.Logger.Info("fleet has given way, joining the other", "fleet", m.fleet)
		if err := b.memory.Folded(m.fleet); err != nil {
			return err
		}
	case errors.Is(reason, errLeft), errors.Is(reason, errRemoved):
		b.cfg.Logger.Info("membership ended", "fleet", m.fleet, "reason", reason)
		if err := b.park(reason); err != nil {
			return err
		}
	default:
		return reason
	}
	if err := b.sweep(ctx); err != nil { // enter tries again
		b.cfg.Logger.Debug("some of the fleet's tasks are left on this board", "err", err)
	}
	return errors.Join(b.keeper.Forget(), b.dir.forget(raftRoom, foundingFile, agentRoom))
}

// sweep ends everything that ran here for a fleet that this board no longer
// belongs to. Volumes stay.
func (b *Board) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	containers, err := b.parts.Driver.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range containers {
		err = errors.Join(err, b.parts.Driver.Remove(ctx, c.ID))
	}
	b.parts.Network.Learn(agent.Fabric{})
	return errors.Join(err, b.parts.Network.Retain(ctx, nil), b.parts.Logs.Retain(ctx, nil))
}

// serving says which membership answers calls; nil if none does.
func (b *Board) serving(m *membership) {
	b.member.Store(m)
	b.announce()
}

// describe is this board's account of itself.
func (b *Board) describe() api.NodeDescription { return *b.self.Load() }

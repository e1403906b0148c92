package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
	"github.com/edgeswarm/edgeswarm/discovery/mdns"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/image"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/logs"
	"github.com/edgeswarm/edgeswarm/network"
	"github.com/edgeswarm/edgeswarm/runtime/containerd"
	"github.com/edgeswarm/edgeswarm/transport"
	"github.com/edgeswarm/edgeswarm/transport/quic"
)

// board is what lasts for as long as edged runs, through all memberships.
type board struct {
	cfg     Config
	started time.Time

	dir      *stateDir
	clock    *clock
	keeper   *identity.Keeper
	memory   *admission.Memory
	endpoint transport.Endpoint
	finder   discovery.Finder
	driver   *containerd.Driver
	images   *image.Store
	network  *network.Local
	logs     *logs.Client

	self        api.NodeDescription
	readdressed chan struct{} // 1 slot: this board's addresses changed
	intents     chan intent   // what the operator asks for at the local socket
	member      atomic.Pointer[membership]
	seeking     atomic.Pointer[admission.Seeker]
	waits       atomic.Pointer[waiting] // what it says of itself without a fleet
	advertised  atomic.Pointer[string]  // host[:port]; "" is every address
}

// Run is a board's life: it works until ctx ends, and returns an error only if
// it can't go on. Tasks outlive it.
func Run(ctx context.Context, cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	b, err := open(cfg)
	if err != nil {
		return err
	}
	cfg.Logger.Info("edged runs", "version", cfg.Version, "node", b.keeper.Node(), "name", cfg.Name, "socket", cfg.Socket())
	return errors.Join(b.run(ctx), b.close())
}

// open makes the lasting parts, in an order in which each finds what it needs.
func open(cfg Config) (b *board, err error) {
	b = &board{cfg: cfg, started: time.Now(), readdressed: make(chan struct{}, 1), intents: make(chan intent)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if err := prepareRunDir(cfg.RunDir); err != nil {
		return b, err
	}
	if b.dir, err = openStateDir(cfg.StateDir); err != nil {
		return b, err
	}
	if err := b.loadAdvertised(); err != nil {
		return b, err
	}
	if b.clock, err = openClock(cfg.StateDir, cfg.BuildTime); err != nil {
		return b, err
	}
	if b.self, err = describe(cfg); err != nil {
		return b, err
	}
	if b.keeper, err = identity.Open(identity.Config{Dir: b.dir.room("identity"), Now: b.clock.Now}); err != nil {
		return b, err
	}
	if b.memory, err = admission.OpenMemory(b.dir.room("membership")); err != nil {
		return b, err
	}
	if b.endpoint, err = b.listen(); err != nil {
		return b, err
	}
	b.finder = mdns.New(mdns.Config{Log: cfg.Logger.With("room", "discovery")})
	b.driver, err = containerd.New(containerd.Config{
		Socket: cfg.Containerd, Namespace: cfg.Namespace, CgroupRoot: cfg.CgroupParent, RunDir: cfg.RunDir, Logger: cfg.Logger.With("room", "runtime"),
	})
	if err != nil {
		return b, err
	}
	b.images = image.New(image.Config{
		Client: b.driver.Client(), Socket: cfg.Containerd, Platform: host.Platform(), Platforms: b.platforms,
		Dial: b.dialBlob, Neighbours: b.neighbours, Logger: cfg.Logger.With("room", "image"),
	})
	pool, err := netip.ParsePrefix(cfg.TaskSubnets)
	if err != nil {
		return b, err
	}
	b.network = network.New(network.Config{Dir: filepath.Join(cfg.RunDir, "tasks"), Pool: pool, Logger: cfg.Logger.With("room", "network")})
	b.logs = newLogs(cfg, b.dir)
	return b, nil
}

func (b *board) listen() (transport.Endpoint, error) {
	conn, err := quic.Listen(b.cfg.Listen)
	if err != nil {
		return nil, err
	}
	return quic.New(quic.Config{PacketConn: conn, Identity: b.keeper, Admit: b.admit, Logger: b.cfg.Logger.With("room", "transport")})
}

// admit asks the membership's trust; without one, only joiners may come.
func (b *board) admit(peer transport.Peer, p transport.Protocol) error {
	m := b.member.Load()
	if m == nil {
		if p == transport.Join {
			return nil
		}
		return errRemoved
	}
	return m.trust.Admit(peer, p)
}

func (b *board) close() error {
	var errs []error
	if b.endpoint != nil {
		errs = append(errs, b.endpoint.Close())
	}
	if b.driver != nil {
		errs = append(errs, b.driver.Close())
	}
	if b.clock != nil {
		errs = append(errs, b.clock.Save())
	}
	if b.dir != nil {
		errs = append(errs, b.dir.Close())
	}
	return errors.Join(errs...)
}

func (b *board) run(ctx context.Context) error {
	door := admission.NewDoor(admission.DoorConfig{
		Identity: b.keeper, Endpoint: b.endpoint, Fleet: gatekeeper{b}, Seeker: b.seeking.Load, Now: b.clock.Now, Log: b.cfg.Logger.With("room", "admission"),
	})
	g, ctx := errgroup.WithContext(ctx)
	for name, part := range map[string]func(context.Context) error{
		"local socket": b.serveLocal, "discovery": b.finder.Run, "door": door.Run, "logs": b.logs.Run, "addresses": b.watchAddrs, "life": b.live,
	} {
		g.Go(func() error {
			if err := part(ctx); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// live goes from membership to membership.
func (b *board) live(ctx context.Context) error {
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
	}
}

// quit cleans up after a membership that ended for good; another end is an error.
func (b *board) quit(ctx context.Context, m *membership, reason error) error {
	switch {
	case errors.Is(reason, errFolded):
		b.cfg.Logger.Info("fleet has given way, joining the other", "fleet", m.fleet, "into", m.fleetInfo().FoldedInto)
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
	if err := b.sweep(ctx); err != nil {
		b.cfg.Logger.Warn("some of the fleet's tasks are left on this board", "err", err)
	}
	return errors.Join(b.keeper.Forget(), b.dir.forget(raftRoom, foundingFile, "agent"))
}

// sweep ends everything that ran here for a fleet that this board no longer
// belongs to. Volumes stay.
func (b *board) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	containers, err := b.driver.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range containers {
		err = errors.Join(err, b.driver.Remove(ctx, c.ID))
	}
	return errors.Join(err, b.network.Retain(ctx, nil), b.logs.Retain(ctx, nil))
}

// serving says which membership answers calls; nil if none does.
func (b *board) serving(m *membership) {
	b.member.Store(m)
	b.announce()
}

func (b *board) describe() api.NodeDescription { return b.self }

// platforms are those of all boards of the fleet, as far as this one knows.
func (b *board) platforms() []api.Platform {
	seen := map[api.Platform]bool{b.self.Platform: true}
	out := []api.Platform{b.self.Platform}
	m := b.member.Load()
	if m == nil || m.seat.present.Load() == nil {
		return out
	}
	for n := range m.seat.present.Load().store.View().Nodes.All() {
		if p := n.Description.Platform; !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

func (b *board) dialBlob(ctx context.Context, node api.NodeID) (transport.Conn, error) {
	return b.endpoint.Dial(ctx, node, transport.Blob)
}

func (b *board) neighbours() []api.NodeID {
	if m := b.member.Load(); m != nil {
		return m.neighbours()
	}
	return nil
}

package manager

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/control"
	"github.com/edgeswarm/edgeswarm/manager/dispatch"
	"github.com/edgeswarm/edgeswarm/store"
)

// Config is all that a term needs. Every field is required.
type Config struct {
	Self   api.NodeID
	Store  *store.Store
	Writer *store.Writer
	Raft   Raft
	Images control.Images
	// Caller tells which node a call comes from, by its certificate; for a
	// call from this board itself, it is Self.
	Caller func(context.Context) (api.NodeID, bool)
	// Clock is the fleet's time on this board. Nothing is measured by it.
	Clock  func() time.Time
	Logger *slog.Logger
}

// Term is one term of this node as leader.
type Term struct {
	control  *control.Server
	dispatch *dispatch.Server
	loop     *loop
	roles    *government
	copies   *copier
}

// New prepares a term that is about to begin. It is used for one Run.
func New(cfg Config) *Term {
	raft := &members{Raft: cfg.Raft, logger: cfg.Logger}
	d := dispatch.New(dispatch.Config{
		Self: cfg.Self, Store: cfg.Store, Writer: cfg.Writer, Raft: raft, Caller: cfg.Caller, Clock: cfg.Clock, Logger: cfg.Logger,
	})
	l := &loop{
		store: cfg.Store, writer: cfg.Writer, dispatch: d, servers: raft.Servers, clock: cfg.Clock, logger: cfg.Logger,
		watches: newStopwatches(),
	}
	return &Term{
		dispatch: d, loop: l,
		copies: &copier{store: cfg.Store, images: cfg.Images, logger: cfg.Logger},
		roles:  &government{self: cfg.Self, store: cfg.Store, raft: raft, clock: cfg.Clock, logger: cfg.Logger, changed: d.MembersChanged},
		control: control.New(control.Config{
			Self: cfg.Self, Store: cfg.Store, Writer: cfg.Writer, Raft: raft, Live: d, Images: cfg.Images,
			Planned: l.planned.Load, Caller: cfg.Caller, Clock: cfg.Clock, Logger: cfg.Logger,
		}),
	}
}

// Control answers while Run runs; before and after, NotLeader.
func (t *Term) Control() api.ControlServer { return t.control }

// Dispatch answers while Run runs; before and after, NotLeader.
func (t *Term) Dispatch() api.DispatchServer { return t.dispatch }

// Run leads until ctx ends, which is when leadership does, and returns nil once
// every part of the term and every call to it has ended. A part that fails ends
// the term: the error says which, and another node had better lead.
func (t *Term) Run(ctx context.Context) error {
	return together(ctx, map[string]func(context.Context) error{
		"control": t.control.Run, "dispatch": t.dispatch.Run, "planning": t.loop.run, "roles": t.roles.run, "copies": t.copies.run,
	})
}

// together runs the parts until ctx ends or one fails, and waits for all.
func together(ctx context.Context, parts map[string]func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for name, run := range parts {
		g.Go(func() error {
			if err := run(ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

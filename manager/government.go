package manager

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/manager/roles"
	"github.com/edgeswarm/edgeswarm/store"
)

const (
	// reviewEvery is how often raft's members are looked at: that one stopped
	// answering, or has caught up, is no event.
	reviewEvery = time.Second
	// stepTimeout bounds one change of raft's members.
	stepTimeout = 10 * time.Second
	// stepPause keeps changes that fail from being tried without rest.
	stepPause = 2 * time.Second
	// mostPlans is how many plans in a row are carried out before a rest: no
	// change that is sound takes as many.
	mostPlans = 8
)

// government keeps the right nodes voting: it does what roles.Plan says.
type government struct {
	self   api.NodeID
	store  *store.Store
	raft   *members
	clock  func() time.Time
	logger *slog.Logger
	// changed is called after each step that was taken.
	changed func()

	// away is since when a server has not answered, by this board's monotonic clock.
	away map[api.NodeID]time.Time
}

// run reviews the fleet's government until ctx ends.
func (g *government) run(ctx context.Context) error {
	changed, cancel := g.store.Subscribe()
	defer cancel()
	ticker := time.NewTicker(reviewEvery)
	defer ticker.Stop()
	g.away = map[api.NodeID]time.Time{}
	for {
		if !g.review(ctx) {
			select {
			case <-ctx.Done():
			case <-time.After(stepPause):
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-ticker.C:
		}
	}
}

// review takes the steps of one plan, one after the other, until one fails. It
// plans again at once after the last: one step often makes the next possible.
func (g *government) review(ctx context.Context) (ok bool) {
	for range mostPlans {
		actions := roles.Plan(g.input())
		for _, action := range actions {
			g.logger.Info("changing the fleet's managers", "step", action.Kind, "node", action.Node, "why", action.Why)
			if err := g.take(ctx, action); err != nil {
				if ctx.Err() == nil {
					g.logger.Warn("the fleet's managers were not changed", "step", action.Kind, "node", action.Node, "err", err)
				}
				return false
			}
			g.changed()
		}
		if len(actions) == 0 || ctx.Err() != nil {
			return true
		}
	}
	return false
}

func (g *government) take(ctx context.Context, action roles.Action) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	id := string(action.Node)
	switch action.Kind {
	case roles.AddNonvoter:
		return g.raft.AddNonvoter(ctx, id)
	case roles.Promote:
		return g.raft.Promote(ctx, id)
	case roles.Demote:
		return g.raft.Demote(ctx, id)
	case roles.Remove:
		return g.raft.Remove(ctx, id)
	case roles.Transfer:
		return g.raft.Transfer(ctx, id)
	default:
		return fmt.Errorf("unknown step %q", action.Kind)
	}
}

// input gathers what the plan goes by.
func (g *government) input() roles.Input {
	v := g.store.View()
	in := roles.Input{
		Nodes: slices.Collect(v.Nodes.All()), Leader: g.self,
		Unreachable: map[api.NodeID]time.Duration{}, Stable: map[api.NodeID]time.Duration{},
	}
	if c := v.Cluster(); c != nil {
		in.Wanted = c.Spec.Managers
	}
	servers := g.raft.Servers()
	for _, s := range servers {
		in.Servers = append(in.Servers, roles.Server{ID: api.NodeID(s.ID), Voter: s.Voter, Reachable: s.Reachable, Lag: s.Lag})
	}
	g.note(servers)
	for id, since := range g.away {
		in.Unreachable[id] = time.Since(since)
	}
	now := v.Time
	if t := g.clock(); t.After(now) {
		now = t
	}
	for _, node := range in.Nodes {
		if node.Status.State == api.NodeReady {
			in.Stable[node.ID] = now.Sub(node.Status.Since)
		}
	}
	return in
}

// note keeps the time since which servers have not answered.
func (g *government) note(servers []consensus.Server) {
	away := map[api.NodeID]time.Time{}
	for _, s := range servers {
		id := api.NodeID(s.ID)
		if s.Reachable || id == g.self {
			continue
		}
		since, known := g.away[id]
		if !known {
			since = time.Now()
		}
		away[id] = since
	}
	g.away = away
}

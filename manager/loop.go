package manager

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/manager/dispatch"
	"github.com/edgeswarm/edgeswarm/manager/orchestrator"
	"github.com/edgeswarm/edgeswarm/store"
)

// retryAfter is how long after a failed commit another is tried.
const retryAfter = 200 * time.Millisecond

// loop brings observed and desired state together: one pass over one snapshot
// gives one change set, one commit.
type loop struct {
	store    *store.Store
	writer   *store.Writer
	dispatch *dispatch.Server
	servers  func() []consensus.Server
	clock    func() time.Time
	logger   *slog.Logger

	watches *stopwatches
	memory  memory
	// planned is the index of the latest view that needed nothing more than
	// what was then committed.
	planned atomic.Uint64
	held    hold
	// most is how many tasks one commit may put; 0 is no bound.
	most int
}

// run makes passes until ctx ends.
func (l *loop) run(ctx context.Context) error {
	changed, cancelChanged := l.store.Subscribe()
	defer cancelChanged()
	heard, cancelHeard := l.dispatch.Subscribe()
	defer cancelHeard()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-timer.C:
		case <-heard:
			gather(ctx, heard, changed, l.patience)
		}
		next, wake := l.pass(ctx)
		if ctx.Err() != nil {
			return nil
		}
		timer.Stop()
		if wake {
			timer.Reset(next)
		}
	}
}

// pass plans once, and commits what there is to commit. It tells when to make
// the next pass if nothing happens before.
func (l *loop) pass(ctx context.Context) (next time.Duration, wake bool) {
	var out outcome
	_, err := l.writer.Update(ctx, store.Op{}, func(tx *store.Tx) error {
		changes, err := l.store.Changes(l.memory.index, tx.Index)
		out = l.decide(tx.View, changes, err == nil)
		if out.waits {
			return nil
		}
		out.limit(l.most)
		for _, layer := range out.puts {
			tx.Put(layer...)
		}
		tx.Delete(out.deletes...)
		return nil
	})
	l.memory = l.memory.after(out, err == nil)
	switch {
	case ctx.Err() != nil:
		return 0, false
	case api.KindOf(err) == api.Conflict:
		return 0, true // something changed under the plan: plan on what is
	case errors.Is(err, consensus.ErrTooLarge) && out.tasks > 1:
		l.most = out.tasks / 2
		return 0, true // the next pass has the others
	case err != nil:
		l.logger.Warn("plan was not committed, trying again", "err", err)
		return retryAfter, true
	}
	l.watches.keep(out.dirty, out.timers)
	next, wake = l.watches.next()
	if left := l.held.left(); out.waits && (!wake || left < next) {
		next, wake = left, true
	}
	if !out.waits {
		l.held = hold{}
	}
	if out.tasks < l.most {
		l.most = 0
	}
	l.planned.Store(out.index)
	return next, wake
}

// patience is how long to wait for reports that belong to those at hand.
func (l *loop) patience() (quiet, last time.Duration) {
	v := l.store.View()
	facts := l.dispatch.Facts(v, v.Time)
	switch {
	case len(facts.Nodes) > 0 || facts.Urgent:
		return 0, 0
	case waveExpects(v.With(facts.Puts(), nil), facts.Tasks):
		return gatherWave, gatherWave
	default:
		return gatherQuiet, gatherLast
	}
}

// outcome is what one pass decided.
type outcome struct {
	index uint64 // of the view decided on
	// puts are in layers, each on top of those before.
	puts    [][]api.Object
	deletes []api.Object
	timers  []orchestrator.Timer
	tasks   int // that are put
	// waits is set if there are only reports that can wait for others.
	waits bool
	// dirty are the services that were planned, nil for all, and reported those
	// of whose tasks the agents have said something that is not stored.
	dirty, reported map[api.ServiceID]bool
	limited         bool // not all is put
	voters          map[api.NodeID]bool
}

// limit leaves out tasks beyond most, because of large specs an entry of the
// log holds only so many. Whatever is committed of a plan, the next one goes on
// from there; but a new task is left out before one that is to give way to it,
// lest both run.
func (o *outcome) limit(most int) {
	kept := map[string]bool{}
	for _, fresh := range []bool{false, true} {
		for _, layer := range o.puts {
			for _, obj := range layer {
				if isTask(obj) && (obj.Head().Version == api.Version{}) == fresh && (most == 0 || len(kept) < most) {
					kept[obj.Key()] = true
				}
			}
		}
	}
	for i, layer := range o.puts {
		o.puts[i] = slices.DeleteFunc(slices.Clone(layer), func(obj api.Object) bool { return isTask(obj) && !kept[obj.Key()] })
	}
	o.tasks = len(kept)
	o.limited = most > 0
}

func isTask(obj api.Object) bool {
	_, is := obj.(*api.Task)
	return is
}

// decide is one pass over one snapshot: what the agents reported, what follows
// for the services, and where new tasks go. Changes are those since the
// snapshot of the last pass, if they are known.
func (l *loop) decide(v *store.View, changes []store.Change, known bool) outcome {
	l.memory = l.memory.recall(v, changes, known)
	now := v.Time
	if t := l.clock(); t.After(now) {
		now = t
	}
	facts := l.dispatch.Facts(v, now)
	heard := slices.Concat(facts.Puts(), facts.Unstored)
	informed := v.With(heard, nil)
	managers, voters := l.managers(informed)
	informed = informed.With(managers, nil)
	said := v.Diff(heard, nil)
	dirty := l.memory.dirty(informed, changes, said, voters)
	if dirty != nil {
		l.watches.due(dirty)
	}
	plan := orchestrator.Plan(informed, orchestrator.Input{
		Dirty: dirty, Elapsed: l.watches.elapsed, NewID: api.NewID[api.TaskID], Now: now,
	})
	laid := informed.With(plan.Puts, plan.Deletes)
	overlay := slices.Concat(said, v.Diff(managers, nil), informed.Diff(plan.Puts, plan.Deletes))
	placed := address(laid, l.memory.sums.Update(laid, overlay).Place(laid).Puts)

	out := outcome{index: v.Index, deletes: plan.Deletes, timers: plan.Timers, dirty: dirty, voters: voters, reported: map[api.ServiceID]bool{}}
	for _, task := range slices.Concat(facts.Tasks, facts.Unstored) {
		out.reported[task.(*api.Task).ServiceID] = true
	}
	out.puts = [][]api.Object{facts.Puts(), plan.Puts, placed}
	decided := len(plan.Puts)+len(plan.Deletes)+len(placed) > 0
	out.waits = !decided && len(facts.Tasks) > 0 && len(facts.Nodes) == 0 && !facts.Urgent
	if out.waits {
		l.held.note(facts.Tasks)
		out.waits = l.held.left() > 0
	}
	return out
}

// managers are the nodes that take part in raft, told so: a constraint on a
// node's role asks for what it is, not only for what was wished. They are
// never stored.
func (l *loop) managers(v *store.View) (nodes []api.Object, voters map[api.NodeID]bool) {
	voters = map[api.NodeID]bool{}
	for _, server := range l.servers() {
		voters[api.NodeID(server.ID)] = server.Voter
		if node := v.Node(api.NodeID(server.ID)); node != nil {
			next := *node
			next.ManagerStatus = &api.ManagerStatus{Voter: server.Voter}
			nodes = append(nodes, &next)
		}
	}
	return nodes, voters
}

package orchestrator

import (
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/scheduler"
)

// rebalance moves tasks to where they lie more evenly, as an update replaces
// them: wave by wave, with the same delay, order and judgement of failures. What
// is left to move is found anew for each wave, from where tasks are then; so a
// successor needs nothing that is not stored, and no task is moved twice.
func (p *pass) rebalance() {
	if p.s.Rollout.Wave > 0 {
		if failed := p.judge(); failed != "" && p.tooMany() {
			p.act(failed)
		}
	}
	if !p.underWay() || p.waveRuns() || len(p.made) > 0 {
		return // what was made just now has yet to be placed
	}
	r, config := p.s.Rollout, p.config()
	most := int(config.Parallelism)
	if r.Wave == 0 {
		most = 0 // all are counted
	}
	var moves []scheduler.Move
	// A task that keeps failing where it was moved to is moved no more than once.
	if r.Moved < len(p.slots) {
		moves = scheduler.Rebalance(p.v.With(p.moved, nil), p.s.ID, most)
	}
	switch key := (TimerKey{Service: p.s.ID, Version: r.Target, Wave: r.Wave}); {
	case len(moves) > 0:
		key.Wait = WaitDelay
		if r.Wave == 0 || p.waited(key, r.Wait) {
			p.move(moves)
		}
	case p.hangs():
	default:
		key.Wait = WaitMonitor
		if r.Wave == 0 || p.waited(key, config.Monitor) {
			p.complete()
		}
	}
}

// move begins a wave of moves.
func (p *pass) move(moves []scheduler.Move) {
	r, config := *p.s.Rollout, p.config()
	if r.Wave == 0 {
		r.Total, r.Judged = len(moves), p.failures(r)
	}
	if n := int(min(config.Parallelism, uint64(len(moves)))); n > 0 {
		moves = moves[:n]
	}
	r.Wave++
	r.Wait, r.Tasks = config.Delay, nil
	for _, m := range moves {
		s := p.slot(placeOf(m.Task))
		if s.current() == nil || s.current().ID != m.Task.ID {
			continue // it was given up in this very pass
		}
		next := p.succeed(s, s.current(), config.Order == api.StartFirst, func(next *api.Task) { next.Preferred = m.To })
		r.Tasks = append(r.Tasks, next.ID)
		there := *next
		there.NodeID, there.Status.State = m.To, api.TaskAssigned
		p.moved = append(p.moved, &there)
	}
	r.Moved += len(r.Tasks)
	slices.Sort(r.Tasks)
	p.record(r)
}

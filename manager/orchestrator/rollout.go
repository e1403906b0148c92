package orchestrator

import (
	"fmt"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
)

// rollout walks an update through the slots, one wave at a time. All that it
// goes by is in the service's record and the tasks', so that a successor goes
// on where its predecessor stopped.
func (p *pass) rollout() {
	if p.s.Rebalancing() {
		p.rebalance()
		return
	}
	stale, later := p.stale()
	if (len(stale) > 0 || later) && !p.underWay() && !p.paused() {
		p.begin()
	}
	if !p.underWay() {
		return
	}
	if failed := p.judge(); failed != "" && p.tooMany() && p.act(failed) {
		p.rollout() // back, by the same steps
		return
	}
	if !p.underWay() || p.waveRuns() {
		return
	}
	r := p.s.Rollout
	switch key := (TimerKey{Service: p.s.ID, Version: r.Target, Wave: r.Wave}); {
	case len(stale) > 0:
		key.Wait = WaitDelay
		if r.Wave == 0 || p.waited(key, r.Wait) {
			p.wave(stale)
		}
	case later: // a task that was moved just now: its turn comes when it is placed
	case p.hangs(): // no wave waits for it, but all is not done before it runs
	default:
		key.Wait = WaitMonitor
		if r.Wave == 0 || p.waited(key, p.config().Monitor) {
			p.complete()
		}
	}
}

// config is how the service is being changed: forward, or back.
func (p *pass) config() api.UpdateConfig {
	if p.s.Rollout != nil && p.s.Rollout.Rollback && (p.underWay() || p.paused()) {
		back := p.s.Spec.RollbackConfig.OrDefault()
		if back.FailureAction == api.FailureRollback {
			back.FailureAction = api.FailurePause // a rollback is never rolled back
		}
		return back
	}
	return p.s.Spec.UpdateConfig.OrDefault()
}

// underWay reports whether the present spec is being rolled out; paused,
// whether that was stopped by failures, until the next change.
func (p *pass) underWay() bool {
	return p.inState(api.UpdateUpdating, api.UpdateRollbackStarted)
}

func (p *pass) paused() bool {
	return p.inState(api.UpdatePaused, api.UpdateRollbackPaused)
}

func (p *pass) inState(states ...api.UpdateState) bool {
	r := p.s.Rollout
	return r != nil && r.Target == p.s.SpecVersion && slices.Contains(states, r.State)
}

// stale lists the slots whose task is to be replaced, those that don't run
// first: changing them costs nothing. Later is set if there are more that
// can't be replaced in this pass. A global task on a node that takes no new
// ones is not counted: the node has its turn when it does.
func (p *pass) stale() (now []*slot, later bool) {
	for _, s := range p.slots {
		t := s.current()
		switch {
		case t == nil || !p.outdated(t) || t.Slot == 0 && !p.covers(t.NodeID):
		case p.made[s] || !assigned(t):
			later = later || !p.paused()
		default:
			now = append(now, s)
		}
	}
	slices.SortStableFunc(now, func(a, b *slot) int {
		return boolCompare(running(a.current()), running(b.current()))
	})
	return now, later
}

// begin opens the record of a rollout that has none.
func (p *pass) begin() {
	rollback := p.s.Rollout != nil && p.s.Rollout.Target == p.s.SpecVersion && p.s.Rollout.Rollback
	state, message := api.UpdateUpdating, "update in progress"
	if rollback { // a node that was away has yet to be brought back to it
		state, message = api.UpdateRollbackStarted, "rollback in progress"
	}
	r := api.Rollout{Target: p.s.SpecVersion, Rollback: rollback, State: state}
	r.Judged = p.failures(r) // what failed before is not this rollout's doing
	p.record(r)
	p.status(state, message)
}

// record puts the service with another rollout.
func (p *pass) record(r api.Rollout) {
	next := *p.s
	next.Rollout = &r
	p.s = &next
	p.put(p.s)
}

// status tells people what the rollout does. Only to be used after record,
// which makes a copy.
func (p *pass) status(state api.UpdateState, message string) {
	next := api.UpdateStatus{State: state, Message: message, StartedAt: new(p.in.Now)}
	if old := p.s.UpdateStatus; old != nil && old.StartedAt != nil && state != api.UpdateUpdating && state != api.UpdateRollbackStarted {
		next.StartedAt = old.StartedAt
	}
	if state.Over() {
		next.CompletedAt = new(p.in.Now)
	}
	p.s.UpdateStatus = &next
}

// judge counts the new tasks that failed since it last did, and names the last.
func (p *pass) judge() (failed api.TaskID) {
	r := *p.s.Rollout
	news := slices.DeleteFunc(p.failures(r), func(id api.TaskID) bool { return slices.Contains(r.Judged, id) })
	if len(news) == 0 {
		return ""
	}
	r.Failed += len(news)
	r.Judged = slices.DeleteFunc(slices.Clone(r.Judged), func(id api.TaskID) bool { return p.v.Task(id) == nil })
	r.Judged = slices.Sorted(slices.Values(append(r.Judged, news...)))
	p.record(r)
	return news[len(news)-1]
}

// failures lists the tasks of the rollout's target that failed, in order of ID.
func (p *pass) failures(r api.Rollout) []api.TaskID {
	var failed []api.TaskID
	for _, s := range p.slots {
		for _, t := range s.tasks {
			if t.SpecVersion == r.Target && failure(t) && (!r.Rebalance || t.Preferred != "") {
				failed = append(failed, t.ID)
			}
		}
	}
	slices.Sort(failed)
	return failed
}

// failure reports whether a task's end counts against the update that made it.
// One that was told to end (shutdown), or that its policy lets end, does not.
func failure(t *api.Task) bool {
	switch t.Status.State {
	case api.TaskRejected:
		return true
	case api.TaskFailed:
		return t.Status.InMonitor
	case api.TaskComplete:
		return t.Status.InMonitor && t.Spec.RestartPolicy.OrDefault().Condition == api.RestartAny
	default:
		return false
	}
}

// tooMany reports whether the failures exceed what the update may have. A
// count of no slots, as a wave that was yet to begin left it, means one.
func (p *pass) tooMany() bool {
	r := p.s.Rollout
	return float64(r.Failed) > p.config().MaxFailureRatio*float64(max(1, r.Total))
}

// act does what the spec says about too many failures. It reports whether the
// service is now on its way back. A rebalance has no spec to go back to: it pauses.
func (p *pass) act(failed api.TaskID) (back bool) {
	action, r := p.config().FailureAction, *p.s.Rollout
	switch {
	case action == api.FailureContinue:
		return false
	case action == api.FailureRollback && p.s.PreviousSpec != nil && !r.Rebalance:
		p.revert(failed)
		return true
	case r.Rollback:
		r.State = api.UpdateRollbackPaused
	default:
		r.State = api.UpdatePaused
	}
	r.Tasks, r.Wait = nil, 0
	p.record(r)
	p.status(r.State, fmt.Sprintf("%s paused due to failure or early termination of task %s", verb(r), failed))
	return false
}

func verb(r api.Rollout) string {
	switch {
	case r.Rebalance:
		return "rebalance"
	case r.Rollback:
		return "rollback"
	default:
		return "update"
	}
}

// revert returns the service to its previous spec. There is none to return to
// from there: what was left is known to be bad.
func (p *pass) revert(failed api.TaskID) {
	next := *p.s
	next.Spec, next.PreviousSpec = *p.s.PreviousSpec, nil
	next.SpecVersion++
	p.s = &next
	p.specChanged()
	p.record(api.Rollout{Target: next.SpecVersion, Rollback: true, State: api.UpdateRollbackStarted})
	p.status(api.UpdateRollbackStarted, fmt.Sprintf("update rolled back due to failure or early termination of task %s", failed))
}

// waveRuns reports whether a task of the latest wave has yet to run or to fail.
// A slot that has moved on since is judged by the task that it has now.
func (p *pass) waveRuns() bool {
	r := p.s.Rollout
	return slices.ContainsFunc(r.Tasks, func(id api.TaskID) bool {
		i := slices.IndexFunc(p.slots, func(s *slot) bool { return s.find(id) != nil })
		if i < 0 {
			return false
		}
		t := p.slots[i].current()
		settled := t == nil || running(t) || t.Over() || t.Status.Attempt > 1 || t.Failures > 0 ||
			slices.Contains(r.Judged, t.ID) || t.Slot == 0 && p.lost(t.NodeID) || p.stuck(p.slots[i], t)
		return !settled
	})
}

// stuck reports whether a task waits for one on its board that will not end:
// the update goes on without it.
func (p *pass) stuck(s *slot, t *api.Task) bool {
	before := s.find(t.Replaces)
	return before != nil && p.ending(before) && p.overdue(s, before)
}

// hangs reports whether a slot has no running task because its old one will not
// end.
func (p *pass) hangs() bool {
	return slices.ContainsFunc(p.slots, func(s *slot) bool {
		t := s.current()
		return t != nil && !running(t) && !t.Over() && p.stuck(s, t)
	})
}

// wave replaces the tasks of as many slots as the config allows.
func (p *pass) wave(stale []*slot) {
	r, config := *p.s.Rollout, p.config()
	if r.Wave == 0 {
		r.Total = len(stale)
	}
	if n := int(min(config.Parallelism, uint64(len(stale)))); n > 0 {
		stale = stale[:n]
	}
	r.Wave++
	r.Wait, r.Tasks = config.Delay, nil
	for _, s := range stale {
		if before := s.predecessor(s.current()); before != nil && !p.outdated(before) {
			p.retire(s, s.current()) // what it was to take over from is what is wanted
			continue
		}
		next := p.succeed(s, s.current(), config.Order == api.StartFirst, func(*api.Task) {})
		r.Tasks = append(r.Tasks, next.ID)
	}
	slices.Sort(r.Tasks)
	p.record(r)
	if p.s.UpdateStatus == nil || p.s.UpdateStatus.State != r.State {
		p.status(r.State, verb(r)+" in progress")
	}
}

func (p *pass) complete() {
	r := *p.s.Rollout
	r.State = api.UpdateCompleted
	if r.Rollback {
		r.State = api.UpdateRollbackCompleted
	}
	r.Tasks, r.Judged, r.Wait = nil, nil, 0
	p.record(r)
	p.status(r.State, verb(r)+" completed")
}

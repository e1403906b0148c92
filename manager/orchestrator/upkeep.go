package orchestrator

import (
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// The wait before a task that keeps failing is replaced doubles from the
// policy's delay, at least minBackoff from the second failure on, to maxBackoff.
const (
	minBackoff = time.Second
	maxBackoff = 5 * time.Minute
)

// upkeep brings one slot forward, without changing what its task is made of:
// that is the rollout's, at its own pace.
func (p *pass) upkeep(s *slot) {
	t := s.current()
	if t == nil {
		return
	}
	if !assigned(t) && p.refresh(s, t) {
		return // it may be placed now, and need nothing that the one before it has
	}
	p.handOver(s, t)
	t = s.current()
	switch {
	case !assigned(t):
	case t.Over():
		p.restart(s, t)
	case p.misplaced(t):
		p.relocate(s, t)
	case p.failing(s, t):
		p.moveAway(s, t)
	case t.DesiredState == api.TaskReady && s.predecessor(t) == nil && !p.unfinished(s, t, ""):
		p.change(s, t, func(t *api.Task) { t.DesiredState = api.TaskRunning })
	}
}

// handOver retires the task that current takes over from, once current has come
// far enough or the other is of no use any more.
func (p *pass) handOver(s *slot, current *api.Task) {
	before, state := s.predecessor(current), current.Status.State
	far := running(current)
	if current.DesiredState == api.TaskReady {
		// All is fetched, on another node; or no node takes it, while what the
		// other has may be what it lacks.
		far = state == api.TaskPending || !state.Before(api.TaskReady) && state.Before(api.TaskDraining)
	}
	for _, t := range slices.Clone(s.tasks) {
		if t == current || !wanted(t) {
			continue
		}
		if t != before || far || t.Over() || p.lost(t.NodeID) {
			p.retire(s, t)
		}
	}
}

// unfinished reports whether a task of the slot, other than current and the
// one named, was told to end and may still run. One that will not end is not
// waited for for ever.
func (p *pass) unfinished(s *slot, current *api.Task, but api.TaskID) bool {
	return slices.ContainsFunc(s.tasks, func(t *api.Task) bool {
		return t != current && t.ID != but && p.ending(t) && !p.overdue(s, t)
	})
}

// ending reports whether a task was told to end and may still run.
func (p *pass) ending(t *api.Task) bool {
	return !wanted(t) && !t.Over() && assigned(t) && !p.lost(t.NodeID)
}

// overdue reports whether a task that is ending has been so for longer than it
// may take. While what takes over from it on its node is fetched, it runs on.
func (p *pass) overdue(s *slot, t *api.Task) bool {
	for _, next := range s.tasks {
		if next.Replaces == t.ID && next.NodeID == t.NodeID && next.Live() && next.Status.State.Before(api.TaskReady) && next.Status.Attempt <= 1 {
			return false
		}
	}
	return p.outlasted(TimerKey{Service: p.s.ID, Wait: WaitStop, Task: t.ID}, t.StopBound())
}

// refresh lets a task that no node has been told of follow the spec: nothing
// is lost by it, so it waits for no wave. While a rollout stands still, so does it.
// It reports whether the task has changed.
func (p *pass) refresh(s *slot, t *api.Task) bool {
	if t.SpecVersion == p.s.SpecVersion {
		return false
	}
	if p.outdated(t) && (t.Status.State != api.TaskPending || p.paused()) {
		return false // just moved: its turn comes with the others
	}
	p.change(s, t, func(t *api.Task) {
		t.Spec, t.SpecVersion, t.Ports = p.s.Spec.TaskTemplate, p.s.SpecVersion, specPorts(p.s.Spec.EndpointSpec)
		t.Monitor, t.Failures, t.ServiceLabels = p.config().Monitor, 0, p.s.Spec.TemplateLabels()
	})
	return true
}

// misplaced reports whether a task must leave its node. A global one may stay
// on one that is down: it belongs nowhere else.
func (p *pass) misplaced(t *api.Task) bool {
	node := p.v.Node(t.NodeID)
	if t.Slot == 0 {
		return false // see cover
	}
	return p.lost(t.NodeID) || !p.fits(node) || p.deprived(node, t)
}

// relocate gives a slot a task elsewhere. Its old one is told to stop; on a
// node that is down it is told so when the node is back.
func (p *pass) relocate(s *slot, t *api.Task) {
	p.succeed(s, t, p.config().Order == api.StartFirst && !p.lost(t.NodeID), func(next *api.Task) { p.asIs(next, t) })
}

// restart replaces a task that ended and that its agent will not start again,
// if its policy wants that, after a wait that grows while it keeps failing.
func (p *pass) restart(s *slot, t *api.Task) {
	policy := t.Spec.RestartPolicy.OrDefault()
	switch {
	case policy.Condition == api.RestartNone:
		return
	case policy.Condition == api.RestartOnFailure && t.Status.State == api.TaskComplete:
		return
	case t.Slot == 0 && !p.covers(t.NodeID):
		return
	}
	failures := 1
	if t.Status.State == api.TaskRejected || t.Status.InMonitor || t.Status.RecentFailures > 1 {
		failures = t.Failures + 1
	}
	wait := backoff(*policy.Delay, failures)
	if !p.waited(TimerKey{Service: p.s.ID, Wait: WaitRestart, Task: t.ID}, wait) {
		if t.Status.NextTry != wait { // for people; it comes with the commit of the end
			p.change(s, t, func(t *api.Task) { t.Status.NextTry = wait })
		}
		return
	}
	p.succeed(s, t, false, func(next *api.Task) {
		p.asIs(next, t)
		next.Failures = failures
	})
}

func backoff(delay time.Duration, failures int) time.Duration {
	if failures <= 1 {
		return delay
	}
	wait := max(delay, minBackoff)
	for range failures - 1 {
		if wait *= 2; wait >= maxBackoff {
			return max(delay, maxBackoff)
		}
	}
	return wait
}

// covers reports whether a global service may have a new task on the node.
func (p *pass) covers(id api.NodeID) bool {
	node := p.v.Node(id)
	return node != nil && p.fits(node) && takesNew(node) && equipped(node, p.s.Spec.TaskTemplate)
}

// succeed makes a task that takes over the slot from t. With overlap t runs on
// until the new one does. Else it runs on until all is fetched for the new one:
// on the same node that is the agent's own sequence, in which t is told to end at
// once (see scheduler.Place), and on another the new one comes to state ready
// first (see handOver), then waits for t's end. What does not run yet, or can be
// told nothing, is not kept for that.
func (p *pass) succeed(s *slot, t *api.Task, overlap bool, edit func(*api.Task)) *api.Task {
	old, others := t, p.unfinished(s, t, "")
	if before := s.predecessor(t); before != nil { // that one still serves: let it, and give up t
		overlap = overlap || t.DesiredState == api.TaskRunning
		p.retire(s, t)
		old = before
	}
	stays := wanted(old) && assigned(old) && !old.Over() && !p.lost(old.NodeID) && (overlap || !others || running(old))
	if !stays {
		p.retire(s, old)
	}
	return p.create(s, func(next *api.Task) {
		next.Replaces = old.ID
		if stays && !overlap || !stays && others {
			next.DesiredState = api.TaskReady
		}
		edit(next)
	})
}

// create makes a task for a slot, of what the spec says now. It replaces the
// slot's latest task, if that may still run.
func (p *pass) create(s *slot, edit func(*api.Task)) *api.Task {
	t := &api.Task{
		ID: p.in.NewID(), ServiceID: p.s.ID, ServiceName: p.s.Spec.Name, Slot: s.number, NodeID: s.node,
		Spec: p.s.Spec.TaskTemplate, SpecVersion: p.s.SpecVersion, Ports: specPorts(p.s.Spec.EndpointSpec),
		DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskNew, Timestamp: p.in.Now},
		Monitor: p.config().Monitor,
	}
	if p.s.Spec.Mode.Job() {
		t.JobIteration = new(p.s.Iteration())
	}
	if edit != nil {
		edit(t)
	} else if n := len(s.tasks); n > 0 && !s.tasks[n-1].Over() {
		t.Replaces = s.tasks[n-1].ID
	}
	s.tasks = append(s.tasks, t)
	p.made[s] = true
	p.put(t)
	return t
}

// asIs makes a task of what t was made of, if an update has yet to come to it:
// moving must not bring in a spec that may be bad. Where it may run is taken
// from the spec of the moment.
func (p *pass) asIs(next, t *api.Task) {
	if !p.outdated(t) {
		return
	}
	next.Spec, next.SpecVersion, next.Ports, next.Monitor = t.Spec, t.SpecVersion, p.unchosen(t.Ports), t.Monitor
	next.ServiceLabels = t.ServiceLabels
	var placement api.Placement
	if now := p.s.Spec.TaskTemplate.Placement; now != nil {
		placement = *now
	}
	placement.Platforms = nil
	if t.Spec.Placement != nil {
		placement.Platforms = t.Spec.Placement.Platforms
	}
	next.Spec.Placement = &placement
}

// unchosen gives the choice of those ports back to the scheduler that it was
// given by the spec of now or of before.
func (p *pass) unchosen(ports []api.PortConfig) []api.PortConfig {
	specs := specPorts(p.s.Spec.EndpointSpec)
	if p.s.PreviousSpec != nil {
		specs = append(specs, specPorts(p.s.PreviousSpec.EndpointSpec)...)
	}
	ports = slices.Clone(ports)
	for i, port := range ports {
		port.PublishedPort = 0
		if slices.Contains(specs, port) {
			ports[i] = port
		}
	}
	return ports
}

// specPorts are those that a task itself publishes.
func specPorts(spec *api.EndpointSpec) []api.PortConfig { return spec.Published(api.PublishHost) }

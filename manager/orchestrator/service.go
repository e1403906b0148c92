package orchestrator

import (
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
)

// pass plans one service.
type pass struct {
	*planner
	s           *api.Service // as it will be
	constraints api.Constraints
	slots       []*slot         // in order of place
	bySpec      map[uint64]bool // SpecVersion -> made of what the spec says
	made        map[*slot]bool  // slots that this pass made a task for
}

func (p *planner) service(s *api.Service) {
	pass := &pass{planner: p, s: s, made: map[*slot]bool{}}
	pass.specChanged()
	if s.PendingDelete {
		pass.remove()
		return
	}
	pass.gather()
	switch mode := s.Spec.Mode; {
	case mode.ReplicatedJob != nil:
		pass.runJob()
	case mode.GlobalJob != nil:
		pass.coverJob()
	case mode.Global != nil:
		pass.cover()
	default:
		pass.scale()
	}
	for _, slot := range pass.slots {
		pass.upkeep(slot)
	}
	if !s.Spec.Mode.Job() { // its tasks end by themselves
		pass.rollout()
	}
	pass.forget()
}

// specChanged forgets what was derived from the spec.
func (p *pass) specChanged() {
	var placement api.Placement
	if set := p.s.Spec.TaskTemplate.Placement; set != nil {
		placement = *set
	}
	// One that can't be read matches no node: see ParseConstraints.
	p.constraints, _ = api.ParseConstraints(placement.Constraints)
	p.bySpec = map[uint64]bool{p.s.SpecVersion: true}
}

// gather sorts the service's tasks into slots, and deletes those that are of
// no use any more: whose node is no member, or that are gone as was wished.
func (p *pass) gather() {
	slots := map[place]*slot{}
	perNode := p.s.Spec.Mode.PerNode()
	for t := range p.v.TasksOf(p.s.ID) {
		switch {
		case t.NodeID != "" && p.v.Node(t.NodeID) == nil && (perNode || !p.s.Completes(t)):
			p.drop(t)
			continue
		case t.DesiredState == api.TaskRemoved:
			if t.Over() || !assigned(t) {
				p.drop(t)
			}
			continue
		case perNode == (t.Slot != 0):
			p.discard(t) // of another mode
			continue
		}
		at := placeOf(t)
		if slots[at] == nil {
			slots[at] = &slot{place: at}
			p.slots = append(p.slots, slots[at])
		}
		slots[at].tasks = append(slots[at].tasks, t)
	}
	slices.SortFunc(p.slots, func(a, b *slot) int { return a.compare(b.place) })
	for _, s := range p.slots {
		slices.SortFunc(s.tasks, byAge)
	}
}

// slot finds the slot of a place, making it if it has no tasks yet.
func (p *pass) slot(at place) *slot {
	i, found := slices.BinarySearchFunc(p.slots, at, func(s *slot, at place) int { return s.compare(at) })
	if !found {
		p.slots = slices.Insert(p.slots, i, &slot{place: at})
	}
	return p.slots[i]
}

// change puts a changed copy of a slot's task in its place.
func (p *pass) change(s *slot, t *api.Task, edit func(*api.Task)) *api.Task {
	next := *t
	edit(&next)
	s.tasks[slices.Index(s.tasks, t)] = &next
	p.put(&next)
	return &next
}

// retire wants a task to end and be kept as history. One that its node was
// never told of leaves nothing to remember.
func (p *pass) retire(s *slot, t *api.Task) {
	if !wanted(t) {
		return
	}
	if !assigned(t) {
		s.tasks = slices.DeleteFunc(s.tasks, func(o *api.Task) bool { return o == t })
		p.drop(t)
		return
	}
	p.change(s, t, func(t *api.Task) { t.DesiredState = api.TaskShutdown })
}

// discard wants a task to end and be forgotten.
func (p *pass) discard(t *api.Task) {
	switch {
	case t.Over() || !assigned(t):
		p.drop(t)
	case t.DesiredState != api.TaskRemoved:
		next := *t
		next.DesiredState = api.TaskRemoved
		p.put(&next)
	}
}

// remove ends a service's tasks, and the service once nothing of it runs where
// it could be stopped. What is on a node that is down goes from the record: the
// node stops it when it is back, because it is no longer assigned.
func (p *pass) remove() {
	left := false
	for t := range p.v.TasksOf(p.s.ID) {
		if p.lost(t.NodeID) {
			p.drop(t)
			continue
		}
		p.discard(t)
		left = left || !t.Over() && assigned(t)
	}
	if !left {
		p.drop(p.s)
	}
}

// lost reports whether nothing can be said to the node now: it is down, or no
// member any more.
func (p *planner) lost(id api.NodeID) bool {
	if id == "" {
		return false
	}
	node := p.v.Node(id)
	return node == nil || node.Status.State == api.NodeDown
}

// forget deletes the slots' oldest ended tasks beyond what the fleet keeps.
func (p *pass) forget() {
	keep := api.DefaultTaskHistory
	if c := p.v.Cluster(); c != nil {
		keep = c.Spec.Retention()
	}
	for _, s := range p.slots {
		past := 0
		for _, t := range slices.Backward(s.tasks) {
			if wanted(t) || p.s.Completes(t) {
				continue
			}
			if past++; past > keep && t.Over() {
				p.drop(t)
			}
		}
	}
}

// outdated reports whether the task is made of something else than what the
// spec says now. Where it may run is not what it is made of: that is judged by
// the spec of the moment for every task.
func (p *pass) outdated(t *api.Task) bool {
	same, known := p.bySpec[t.SpecVersion]
	if !known {
		same = p.s.Current(t)
		p.bySpec[t.SpecVersion] = same
	}
	return !same
}

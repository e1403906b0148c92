package orchestrator

import (
	"cmp"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/scheduler"
)

// scale gives a replicated service as many slots as its spec wants.
func (p *pass) scale() {
	var held []*slot
	for _, s := range p.slots {
		if s.current() != nil {
			held = append(held, s)
		}
	}
	replicas := int(p.s.Spec.Replicas())
	if len(held) > replicas {
		p.giveUp(held, len(held)-replicas)
	}
	for number := 1; len(held) < replicas; number++ {
		s := p.slot(place{number: number})
		if s.current() == nil {
			p.create(s, nil)
			held = append(held, s)
		}
	}
	p.vacate(func(*slot) bool { return false })
}

// vacate forgets slots that nobody holds: what is left of them is of no use,
// unless kept says that it is.
func (p *pass) vacate(kept func(*slot) bool) {
	p.slots = slices.DeleteFunc(p.slots, func(s *slot) bool {
		if s.current() != nil || kept(s) {
			return false
		}
		for _, t := range s.tasks {
			p.discard(t)
		}
		return true
	})
}

// giveUp gives up n slots: first those that don't run, then one after the
// other from the node that has the most, the highest number first.
func (p *pass) giveUp(held []*slot, n int) {
	load := map[api.NodeID]int{}
	for _, s := range held {
		load[s.current().NodeID]++
	}
	for range n {
		victim := slices.MaxFunc(held, func(a, b *slot) int {
			ta, tb := a.current(), b.current()
			return cmp.Or(
				boolCompare(!running(ta), !running(tb)),
				cmp.Compare(load[ta.NodeID], load[tb.NodeID]),
				a.compare(b.place))
		})
		load[victim.current().NodeID]--
		held = slices.DeleteFunc(held, func(s *slot) bool { return s == victim })
		for _, t := range victim.tasks {
			p.discard(t)
		}
		p.slots = slices.DeleteFunc(p.slots, func(s *slot) bool { return s == victim })
	}
}

// running reports whether the task runs as it should.
func running(t *api.Task) bool { return t.Status.State == api.TaskRunning && wanted(t) }

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// cover gives a global service a task on every node that it is meant for. A
// node that is down keeps its task: it goes on when the node is back.
func (p *pass) cover() {
	for node := range p.v.Nodes.All() {
		s := p.slot(place{node: node.ID})
		switch {
		case !p.fits(node):
			for _, t := range slices.Clone(s.tasks) {
				p.retire(s, t)
			}
		case s.current() == nil && p.covers(node.ID):
			p.create(s, nil)
		case s.current() != nil && p.deprived(node, s.current()):
			p.retire(s, s.current())
		}
	}
}

// fits reports whether a node may keep tasks of the service.
func (p *pass) fits(node *api.Node) bool {
	return node.Spec.Availability != api.AvailabilityDrain && p.constraints.Match(node)
}

// equipped reports whether a node has the devices and generic resources that a
// task of the spec asks for, whoever holds them now.
func equipped(node *api.Node, spec api.TaskSpec) bool {
	if _, lacks := node.Description.Lacks(spec.ContainerSpec.Devices); lacks {
		return false
	}
	return node.Description.HasGeneric(spec)
}

// deprived reports whether a task's node has lost what the task needs of it, or
// was given. A task is judged by its own spec, not by one that an update has yet
// to bring to it.
func (p *pass) deprived(node *api.Node, t *api.Task) bool {
	return !equipped(node, t.Spec) || assigned(t) && scheduler.Dispossessed(p.v, t)
}

// takesNew reports whether a node that fits takes new tasks now.
func takesNew(node *api.Node) bool {
	return node.Status.State == api.NodeReady && node.Spec.Availability != api.AvailabilityPause
}

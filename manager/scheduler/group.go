package scheduler

import (
	"container/heap"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
)

// group places tasks that ask for the same: nodes that can't take one of them
// are ruled out for all, and the rest lie on a heap, the emptiest on top.
type group struct {
	placer *placer
	head   *api.Task
	rules  *rules
	counts []int // of the service's wanted tasks, by node index
	root   *branch
	path   []*branch    // from the leaf with the best node to the root
	faulty map[int]bool // by node index, for all; nil for none
	faults map[int]int  // the same, for the task at hand
	held   map[int]int  // how many of its volumes a node holds, by node index; nil for none
}

func (p *placer) newGroup(t *api.Task) *group {
	g := &group{placer: p, head: t, rules: p.rulesOf(t), counts: p.fleet.countOf(t.ServiceID)}
	g.blame()
	g.held = p.held(t)
	g.root = g.grow(p.fleet.nodes, g.rules.spread)
	return g
}

// same reports whether the group places the task too.
func (g *group) same(t *api.Task) bool {
	return g.placer.alike(g.head, t)
}

// of reports whether the rules, made from another task of its service and
// version, are the task's too: a moved one may have been given other
// constraints since.
func (r *rules) of(t *api.Task) bool {
	var placement api.Placement
	if t.Spec.Placement != nil {
		placement = *t.Spec.Placement
	}
	return r.maxReplicas == placement.MaxReplicas && r.need.Equal(reserved(t)) && slices.Equal(r.ports, t.Ports) &&
		slices.Equal(r.platforms, placement.Platforms) && slices.Equal(r.devices, t.Spec.ContainerSpec.Devices) &&
		slices.EqualFunc(r.networks, t.Spec.Networks, func(a, b api.NetworkAttachment) bool { return a.ID == b.ID }) &&
		slices.Equal(r.texts, placement.Constraints) && slices.Equal(r.spread, spreads(placement.Preferences))
}

// blame finds the nodes that are faulty for the service's version. Times are of
// the fleet: a board whose clock is off is at worst not preferred.
func (g *group) blame() {
	failures := map[int]int{}
	since := g.placer.v.Time.Add(-api.RecentFailurePeriod)
	for t := range g.placer.v.TasksOf(g.head.ServiceID) {
		n := g.placer.fleet.node(t.NodeID)
		if n != nil && t.SpecVersion == g.head.SpecVersion && !t.Status.Timestamp.Before(since) {
			failures[n.index] += failuresOf(t)
		}
	}
	for index, count := range failures {
		if count >= api.FaultyAfter {
			if g.faulty == nil {
				g.faulty = map[int]bool{}
			}
			g.faulty[index] = true
		}
	}
}

// failuresOf counts the attempts of a task that failed lately, at the time of its
// status.
func failuresOf(t *api.Task) int {
	if failed(t) {
		return max(1, t.Status.RecentFailures)
	}
	return t.Status.RecentFailures
}

func failed(t *api.Task) bool {
	return t.Status.State == api.TaskRejected || t.Status.State == api.TaskFailed
}

// prefer makes the nodes on which the slot's tasks of this version failed the
// last choice for its next one, and those that hold its volumes the first.
func (g *group) prefer(t *api.Task) {
	if t != g.head && ownVolumes(t) {
		g.held = g.placer.held(t)
		defer g.root.again()
	}
	var faults map[int]int
	if t.Failures > 0 {
		faults = g.slotFaults(t)
	}
	if faults == nil && g.faults == nil {
		return
	}
	g.faults = faults
	g.root.again()
}

// slotFaults counts the failures that the slot's history has, by node index.
func (g *group) slotFaults(t *api.Task) map[int]int {
	faults := map[int]int{}
	for other := range g.placer.v.TasksOf(t.ServiceID) {
		bad := failed(other) || other.Status.RecentFailures >= api.FaultyAfter
		if n := g.placer.fleet.node(other.NodeID); n != nil && bad && other.Slot == t.Slot && other.SpecVersion == t.SpecVersion {
			faults[n.index]++
		}
	}
	return faults
}

// best is the node that is next to be tried; nil if none is left.
func (g *group) best() *node {
	if g.path = g.root.best(); g.path == nil {
		return nil
	}
	return g.path[0].leaf.nodes[0]
}

// exclude rules the best node out.
func (g *group) exclude() { heap.Pop(&g.path[0].leaf) }

// placed notes that the best node took a task.
func (g *group) placed() {
	heap.Fix(&g.path[0].leaf, 0)
	for _, b := range g.path {
		b.tasks++
	}
}

package scheduler

import (
	"cmp"
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
	heap   nodeHeap
}

func (p *placer) newGroup(t *api.Task) *group {
	g := &group{placer: p, head: t, rules: p.rulesOf(t), counts: p.fleet.countOf(t.ServiceID)}
	g.heap.counts = g.counts
	for _, n := range p.fleet.nodes {
		if g.rules.static(n).ok() {
			g.heap.nodes = append(g.heap.nodes, n)
		}
	}
	heap.Init(&g.heap)
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
	return r.maxReplicas == placement.MaxReplicas && r.need == reserved(t) && slices.Equal(r.ports, t.Ports) &&
		slices.Equal(r.platforms, placement.Platforms) &&
		slices.Equal(r.texts, placement.Constraints)
}

// prefer makes the nodes on which the slot's tasks of this version failed the
// last choice for its next one.
func (g *group) prefer(t *api.Task) {
	var faults map[int]int
	if t.Failures > 0 {
		faults = g.faults(t)
	}
	if faults == nil && g.heap.faults == nil {
		return
	}
	g.heap.faults = faults
	heap.Init(&g.heap)
}

// faults counts the failures that the slot's history has, by node index.
func (g *group) faults(t *api.Task) map[int]int {
	faults := map[int]int{}
	for other := range g.placer.v.TasksOf(t.ServiceID) {
		failed := other.Status.State == api.TaskRejected || other.Status.State == api.TaskFailed
		if n := g.placer.fleet.byID[other.NodeID]; n != nil && failed && other.Slot == t.Slot && other.SpecVersion == t.SpecVersion {
			faults[n.index]++
		}
	}
	return faults
}

// best is the node that is next to be tried; nil if none is left.
func (g *group) best() *node {
	if len(g.heap.nodes) == 0 {
		return nil
	}
	return g.heap.nodes[0]
}

// exclude rules the best node out.
func (g *group) exclude() { heap.Pop(&g.heap) }

// placed notes that the best node took a task.
func (g *group) placed() { heap.Fix(&g.heap, 0) }

// nodeHeap orders nodes by faults, tasks of the service, all tasks, and ID.
type nodeHeap struct {
	nodes  []*node
	counts []int
	faults map[int]int // by node index; nil for none
}

func (h *nodeHeap) Len() int      { return len(h.nodes) }
func (h *nodeHeap) Swap(i, j int) { h.nodes[i], h.nodes[j] = h.nodes[j], h.nodes[i] }
func (h *nodeHeap) Push(x any)    { h.nodes = append(h.nodes, x.(*node)) }

func (h *nodeHeap) Pop() any {
	last := len(h.nodes) - 1
	n := h.nodes[last]
	h.nodes = h.nodes[:last]
	return n
}

func (h *nodeHeap) Less(i, j int) bool {
	a, b := h.nodes[i], h.nodes[j]
	return cmp.Or(cmp.Compare(h.faults[a.index], h.faults[b.index]), cmp.Compare(h.counts[a.index], h.counts[b.index]),
		cmp.Compare(a.total, b.total), cmp.Compare(a.index, b.index)) < 0
}

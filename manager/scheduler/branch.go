package scheduler

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
)

// branch is a part of the fleet that has the same values of what the tasks of a
// group prefer to be spread over. Without preferences there is one.
type branch struct {
	tasks int       // of the service, wanted, on nodes below
	parts []*branch // by value; none in a leaf
	leaf  nodeHeap  // nodes that may take tasks
}

// grow divides nodes by what is to be spread over, the first preference first.
func (g *group) grow(nodes []*node, over []api.SpreadOver) *branch {
	b := &branch{}
	for _, n := range nodes {
		b.tasks += g.counts[n.index]
	}
	if len(over) == 0 {
		b.leaf.group = g
		for _, n := range nodes {
			if g.rules.static(n).ok() {
				b.leaf.nodes = append(b.leaf.nodes, n)
			}
		}
		heap.Init(&b.leaf)
		return b
	}
	values, byValue := divide(nodes, over[0])
	for _, value := range values {
		b.parts = append(b.parts, g.grow(byValue[value], over[1:]))
	}
	return b
}

// divide sorts nodes by what they have of what is spread over.
func divide(nodes []*node, over api.SpreadOver) (values []string, byValue map[string][]*node) {
	byValue = map[string][]*node{}
	for _, n := range nodes {
		value := over.Value(n.Node)
		byValue[value] = append(byValue[value], n)
	}
	return slices.Sorted(maps.Keys(byValue)), byValue
}

// best is the path to the leaf whose first node is next to be tried; nil if no
// node is left. Of parts, the one with the fewest tasks comes first, unless its
// node is known to be bad for the task.
func (b *branch) best() []*branch {
	if b.parts == nil {
		if len(b.leaf.nodes) == 0 {
			return nil
		}
		return []*branch{b}
	}
	var chosen []*branch
	for _, part := range b.parts {
		path := part.best()
		if path != nil && (chosen == nil || part.before(path, chosen)) {
			chosen = path
		}
	}
	if chosen == nil {
		return nil
	}
	return append(chosen, b)
}

// before compares two parts of one branch by the paths to their best leaves.
func (b *branch) before(path, other []*branch) bool {
	h, o := &path[0].leaf, &other[0].leaf
	g, x, y := h.group, h.nodes[0], o.nodes[0]
	return cmp.Or(g.bad(x, y), cmp.Compare(b.tasks, other[len(other)-1].tasks), g.compare(x, y)) < 0
}

// again puts the leaves in order after what is bad has changed.
func (b *branch) again() {
	heap.Init(&b.leaf)
	for _, part := range b.parts {
		part.again()
	}
}

// nodeHeap has the node that is next to be tried on top.
type nodeHeap struct {
	group *group
	nodes []*node
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

func (h *nodeHeap) Less(i, j int) bool { return h.group.compare(h.nodes[i], h.nodes[j]) < 0 }

// compare orders nodes by how bad they are for the task, tasks of the service,
// all tasks, and ID.
func (g *group) compare(a, b *node) int {
	if c := g.bad(a, b); c != 0 {
		return c
	}
	if c := cmp.Compare(g.counts[a.index], g.counts[b.index]); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.total, b.total), cmp.Compare(a.index, b.index))
}

// bad orders nodes by how much of the task's data they lack, and then by what
// failed there: those that are faulty for the service come last, before them
// those on which the slot failed.
func (g *group) bad(a, b *node) int {
	if c := cmp.Compare(g.held[b.index], g.held[a.index]); c != 0 {
		return c
	}
	if g.faulty == nil && g.faults == nil {
		return 0
	}
	if g.faulty[a.index] != g.faulty[b.index] {
		if g.faulty[a.index] {
			return 1
		}
		return -1
	}
	return cmp.Compare(g.faults[a.index], g.faults[b.index])
}

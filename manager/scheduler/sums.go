package scheduler

import (
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// Sums are what the nodes of one view hold. They never change: Update makes
// those of another view, and sums only the nodes anew that differ, so that a
// leader which keeps them looks at no more of a large fleet than what changed.
type Sums struct {
	nodes []*node // in order of ID
	index map[api.NodeID]int
}

// Sum sums all nodes of a view.
func Sum(v *store.View) *Sums {
	s := &Sums{index: make(map[api.NodeID]int, v.Nodes.Len())}
	for n := range v.Nodes.All() {
		s.index[n.ID] = len(s.nodes)
		s.nodes = append(s.nodes, sum(v, n, len(s.nodes)))
	}
	return s
}

// sum looks at nothing but the node and its tasks, which is what Update relies on.
func sum(v *store.View, of *api.Node, index int) *node {
	n := &node{Node: of, index: index}
	for t := range v.TasksOn(of.ID) {
		switch {
		case waits(t):
			n.waiting = append(n.waiting, t)
		case !t.Over() && !t.Status.State.Before(api.TaskAssigned):
			n.take(t, swapping(v, t))
		}
	}
	return n
}

// Update returns the sums of a view that differs by the changes from the one
// that s are of.
func (s *Sums) Update(v *store.View, changes []store.Change) *Sums {
	if len(changes) == 0 {
		return s
	}
	touched := map[api.NodeID]bool{}
	for _, c := range changes {
		for _, obj := range []api.Object{c.Old, c.New} {
			switch obj := obj.(type) {
			case *api.Node:
				touched[obj.ID] = true
			case *api.Task:
				touched[obj.NodeID] = true
			}
		}
	}
	delete(touched, "")
	for id := range touched {
		if _, known := s.index[id]; known != (v.Node(id) != nil) {
			return Sum(v) // a member came or went
		}
	}
	next := &Sums{nodes: slices.Clone(s.nodes), index: s.index}
	for id := range touched {
		if i, known := s.index[id]; known {
			next.nodes[i] = sum(v, v.Node(id), i)
		}
	}
	return next
}

// waits reports whether a task has yet to be placed, or checked against the node
// that it has from birth.
func waits(t *api.Task) bool {
	return t.Status.State.Before(api.TaskAssigned) && t.DesiredState.Before(api.TaskDraining)
}

// waiting lists the tasks to place, in no order.
func (s *Sums) waiting(v *store.View) (list []*api.Task) {
	for t := range v.TasksOn("") {
		if waits(t) {
			list = append(list, t)
		}
	}
	for _, n := range s.nodes {
		list = append(list, n.waiting...)
	}
	return list
}

// fleet is the sums for a placer to change.
func (s *Sums) fleet(v *store.View) *fleet {
	f := &fleet{v: v, nodes: make([]*node, len(s.nodes)), index: s.index, counts: map[api.ServiceID][]int{}}
	copies := make([]node, len(s.nodes))
	ingress := ingressPorts(v)
	for i, n := range s.nodes {
		copies[i] = *n
		copies[i].shared, copies[i].ingress = true, ingress
		f.nodes[i] = &copies[i]
	}
	return f
}

// node finds a node by ID; nil if there is none.
func (f *fleet) node(id api.NodeID) *node {
	if i, known := f.index[id]; known {
		return f.nodes[i]
	}
	return nil
}

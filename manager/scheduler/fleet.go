package scheduler

import (
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// fleet is what the nodes hold: sums, kept up to date with every placement.
type fleet struct {
	v      *store.View
	nodes  []*node // in order of ID
	index  map[api.NodeID]int
	counts map[api.ServiceID][]int // by node index: wanted tasks of a service
}

// node is a node and what is taken of it.
type node struct {
	*api.Node
	index int
	used  api.Resources
	ports map[port]int // how many tasks hold it; nil until one does
	total int          // tasks that hold something here
	// waiting are tasks that have the node from birth and are yet to be placed.
	waiting []*api.Task
	generic holdings
	shared  bool // ports and generic are another's, too: see own
	ingress map[port]bool
}

// port is a port of a board.
type port struct {
	protocol api.Protocol
	number   uint16
}

// ingressPorts are published on every board, so that none is picked for a task.
func ingressPorts(v *store.View) map[port]bool {
	var ports map[port]bool
	for s := range v.Services.All() {
		for _, p := range s.Spec.EndpointSpec.Published(api.PublishIngress) {
			if ports == nil {
				ports = map[port]bool{}
			}
			ports[port{p.Protocol, p.PublishedPort}] = true
		}
	}
	return ports
}

// swapping is the task whose place t is taking on one node: only one of them
// runs at a time, so what both hold is counted once. Nil if there is none.
func swapping(v *store.View, t *api.Task) *api.Task {
	if t.Replaces == "" || t.Status.Attempt > 1 || !t.Status.State.Before(api.TaskStarting) {
		return nil
	}
	old := v.Task(t.Replaces)
	if old == nil || old.NodeID != t.NodeID || old.Over() || old.DesiredState.Before(api.TaskDraining) {
		return nil
	}
	return old
}

// take counts a task as being on the node, beside the one it swaps with, which
// is counted by itself.
func (n *node) take(t, swapped *api.Task) {
	need := reserved(t)
	if swapped != nil {
		has := reserved(swapped)
		need.NanoCPUs = max(0, need.NanoCPUs-has.NanoCPUs)
		need.MemoryBytes = max(0, need.MemoryBytes-has.MemoryBytes)
	} else {
		n.total++
	}
	n.used.NanoCPUs += need.NanoCPUs
	n.used.MemoryBytes += need.MemoryBytes
	n.holdGeneric(t, swapped, 1)
	for _, p := range t.Ports {
		if p.PublishedPort == 0 {
			continue
		}
		n.hold(port{p.Protocol, p.PublishedPort}, 1)
	}
}

// hold counts holders of a port.
func (n *node) hold(p port, more int) {
	n.own()
	if n.ports == nil {
		n.ports = map[port]int{}
	}
	n.ports[p] += more
}

// give takes a task off the node that was counted by itself.
func (n *node) give(t *api.Task) {
	need := reserved(t)
	n.total--
	n.used.NanoCPUs -= need.NanoCPUs
	n.used.MemoryBytes -= need.MemoryBytes
	n.holdGeneric(t, nil, -1)
	for _, p := range t.Ports {
		if p.PublishedPort != 0 {
			n.hold(port{p.Protocol, p.PublishedPort}, -1)
		}
	}
}

// countOf is how many wanted tasks of a service each node has.
func (f *fleet) countOf(id api.ServiceID) []int {
	if counts := f.counts[id]; counts != nil {
		return counts
	}
	counts := make([]int, len(f.nodes))
	for t := range f.v.TasksOf(id) {
		if n := f.node(t.NodeID); n != nil && t.Live() && !t.Status.State.Before(api.TaskAssigned) {
			counts[n.index]++
		}
	}
	f.counts[id] = counts
	return counts
}

func reserved(t *api.Task) api.Resources {
	if r := t.Spec.Resources; r != nil && r.Reservations != nil {
		return *r.Reservations
	}
	return api.Resources{}
}

// free reports whether a port of the board is free, once swapped has ended.
func (n *node) free(p port, swapped *api.Task) bool {
	holders := n.ports[p]
	if holders == 0 || swapped == nil {
		return holders == 0
	}
	for _, held := range swapped.Ports {
		if held.Protocol == p.protocol && held.PublishedPort == p.number {
			holders--
		}
	}
	return holders <= 0
}

// lowest is the lowest port of the dynamic range that is free and not in
// taken; 0 if there is none.
func (n *node) lowest(protocol api.Protocol, swapped *api.Task, taken map[port]bool) uint16 {
	for number := uint16(api.DynamicPortFirst); number <= api.DynamicPortLast; number++ {
		if p := (port{protocol, number}); !taken[p] && !n.ingress[p] && n.free(p, swapped) {
			return number
		}
	}
	return 0
}

// choosePorts fills in the board's ports that are left to choose. Room has
// found that there are enough.
func (n *node) choosePorts(ports []api.PortConfig, swapped *api.Task) []api.PortConfig {
	if len(ports) == 0 {
		return ports
	}
	chosen := make([]api.PortConfig, len(ports))
	taken := map[port]bool{}
	for i, p := range ports {
		chosen[i] = p
		if p.PublishedPort != 0 {
			taken[port{p.Protocol, p.PublishedPort}] = true
		}
	}
	for i, p := range chosen {
		if p.PublishedPort == 0 {
			p.PublishedPort = n.lowest(p.Protocol, swapped, taken)
			taken[port{p.Protocol, p.PublishedPort}] = true
			chosen[i] = p
		}
	}
	return chosen
}

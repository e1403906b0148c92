package scheduler

import (
	"cmp"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// Move is a task that had better be on another node.
type Move struct {
	Task     *api.Task
	From, To api.NodeID
	// Had and Has are how many of the service's tasks the two nodes have before
	// the move.
	Had, Has int
}

// Rebalance lists the moves that even out a replicated service, by the rule that
// new tasks are placed by: first over what its preferences spread it over, then
// over nodes, then by all that nodes have. Each move makes the spread better and
// can be made once those before it were; after all of them, no other would. At
// most so many are listed, 0 for all.
//
// Only tasks that run move, or are about to, and only to nodes that can take
// them. One with a named volume stays with its data.
func Rebalance(v *store.View, id api.ServiceID, most int) []Move {
	b := newBalancer(v, id)
	var moves []Move
	for most == 0 || len(moves) < most {
		better, found := b.best()
		if !found {
			break
		}
		moves = append(moves, b.make(better))
	}
	return moves
}

// balancer is one call of Rebalance under way.
type balancer struct {
	*placer
	counts  []int // of the service's tasks, by node index
	leaves  []*leaf
	movable map[int][]*api.Task // by node index, the first to go first
	faulty  map[int]bool        // by node index
	rules   *rules              // of a task that takes over: all are alike
	ports   []api.PortConfig    // that it asks for
	// able remembers whether a node can take such a task now, by node index.
	able map[int]bool
}

// leaf is the nodes that have the same values of all that is spread over.
type leaf struct {
	path  []*share // a branch for each preference, the first first
	nodes []*node  // the fullest first
}

// share is how many of the service's tasks a branch has.
type share struct{ tasks int }

func newBalancer(v *store.View, id api.ServiceID) *balancer {
	b := &balancer{
		placer: &placer{v: v, fleet: Sum(v).fleet(v)}, movable: map[int][]*api.Task{}, able: map[int]bool{},
	}
	service := v.Service(id)
	if service == nil {
		return b
	}
	next := &api.Task{
		ServiceID: id, Spec: service.Spec.TaskTemplate, SpecVersion: service.SpecVersion,
		Ports: service.Spec.EndpointSpec.Published(api.PublishHost),
	}
	b.rules, b.ports = b.rulesOf(next), next.Ports
	b.counts = b.fleet.countOf(id)
	b.leave()
	replaced := replaced(v, id)
	for t := range v.TasksOf(id) {
		n := b.fleet.node(t.NodeID)
		if n != nil && up(t) && t.Slot > 0 && !replaced[t.ID] && !bound(t) {
			b.movable[n.index] = append(b.movable[n.index], t)
		}
	}
	for _, tasks := range b.movable {
		slices.SortFunc(tasks, func(a, b *api.Task) int { return cmp.Compare(b.Slot, a.Slot) })
	}
	g := &group{placer: b.placer, head: next}
	g.blame()
	b.faulty = g.faulty
	b.grow(b.fleet.nodes, b.rules.spread, nil)
	return b
}

// up reports whether a task runs or is on its way to: that it has come to run is
// stored a while after it did.
func up(t *api.Task) bool {
	return t.Live() && !t.Status.State.Before(api.TaskAssigned) && !api.TaskRunning.Before(t.Status.State)
}

// bound reports whether a task has data on its node that would not move along.
func bound(t *api.Task) bool {
	return slices.ContainsFunc(t.Spec.ContainerSpec.Mounts, func(m api.Mount) bool {
		return m.Type == api.MountVolume && m.Source != ""
	})
}

// replaced are the service's tasks that another one is to take over from.
func replaced(v *store.View, id api.ServiceID) map[api.TaskID]bool {
	list := map[api.TaskID]bool{}
	for t := range v.TasksOf(id) {
		if t.Replaces != "" && t.Live() {
			list[t.Replaces] = true
		}
	}
	return list
}

// leave counts tasks that are giving way to one on another node as gone.
func (b *balancer) leave() {
	for t := range b.v.Tasks.All() {
		if t.Replaces == "" || !t.Live() || t.Status.State.Before(api.TaskAssigned) {
			continue
		}
		old := b.v.Task(t.Replaces)
		if old == nil || old.Over() || old.NodeID == t.NodeID || old.Status.State.Before(api.TaskAssigned) {
			continue
		}
		if n := b.fleet.node(old.NodeID); n != nil {
			n.total--
			if counts := b.fleet.counts[old.ServiceID]; counts != nil && old.Live() {
				counts[n.index]--
			}
		}
	}
}

// grow divides nodes by what is to be spread over.
func (b *balancer) grow(nodes []*node, over []api.SpreadOver, path []*share) {
	if len(over) == 0 {
		l := &leaf{path: path, nodes: nodes}
		b.sort(l)
		b.leaves = append(b.leaves, l)
		return
	}
	values, parts := divide(nodes, over[0])
	for _, value := range values {
		s := &share{}
		for _, n := range parts[value] {
			s.tasks += b.counts[n.index]
		}
		b.grow(parts[value], over[1:], append(slices.Clone(path), s))
	}
}

func (b *balancer) sort(l *leaf) {
	slices.SortFunc(l.nodes, func(x, y *node) int {
		return cmp.Or(cmp.Compare(b.counts[y.index], b.counts[x.index]), cmp.Compare(y.total, x.total), cmp.Compare(y.index, x.index))
	})
}

// step is a move that could be made.
type step struct {
	task     *api.Task
	from, to *node
	out, in  *leaf
	gain     []int
}

// best is the move that evens out the most; false if none does.
func (b *balancer) best() (better step, found bool) {
	for _, out := range b.leaves {
		for _, in := range b.leaves {
			if s, ok := b.between(out, in, better.gain); ok {
				better, found = s, true
			}
		}
	}
	return better, found
}

// between is the best move from one leaf to another that gains more than the
// given. Nodes are in order, so the first that can be made is.
func (b *balancer) between(out, in *leaf, least []int) (better step, found bool) {
	for _, from := range out.nodes {
		if len(b.movable[from.index]) == 0 {
			continue
		}
		for i, to := range slices.Backward(in.nodes) {
			gain := b.gain(out, in, from, to)
			if !gains(gain) || least != nil && slices.Compare(gain, least) <= 0 {
				if i == len(in.nodes)-1 {
					return better, found // nor do the emptier ones among those to leave
				}
				break
			}
			if t := b.taker(from, to); t != nil {
				better, found, least = step{t, from, to, out, in, gain}, true, gain
				break
			}
		}
	}
	return better, found
}

// gain is by how much a move from one node to another evens out each thing that
// counts, the first first: two that differ by one only change places.
func (b *balancer) gain(out, in *leaf, from, to *node) []int {
	gain := make([]int, 0, len(out.path)+2)
	for i, x := range out.path {
		if y := in.path[i]; x != y {
			gain = append(gain, x.tasks-y.tasks-1)
		} else {
			gain = append(gain, 0)
		}
	}
	return append(gain, b.counts[from.index]-b.counts[to.index]-1, from.total-to.total-1)
}

// gains reports whether the first thing that a move changes gets better by it.
func gains(gain []int) bool {
	for _, g := range gain {
		if g != 0 {
			return g > 0
		}
	}
	return false
}

// taker is the first task of a node that another can take; nil if there is none.
func (b *balancer) taker(from, to *node) *api.Task {
	if from == to || b.faulty[to.index] {
		return nil
	}
	able, known := b.able[to.index]
	if !known {
		able = b.rules.static(to).ok() && b.rules.room(b.v, to, b.counts[to.index], nil).ok()
		b.able[to.index] = able
	}
	if !able {
		return nil
	}
	for _, t := range b.movable[from.index] {
		if !b.failedOn(t, to) {
			return t
		}
	}
	return nil
}

// failedOn reports whether a task of the slot and version has failed on the node.
func (b *balancer) failedOn(t *api.Task, n *node) bool {
	if t.Failures == 0 {
		return false
	}
	g := &group{placer: b.placer}
	return g.slotFaults(t)[n.index] > 0
}

// make makes the move in all that is counted.
func (b *balancer) make(s step) Move {
	m := Move{Task: s.task, From: s.from.ID, To: s.to.ID, Had: b.counts[s.from.index], Has: b.counts[s.to.index]}
	b.movable[s.from.index] = slices.DeleteFunc(b.movable[s.from.index], func(t *api.Task) bool { return t == s.task })
	s.from.give(s.task)
	next := *s.task
	next.Ports = s.to.choosePorts(b.ports, nil)
	next.GenericResources = s.to.chooseGeneric(b.rules.need.GenericResources, nil)
	s.to.take(&next, nil)
	b.counts[s.from.index]--
	b.counts[s.to.index]++
	for i := range s.out.path {
		s.out.path[i].tasks--
		s.in.path[i].tasks++
	}
	delete(b.able, s.from.index)
	delete(b.able, s.to.index)
	b.sort(s.out)
	b.sort(s.in)
	return m
}

package scheduler

import (
	"cmp"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// Result is what must change.
type Result struct{ Puts []api.Object }

// Place gives every wanted task that is not assigned yet a node and its host
// ports, or a reason why it has none. A task that has its node from birth (of
// a global service) is checked against that node alone. A task whose reason is
// the one it has already is left as it is, and so is one whose node is no member
// any more: it is about to be dropped.
func Place(v *store.View) Result { return Sum(v).Place(v) }

// Place is the function of that name, for a view whose sums s are.
func (s *Sums) Place(v *store.View) Result {
	waiting := s.waiting(v)
	if len(waiting) == 0 {
		return Result{}
	}
	inOrder(waiting)
	p := &placer{v: v, fleet: s.fleet(v)}
	// Those with a home come first, so that nobody takes what they return to.
	rest := slices.DeleteFunc(waiting, p.home)
	var g *group
	for _, t := range rest {
		if g == nil || !g.same(t) {
			g = p.newGroup(t)
		}
		p.place(g, t)
	}
	p.explain()
	slices.SortFunc(p.puts, func(a, b api.Object) int { return cmp.Compare(a.Key(), b.Key()) })
	return Result{Puts: p.puts}
}

// inOrder sorts tasks to place by service, version and slot.
func inOrder(list []*api.Task) {
	slices.SortFunc(list, func(a, b *api.Task) int {
		return cmp.Or(cmp.Compare(a.ServiceID, b.ServiceID), cmp.Compare(a.SpecVersion, b.SpecVersion),
			cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.ID, b.ID))
	})
}

// placer is one call of Place under way.
type placer struct {
	v     *store.View
	fleet *fleet
	puts  []api.Object
	rules map[ruleKey]*rules
	// unplaced tasks are told why once everything else has its place, so that
	// the reason still holds when they are looked at again.
	unplaced []*api.Task
}

// home puts a task where it belongs: the node it has from birth, the one that it
// is moved to, or that of the task it swaps places with. It reports whether the task is dealt with.
func (p *placer) home(t *api.Task) bool {
	swapped := p.swapped(t)
	if n := p.fleet.node(t.Preferred); n != nil && t.NodeID == "" && p.fits(n, t, swapped).ok() {
		p.assign(n, t, swapped)
		return true
	}
	switch {
	case t.NodeID != "":
		if n := p.fleet.node(t.NodeID); p.fits(n, t, swapped).ok() {
			p.assign(n, t, swapped)
		} else {
			p.unplaced = append(p.unplaced, t)
		}
		return true
	case swapped != nil:
		n := p.fleet.node(swapped.NodeID)
		if n == nil || !p.fits(n, t, swapped).ok() {
			return false
		}
		p.assign(n, t, swapped)
		return true
	default:
		return false
	}
}

// swapped is the task that t replaces, if that has not ended and was told to, or
// is told so now if t is put on its node: there its resources and ports are t's,
// since the agent stops the one before it starts the other. Nil if there is none.
func (p *placer) swapped(t *api.Task) *api.Task {
	if t.Replaces == "" {
		return nil
	}
	old := p.v.Task(t.Replaces)
	switch {
	case old == nil || old.Over():
		return nil
	case old.DesiredState.Before(api.TaskDraining) && (t.DesiredState != api.TaskReady || old.Status.State.Before(api.TaskAssigned)):
		return nil // it runs on until t does
	default:
		return old
	}
}

// fits tells why a node can't take the task, swapping places with the other.
func (p *placer) fits(n *node, t, swapped *api.Task) reason {
	r := p.rulesOf(t)
	if why := r.static(n); !why.ok() {
		return why
	}
	count := 0
	if r.maxReplicas > 0 {
		if count = p.fleet.countOf(t.ServiceID)[n.index]; givesWay(swapped, n) {
			count--
		}
	}
	return r.room(p.v, n, count, swapped)
}

// place puts a task on the node of its group that has the least.
func (p *placer) place(g *group, t *api.Task) {
	g.prefer(t)
	for {
		n := g.best()
		if n == nil {
			p.unplaced = append(p.unplaced, t)
			return
		}
		if !g.rules.room(p.v, n, g.counts[n.index], nil).ok() {
			g.exclude() // for all of the group: they ask for the same
			continue
		}
		p.assign(n, t, p.swapped(t))
		g.placed()
		return
	}
}

// givesWay reports whether a task that is wanted on the node no longer is once
// another has swapped places with it.
func givesWay(swapped *api.Task, n *node) bool {
	return swapped != nil && swapped.NodeID == n.ID && swapped.Live()
}

// assign puts the task on the node. It may run at once, unless it must wait for
// the end of a task on another node. On one node its agent sees to the order:
// so the task that gives way is told to end.
func (p *placer) assign(n *node, t, swapped *api.Task) {
	next := *t
	next.NodeID = n.ID
	next.Status.State, next.Status.Timestamp = api.TaskAssigned, p.v.Time
	next.Status.Message, next.Status.Err = "", ""
	elsewhere := swapped != nil && swapped.NodeID != n.ID
	if elsewhere && !p.down(swapped.NodeID) {
		next.DesiredState = api.TaskReady
	}
	if elsewhere {
		swapped = nil
	}
	gives := givesWay(swapped, n)
	if gives {
		old := *swapped
		old.DesiredState = api.TaskShutdown
		p.puts = append(p.puts, &old)
		next.DesiredState = api.TaskRunning
	}
	next.Ports = n.choosePorts(t.Ports, swapped)
	next.GenericResources = n.chooseGeneric(reserved(t).GenericResources, swapped)
	n.take(&next, swapped)
	if !gives {
		p.fleet.countOf(t.ServiceID)[n.index]++
	}
	p.puts = append(p.puts, &next)
}

func (p *placer) down(id api.NodeID) bool {
	n := p.v.Node(id)
	return n == nil || n.Status.State == api.NodeDown
}

// explain tells every unplaced task why it is.
func (p *placer) explain() {
	var head *api.Task
	var why string
	for _, t := range p.unplaced {
		switch {
		case t.NodeID != "":
			p.waits(t, p.atHome(t))
		case head != nil && p.alike(head, t):
			p.waits(t, why)
		default:
			head, why = t, p.anywhere(t)
			p.waits(t, why)
		}
	}
}

// atHome is why a task can't be on the node it belongs to.
func (p *placer) atHome(t *api.Task) string {
	n := p.fleet.node(t.NodeID)
	return p.fits(n, t, p.swapped(t)).of(n.Name())
}

// anywhere is why a task can't be on any node.
func (p *placer) anywhere(t *api.Task) string {
	reasons := map[reason]int{}
	for _, n := range p.fleet.nodes {
		reasons[p.fits(n, t, nil)]++
	}
	return explain(reasons)
}

// alike reports whether two tasks ask for the same.
func (p *placer) alike(a, b *api.Task) bool {
	return a.ServiceID == b.ServiceID && a.SpecVersion == b.SpecVersion && p.rulesOf(a).of(b)
}

// waits records why a task has no node. It is said as the status's message,
// and as its error, which is where Docker's tables look.
func (p *placer) waits(t *api.Task, why string) {
	if t.Status.State == api.TaskPending && t.Status.Message == why && t.Status.Err == why {
		return
	}
	next := *t
	next.Status.State, next.Status.Timestamp = api.TaskPending, p.v.Time
	next.Status.Message, next.Status.Err = why, why
	p.puts = append(p.puts, &next)
}

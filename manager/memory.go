package manager

import (
	"maps"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/orchestrator"
	"github.com/edgeswarm/edgeswarm/manager/scheduler"
	"github.com/edgeswarm/edgeswarm/store"
)

// memory is what one pass leaves to the next, so that in a large fleet it looks
// only at what changed. Nothing is decided by it: a pass that knows nothing
// comes to the same, by looking at everything. The zero memory knows nothing.
type memory struct {
	// sums are of the view with that index; nil if nothing is known.
	sums  *scheduler.Sums
	index uint64
	// again are services to be planned whatever has changed: what was decided
	// of them was not stored, or was decided by reports that need not be.
	again map[api.ServiceID]bool
	// voters are raft's members as planners were last told, and whether they vote.
	voters map[api.NodeID]bool
}

// recall is the memory brought up to a view that differs by the changes from
// the one it is of; if these are not known, it knows nothing but that view.
func (m memory) recall(v *store.View, changes []store.Change, known bool) memory {
	if m.sums == nil || !known {
		return memory{sums: scheduler.Sum(v), index: v.Index}
	}
	m.sums, m.index = m.sums.Update(v, changes), v.Index
	return m
}

// dirty lists the services to plan, nil for all, where besides what is stored
// the view differs by what was said since.
func (m memory) dirty(v *store.View, changes, said []store.Change, voters map[api.NodeID]bool) map[api.ServiceID]bool {
	if m.voters == nil || !maps.Equal(m.voters, voters) {
		return nil // constraints may ask for a role
	}
	dirty := orchestrator.Dirty(v, slices.Concat(changes, said))
	if dirty != nil {
		maps.Copy(dirty, m.again)
	}
	return dirty
}

// after is the memory for the next pass, once the outcome of this one was
// stored, or was not.
func (m memory) after(out outcome, stored bool) memory {
	m.voters, m.again = out.voters, out.reported
	switch {
	case (!stored || out.limited) && out.dirty == nil:
		return memory{}
	case !stored || out.limited:
		m.again = out.dirty
	}
	return m
}

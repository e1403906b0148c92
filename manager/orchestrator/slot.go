package orchestrator

import (
	"cmp"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
)

// place is what one task of a service fills: a number of a replicated service,
// a node of a global one.
type place struct {
	number int
	node   api.NodeID
}

func (a place) compare(b place) int {
	return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.node, b.node))
}

// slot is a place with all its tasks, as they will be after the plan.
type slot struct {
	place
	tasks []*api.Task // oldest first
}

func placeOf(t *api.Task) place {
	if t.Slot != 0 {
		return place{number: t.Slot}
	}
	return place{node: t.NodeID}
}

// wanted reports whether the manager wants the task to run, now or soon.
func wanted(t *api.Task) bool { return t.DesiredState.Before(api.TaskDraining) }

// assigned reports whether the task's node may have been told of it.
func assigned(t *api.Task) bool { return t.NodeID != "" && !t.Status.State.Before(api.TaskAssigned) }

// current is the task that holds the slot, or is to: the wanted one that no
// other wanted one replaces. Nil if none is wanted.
func (s *slot) current() *api.Task {
	var current *api.Task
	for _, t := range s.tasks {
		if wanted(t) && !s.replaced(t) {
			current = t
		}
	}
	return current
}

// replaced reports whether another wanted task is to take over from t.
func (s *slot) replaced(t *api.Task) bool {
	return slices.ContainsFunc(s.tasks, func(o *api.Task) bool { return wanted(o) && o.Replaces == t.ID })
}

// predecessor is the task that still runs until the current one does
// (start-first), or until all is fetched for it; nil if there is none.
func (s *slot) predecessor(current *api.Task) *api.Task {
	for _, t := range s.tasks {
		if t != current && wanted(t) && current.Replaces == t.ID {
			return t
		}
	}
	return nil
}

// find is the slot's task of that ID, nil if it has none.
func (s *slot) find(id api.TaskID) *api.Task {
	for _, t := range s.tasks {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// byAge orders a slot's tasks by when they were made. Fleet time never runs
// backwards; those of one moment are told apart by what replaces what.
func byAge(a, b *api.Task) int {
	if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
		return c
	}
	switch {
	case b.Replaces == a.ID:
		return -1
	case a.Replaces == b.ID:
		return 1
	default:
		return cmp.Compare(a.ID, b.ID)
	}
}

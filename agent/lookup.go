package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// Standing returns how the node stands towards its leader.
func (a *Agent) Standing() Standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.standing
}

// Description returns the board's account of itself as the leader is told it.
func (a *Agent) Description() api.NodeDescription { return a.description() }

// Tasks lists the node's tasks as the agent sees them, by service, slot and ID.
func (a *Agent) Tasks() []api.TaskBrief {
	a.mu.Lock()
	tasks := a.set.tasks()
	a.mu.Unlock()
	out := make([]api.TaskBrief, 0, len(tasks))
	for _, t := range tasks {
		out = append(out, a.brief(t))
	}
	slices.SortFunc(out, func(a, b api.TaskBrief) int {
		return cmp.Or(cmp.Compare(a.ServiceName, b.ServiceName), cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func (a *Agent) brief(t *api.Task) api.TaskBrief {
	s, ok := a.outbox.get(t.ID)
	if !ok {
		s = api.TaskStatus{State: api.TaskAssigned, Message: "waits for the agent"}
		if _, err := a.health.state(); err != nil {
			s.Message = "waits for the container runtime: " + err.Error()
		}
		if t.Status.Newer(s) {
			message := s.Message
			s = t.Status
			s.Message = message
		}
	}
	return api.TaskBrief{ID: t.ID, ServiceName: t.ServiceName, Slot: t.Slot, Status: s}
}

// Found is a task of this node.
type Found struct {
	Task   *api.Task
	Status api.TaskStatus // ContainerID in it names what runs
}

// Find looks a task of this node up: by its ID, a prefix of it that no other
// has, or "service.slot". Of several in a slot it prefers the one that runs,
// else the newest. An error is an *api.Error: NotFound, or Conflict for an
// ambiguous prefix.
func (a *Agent) Find(ref string) (Found, error) {
	a.mu.Lock()
	tasks := a.set.tasks()
	a.mu.Unlock()
	if t := tasks[api.TaskID(ref)]; t != nil {
		return a.found(t), nil
	}
	var bySlot, byPrefix []Found
	for _, t := range tasks {
		if t.Slot > 0 && fmt.Sprintf("%s.%d", t.ServiceName, t.Slot) == ref {
			bySlot = append(bySlot, a.found(t))
		}
		if ref != "" && strings.HasPrefix(string(t.ID), ref) {
			byPrefix = append(byPrefix, a.found(t))
		}
	}
	switch {
	case len(bySlot) > 0:
		return slices.MaxFunc(bySlot, compareFound), nil
	case len(byPrefix) == 1:
		return byPrefix[0], nil
	case len(byPrefix) > 1:
		ids := make([]string, 0, len(byPrefix))
		for _, f := range byPrefix {
			ids = append(ids, string(f.Task.ID))
		}
		slices.Sort(ids)
		return Found{}, api.Errorf(api.Conflict, "find task", "%q fits %d tasks (%s): give more of the ID", ref, len(ids), strings.Join(ids, ", "))
	default:
		return Found{}, api.Errorf(api.NotFound, "find task", "no task %q on this node: see `edgectl node ps self`", ref)
	}
}

func (a *Agent) found(t *api.Task) Found { return Found{Task: t, Status: a.brief(t).Status} }

func compareFound(a, b Found) int {
	runs := func(f Found) int {
		if f.Status.State == api.TaskRunning {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(runs(a), runs(b)), a.Task.CreatedAt.Compare(b.Task.CreatedAt), cmp.Compare(a.Task.ID, b.Task.ID))
}

package orchestrator

import (
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// Dirty lists the services that must be planned because of what changed since
// all of them were, in a view with the changes made; nil stands for all. A plan
// of the others would decide nothing and want the same stopwatches, unless one
// of those is due.
func Dirty(v *store.View, changes []store.Change) map[api.ServiceID]bool {
	dirty := map[api.ServiceID]bool{}
	nodes := false
	for _, c := range changes {
		for _, obj := range []api.Object{c.Old, c.New} {
			switch obj := obj.(type) {
			case *api.Cluster:
				return nil
			case *api.Service:
				dirty[obj.ID] = true
			case *api.Task:
				dirty[obj.ServiceID] = true
			case *api.Node:
				nodes = true
				for t := range v.TasksOn(obj.ID) {
					dirty[t.ServiceID] = true
				}
			}
		}
	}
	for s := range v.Services.All() {
		// One that is being evened out goes by all nodes and what they have.
		if nodes && s.Spec.Mode.PerNode() || len(changes) > 0 && s.Rebalancing() {
			dirty[s.ID] = true
		}
	}
	return dirty
}

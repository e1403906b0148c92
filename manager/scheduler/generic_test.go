package scheduler

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

func drawGeneric(t *rapid.T) []api.GenericResource {
	list, err := api.ParseGenericResources(rapid.SampledFrom([][]string{
		nil, {"ssd=2"}, {"gpu=A"}, {"gpu=A", "gpu=B"}, {"gpu=B", "ssd=3"}, {"gpu=B", "gpu=C", "ssd=1"}, {"gpu=2"},
	}).Draw(t, "generic"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func drawAsked(t *rapid.T) []api.GenericResource {
	var asked []api.GenericResource
	for _, text := range rapid.SampledFrom([][]string{nil, nil, {"gpu=1"}, {"gpu=2", "ssd=1"}, {"ssd=2"}}).Draw(t, "asked") {
		r, err := api.ParseGenericRequest(text)
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, r)
	}
	return asked
}

// distinct reports whether no other task of the node has any of it by name.
func distinct(held []api.GenericResource, objects []api.Object, on api.NodeID) bool {
	for _, obj := range objects {
		if task, ok := obj.(*api.Task); ok && task.NodeID == on && shares(task.GenericResources, held) != "" {
			return false
		}
	}
	return true
}

// shares names what is in both lists by name; "" if nothing is.
func shares(a, b []api.GenericResource) string {
	for _, r := range a {
		if r.NamedResourceSpec != nil && slices.Contains(api.GenericNames(b, r.Kind()), r.NamedResourceSpec.Value) {
			return r.String()
		}
	}
	return ""
}

// generic checks what was given of a node: as much as was asked for, of what the
// node has; nothing by name to two tasks, unless they swap; and no more than
// there is, unless it was too much before.
func generic(t *rapid.T, before, after *store.View, n *api.Node) {
	its, taken := n.Description.Resources.GenericResources, map[string]int64{}
	for task := range after.TasksOn(n.ID) {
		old := after.Task(task.Replaces)
		swaps := old != nil && old.NodeID == n.ID
		for kind, amount := range amounts(task.GenericResources) {
			if swaps {
				amount = max(0, amount-api.GenericAmount(old.GenericResources, kind))
			}
			taken[kind] += amount
		}
		for other := range after.TasksOn(n.ID) {
			if shared := shares(task.GenericResources, other.GenericResources); shared != "" && task.ID != other.ID && task.Replaces != other.ID && other.Replaces != task.ID {
				t.Fatalf("%s is both %s's and %s's", shared, task.ID, other.ID)
			}
		}
		if was := before.Task(task.ID); task.Status.State != api.TaskAssigned || was.Status.State == api.TaskAssigned {
			continue
		}
		for _, ask := range reserved(task).GenericResources {
			if given := api.GenericAmount(task.GenericResources, ask.Kind()); given != ask.Amount() {
				t.Fatalf("%s asks for %s and is given %d", task.ID, ask, given)
			}
		}
		for _, r := range task.GenericResources {
			names := api.GenericNames(its, r.Kind())
			if r.NamedResourceSpec != nil && !slices.Contains(names, r.NamedResourceSpec.Value) || r.NamedResourceSpec == nil && len(names) > 0 {
				t.Fatalf("%s is given %s of %s, which has %s", task.ID, r, n.ID, api.GenericText(its))
			}
		}
	}
	for kind, amount := range taken {
		var had int64
		for task := range before.TasksOn(n.ID) {
			had += api.GenericAmount(task.GenericResources, kind)
		}
		if amount > max(had, api.GenericAmount(its, kind)) {
			t.Fatalf("%d of %s are taken on %s, which has %s", amount, kind, n.ID, api.GenericText(its))
		}
	}
}

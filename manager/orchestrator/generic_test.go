package orchestrator_test

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// drawGeneric is what a board has, or has from now on.
func drawGeneric(t *rapid.T) []api.GenericResource {
	words := rapid.SampledFrom([][]string{
		nil, {"ssd=1"}, {"ssd=3"}, {"gpu=A"}, {"gpu=B", "ssd=2"}, {"gpu=A", "gpu=B"}, {"gpu=B", "gpu=C", "ssd=1"}, {"gpu=2"},
	}).Draw(t, "generic")
	return generic(t, words...)
}

// generic is what a board has by such words.
func generic(t interface{ Fatal(...any) }, words ...string) []api.GenericResource {
	list, err := api.ParseGenericResources(words)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// drawAsked is what a service asks for.
func drawAsked(t *rapid.T) []api.GenericResource {
	var asked []api.GenericResource
	for _, text := range rapid.SampledFrom([][]string{nil, nil, {"gpu=1"}, {"gpu=2"}, {"ssd=1"}, {"gpu=1", "ssd=2"}}).Draw(t, "asked") {
		r, err := api.ParseGenericRequest(text)
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, r)
	}
	return asked
}

// possessions checks every plan: what a task is given is on its node and no
// other task's, is as much as it asks for, and is never exchanged. It counts by
// itself, and does not go by what the scheduler keeps.
func possessions(t *rapid.T, w *world, before, after *store.View) {
	for task := range after.Tasks.All() {
		old := before.Task(task.ID)
		if old != nil && len(old.GenericResources) > 0 && api.GenericText(old.GenericResources) != api.GenericText(task.GenericResources) {
			t.Fatalf("%s had %s and has %s\n%s", task.ID, api.GenericText(old.GenericResources), api.GenericText(task.GenericResources), w.log.String())
		}
		if task.Status.State.Before(api.TaskAssigned) || old != nil && !old.Status.State.Before(api.TaskAssigned) {
			continue // not placed, or not now
		}
		if r := task.Spec.Resources; r != nil && r.Reservations != nil {
			for _, ask := range r.Reservations.GenericResources {
				if has := api.GenericAmount(task.GenericResources, ask.Kind()); has != ask.Amount() {
					t.Fatalf("%s asks for %s and has %s\n%s", task.ID, ask, api.GenericText(task.GenericResources), w.log.String())
				}
			}
		}
		its := after.Node(task.NodeID).Description.Resources.GenericResources
		for _, r := range task.GenericResources {
			names := api.GenericNames(its, r.Kind())
			if r.NamedResourceSpec != nil && !slices.Contains(names, r.NamedResourceSpec.Value) || r.NamedResourceSpec == nil && len(names) > 0 {
				t.Fatalf("%s is given %s, and %s has %s\n%s", task.ID, r, task.NodeID, api.GenericText(its), w.log.String())
			}
			if held := heldBeside(t, w, after, task, r); held+api.GenericAmount(task.GenericResources, r.Kind()) > api.GenericAmount(its, r.Kind()) {
				t.Fatalf("%s is given %s, and others hold %d of what %s has, %s\n%s", task.ID, r, held, task.NodeID, api.GenericText(its), w.log.String())
			}
		}
	}
}

// heldBeside is how much of the kind others may hold while the task runs; none
// of them may have r itself. The one that gives way to it on its node is done by then.
func heldBeside(t *rapid.T, w *world, v *store.View, task *api.Task, r api.GenericResource) (held int64) {
	for o := range v.TasksOn(task.NodeID) {
		if o.ID == task.ID || o.Over() || o.Status.State.Before(api.TaskAssigned) || o.ID == task.Replaces && !o.Live() {
			continue
		}
		if o.Replaces != "" && o.Status.State.Before(api.TaskStarting) {
			if old := v.Task(o.Replaces); old != nil && old.NodeID == o.NodeID && !old.Over() && !old.Live() {
				held += max(0, api.GenericAmount(o.GenericResources, r.Kind())-api.GenericAmount(old.GenericResources, r.Kind()))
				continue // it waits for one that is counted
			}
		}
		held += api.GenericAmount(o.GenericResources, r.Kind())
	}
	for o := range v.TasksOn(task.NodeID) {
		if r.NamedResourceSpec != nil && o.ID != task.ID && !o.Over() && !(o.ID == task.Replaces && !o.Live()) &&
			slices.Contains(api.GenericNames(o.GenericResources, r.Kind()), r.NamedResourceSpec.Value) {
			t.Fatalf("%s is given %s, which %s has\n%s", task.ID, r, o.ID, w.log.String())
		}
	}
	return held
}

// noneShared checks what runs: no two tasks of a board have the same by name.
func noneShared(t *rapid.T, w *world) {
	holders := map[string]api.TaskID{}
	for id, l := range w.local {
		task := w.v.Task(id)
		if task == nil || w.off[l.node] || l.status.State != api.TaskRunning {
			continue
		}
		for _, r := range task.GenericResources {
			if r.NamedResourceSpec == nil {
				continue
			}
			key := string(l.node) + " " + r.String()
			if other, shared := holders[key]; shared {
				t.Fatalf("%s: both %s and %s run with it\n%s", key, other, id, w.log.String())
			}
			holders[key] = id
		}
	}
}

// allHave checks, long after the last event, that what tasks hold is there; but
// for those that run on, start-first, because what is to replace them fits nowhere, or fails.
func allHave(t *rapid.T, w *world) {
	stays := map[api.TaskID]bool{}
	for task := range w.v.Tasks.All() {
		if task.DesiredState.Before(api.TaskDraining) && !running(task) {
			stays[task.Replaces] = true
		}
	}
	for n := range w.v.Nodes.All() {
		held := map[string]int64{}
		its := n.Description.Resources.GenericResources
		for task := range w.v.TasksOn(n.ID) {
			if n.Status.State == api.NodeDown || !task.Live() || task.Status.State.Before(api.TaskAssigned) || stays[task.ID] {
				continue
			}
			for _, r := range task.GenericResources {
				held[r.Kind()] += r.Amount()
				if r.NamedResourceSpec != nil && !slices.Contains(api.GenericNames(its, r.Kind()), r.NamedResourceSpec.Value) {
					t.Fatalf("%s has kept %s, which %s has no more\n%s", task.ID, r, n.ID, w.log.String())
				}
			}
		}
		for kind, amount := range held {
			if has := api.GenericAmount(its, kind); amount > has {
				t.Fatalf("%d of %s are held on %s, which has %d\n%s", amount, kind, n.ID, has, w.log.String())
			}
		}
	}
}

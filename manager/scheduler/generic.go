package scheduler

import (
	"fmt"
	"maps"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// holdings are what tasks hold of a node's generic resources: how many hold a
// named one, and under an empty name how much of the kind they hold in all.
type holdings map[api.NamedGenericResource]int64

// holdGeneric counts what a task was given, by 1 or -1; beside the one it swaps
// with, which is counted by itself, only what it has more.
func (n *node) holdGeneric(t, swapped *api.Task, by int64) {
	if len(t.GenericResources) == 0 {
		return
	}
	n.own()
	if n.generic == nil {
		n.generic = holdings{}
	}
	for kind, amount := range amounts(t.GenericResources) {
		if swapped != nil {
			amount = max(0, amount-api.GenericAmount(swapped.GenericResources, kind))
		}
		n.generic[api.NamedGenericResource{Kind: kind}] += by * amount
		for _, name := range api.GenericNames(t.GenericResources, kind) {
			n.generic[api.NamedGenericResource{Kind: kind, Value: name}] += by
		}
	}
}

// amounts are how much of each kind is in a list.
func amounts(list []api.GenericResource) map[string]int64 {
	of := map[string]int64{}
	for _, r := range list {
		of[r.Kind()] += r.Amount()
	}
	return of
}

// has is all that a node has of generic resources.
func (n *node) has() []api.GenericResource { return n.Description.Resources.GenericResources }

// freeNames are the named ones of a kind that no task has once swapped has
// ended, its own first: so what another waits for is not held twice.
func (n *node) freeNames(kind string, swapped *api.Task) []string {
	var its []string
	if swapped != nil {
		its = api.GenericNames(swapped.GenericResources, kind)
	}
	var first, rest []string
	for _, name := range api.GenericNames(n.has(), kind) {
		holders, was := n.generic[api.NamedGenericResource{Kind: kind, Value: name}], slices.Contains(its, name)
		switch {
		case was && holders <= 1:
			first = append(first, name)
		case !was && holders == 0:
			rest = append(rest, name)
		}
	}
	return append(first, rest...)
}

// freeGeneric is how much of a kind no task has once swapped has ended. Where that
// is itself taking the place of under, it has only what it has more: under may
// take its time to end.
func (n *node) freeGeneric(kind string, swapped, under *api.Task) int64 {
	free := api.GenericAmount(n.has(), kind) - n.generic[api.NamedGenericResource{Kind: kind}]
	if swapped != nil {
		its := api.GenericAmount(swapped.GenericResources, kind)
		if under != nil {
			its = max(0, its-api.GenericAmount(under.GenericResources, kind))
		}
		free += its
	}
	if len(api.GenericNames(n.has(), kind)) > 0 {
		free = min(free, int64(len(n.freeNames(kind, swapped))))
	}
	return max(0, free)
}

// genericFree tells what a node lacks of what the task asks for.
func (r *rules) genericFree(v *store.View, n *node, swapped *api.Task) reason {
	if len(r.need.GenericResources) == 0 {
		return reason{}
	}
	var under *api.Task
	if swapped != nil && swapped.NodeID != n.ID {
		swapped = nil
	} else if swapped != nil {
		under = swapping(v, swapped)
	}
	for _, ask := range r.need.GenericResources {
		if free := n.freeGeneric(ask.Kind(), swapped, under); free < ask.Amount() {
			what := fmt.Sprintf("generic resource %s (%d asked, %d free)", ask.Kind(), ask.Amount(), free)
			return reason{one: "lacks " + what, many: "lack " + what}
		}
	}
	return reason{}
}

// genericNone tells what of generic resources a node never has.
func (r *rules) genericNone(n *node) reason {
	for _, ask := range r.need.GenericResources {
		if api.GenericAmount(n.has(), ask.Kind()) == 0 {
			what := "no generic resource " + ask.Kind()
			return reason{one: "has " + what, many: "have " + what}
		}
	}
	return reason{}
}

// chooseGeneric is what of the node a task that asks for so much is given. Room
// has found that there is enough.
func (n *node) chooseGeneric(asked []api.GenericResource, swapped *api.Task) []api.GenericResource {
	var given []api.GenericResource
	for _, ask := range asked {
		if len(api.GenericNames(n.has(), ask.Kind())) == 0 {
			given = append(given, ask)
			continue
		}
		for _, name := range n.freeNames(ask.Kind(), swapped)[:ask.Amount()] {
			given = append(given, api.GenericResource{NamedResourceSpec: &api.NamedGenericResource{Kind: ask.Kind(), Value: name}})
		}
	}
	return given
}

// Dispossessed reports whether a task's node no longer has what the task was
// given of its generic resources: a named one is gone, or of an amount so much
// that it does not suffice for the tasks that were placed before.
func Dispossessed(v *store.View, t *api.Task) bool {
	n := v.Node(t.NodeID)
	if len(t.GenericResources) == 0 || n == nil || t.Over() {
		return false // it has nothing, or needs it no more
	}
	has := n.Description.Resources.GenericResources
	for kind, amount := range amounts(t.GenericResources) {
		mine, names := api.GenericNames(t.GenericResources, kind), api.GenericNames(has, kind)
		if (len(mine) > 0) != (len(names) > 0) || slices.ContainsFunc(mine, func(name string) bool { return !slices.Contains(names, name) }) {
			return true
		}
		if len(mine) == 0 && amount+heldBefore(v, t, kind) > api.GenericAmount(has, kind) {
			return true
		}
	}
	return false
}

// heldBefore is how much of a kind is held by tasks on t's node that came before
// it. One that gives way to another is not counted: its share goes over.
func heldBefore(v *store.View, t *api.Task, kind string) int64 {
	var held int64
	for o := range v.TasksOn(t.NodeID) {
		if o.Live() && !o.Status.State.Before(api.TaskAssigned) && elder(o, t) {
			held += api.GenericAmount(o.GenericResources, kind)
		}
	}
	return held
}

func elder(a, b *api.Task) bool {
	if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
		return c < 0
	}
	return a.ID < b.ID
}

// own makes the node's counts its own before the first change.
func (n *node) own() {
	if n.shared {
		n.ports, n.generic, n.shared = maps.Clone(n.ports), maps.Clone(n.generic), false
	}
}

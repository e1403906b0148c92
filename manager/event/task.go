package event

import (
	"cmp"
	"strconv"

	"github.com/edgeswarm/edgeswarm/api"
)

// task is told of when it is made, when it is placed, when it comes to a state,
// when something else is wanted of it, and when it is forgotten.
func task(old, now *api.Task, name func(api.NodeID) string) []api.Event {
	switch {
	case old == nil:
		first := one(api.EventTask, api.EventCreate, string(now.ID), taskAttributes(now, name))
		if now.Status.State.Before(api.TaskAssigned) || now.NodeID == "" {
			return first
		}
		return append(first, reached(now, name)...) // placed in the same breath
	case now == nil:
		return one(api.EventTask, api.EventRemove, string(old.ID), taskAttributes(old, name))
	}
	var out []api.Event
	if old.DesiredState != now.DesiredState {
		attributes := taskAttributes(now, name)
		differ(attributes, "desired", string(old.DesiredState), string(now.DesiredState))
		out = one(api.EventTask, api.EventUpdate, string(now.ID), attributes)
	}
	if old.Status.State != now.Status.State || old.Status.Attempt != now.Status.Attempt {
		out = append(out, reached(now, name)...)
	}
	return out
}

// reached is a task's coming to its present state.
func reached(t *api.Task, name func(api.NodeID) string) []api.Event {
	attributes := taskAttributes(t, name)
	if t.Status.Attempt > 0 {
		attributes["attempt"] = strconv.Itoa(t.Status.Attempt)
	}
	if t.Status.ExitCode != nil && t.Status.State.Ended() {
		attributes["exitCode"] = strconv.Itoa(*t.Status.ExitCode)
	}
	if why := cmp.Or(t.Status.Err, t.Status.Message); why != "" {
		attributes["message"] = why
	}
	return one(api.EventTask, string(t.Status.State), string(t.ID), attributes)
}

func taskAttributes(t *api.Task, name func(api.NodeID) string) map[string]string {
	attributes := map[string]string{
		"name": t.ServiceName + "." + strconv.Itoa(t.Slot), "service": t.ServiceName, "service.id": string(t.ServiceID),
		"image": t.Spec.ContainerSpec.Image,
	}
	if t.NodeID != "" {
		attributes["node.id"] = string(t.NodeID)
		if called := name(t.NodeID); called != "" {
			attributes["node"] = called
		}
	}
	if t.Slot == 0 {
		attributes["name"] = t.ServiceName + "." + string(t.NodeID)
	}
	return attributes
}

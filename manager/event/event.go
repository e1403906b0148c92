package event

import (
	"maps"
	"slices"
	"strconv"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// Of are the events of a log entry, in order. name is what people call a node
// now; "" if it is gone.
func Of(entry store.Event, name func(api.NodeID) string) []api.Event {
	var out []api.Event
	for _, c := range entry.Changes {
		for _, e := range of(c, name) {
			e.Index, e.Part, e.Time = entry.Index, len(out), entry.Time
			out = append(out, e)
		}
	}
	return out
}

func of(c store.Change, name func(api.NodeID) string) []api.Event {
	obj := c.New
	if obj == nil {
		obj = c.Old
	}
	switch obj.(type) {
	case *api.Service:
		return service(pair[*api.Service](c))
	case *api.Task:
		old, now := pair[*api.Task](c)
		return task(old, now, name)
	case *api.Node:
		return node(pair[*api.Node](c))
	case *api.Image:
		return image(pair[*api.Image](c))
	case *api.Secret:
		old, now := pair[*api.Secret](c)
		return data(api.EventSecret, old, now, func(s *api.Secret) api.Annotations { return s.Spec.Annotations })
	case *api.Config:
		old, now := pair[*api.Config](c)
		return data(api.EventConfig, old, now, func(s *api.Config) api.Annotations { return s.Spec.Annotations })
	default:
		return nil // the fleet's own object
	}
}

// pair is a change with its types; nil for what was not, or is not any more.
func pair[T api.Object](c store.Change) (old, now T) {
	old, _ = c.Old.(T)
	now, _ = c.New.(T)
	return old, now
}

// one is an event by itself.
func one(kind api.EventType, action, id string, attributes map[string]string) []api.Event {
	return []api.Event{{Type: kind, Action: action, Actor: api.EventActor{ID: id, Attributes: attributes}}}
}

// about begins attributes with the user's labels and the name.
func about(a api.Annotations, name string) map[string]string {
	attributes := make(map[string]string, len(a.Labels)+8)
	maps.Copy(attributes, a.Labels)
	attributes["name"] = name
	return attributes
}

// differ notes KEY.old and KEY.new where they do, and reports it.
func differ(attributes map[string]string, key, old, now string) bool {
	if old == now {
		return false
	}
	if old != "" {
		attributes[key+".old"] = old
	}
	if now != "" {
		attributes[key+".new"] = now
	}
	return true
}

// data is a secret or a config.
func data[T api.Object](kind api.EventType, old, now T, spec func(T) api.Annotations) []api.Event {
	var none T
	is := func(obj T) bool { return api.Object(obj) != api.Object(none) }
	switch {
	case !is(old):
		return one(kind, api.EventCreate, now.Key(), about(spec(now), spec(now).Name))
	case !is(now):
		return one(kind, api.EventRemove, old.Key(), about(spec(old), spec(old).Name))
	case !api.Equal(spec(old), spec(now)):
		return one(kind, api.EventUpdate, now.Key(), about(spec(now), spec(now).Name))
	default:
		return nil
	}
}

func service(old, now *api.Service) []api.Event {
	say := func(s *api.Service, action string) []api.Event {
		return one(api.EventService, action, string(s.ID), about(s.Spec.Annotations, s.Spec.Name))
	}
	switch {
	case old == nil:
		return say(now, api.EventCreate)
	case now == nil && old.PendingDelete:
		return nil // it was told when the user removed it
	case now == nil:
		return say(old, api.EventRemove)
	case now.PendingDelete && !old.PendingDelete:
		return say(now, api.EventRemove)
	}
	attributes := about(now.Spec.Annotations, now.Spec.Name)
	changed := !api.Equal(old.Spec, now.Spec)
	differ(attributes, "name", old.Spec.Name, now.Spec.Name)
	differ(attributes, "image", old.Spec.TaskTemplate.ContainerSpec.Image, now.Spec.TaskTemplate.ContainerSpec.Image)
	if old.Spec.Mode.Replicated != nil && now.Spec.Mode.Replicated != nil {
		differ(attributes, "replicas", strconv.FormatUint(old.Spec.Replicas(), 10), strconv.FormatUint(now.Spec.Replicas(), 10))
	}
	if differ(attributes, "updatestate", updateState(old), updateState(now)) {
		changed = true
	}
	if !changed {
		return nil
	}
	return one(api.EventService, api.EventUpdate, string(now.ID), attributes)
}

func updateState(s *api.Service) string {
	if s.UpdateStatus == nil {
		return ""
	}
	return string(s.UpdateStatus.State)
}

func node(old, now *api.Node) []api.Event {
	switch {
	case old == nil:
		attributes := about(now.Spec.Annotations, now.Name())
		attributes["role"], attributes["availability"], attributes["state"] = string(now.Spec.Role), string(now.Spec.Availability), string(now.Status.State)
		return one(api.EventNode, api.EventCreate, string(now.ID), attributes)
	case now == nil:
		return one(api.EventNode, api.EventRemove, string(old.ID), about(old.Spec.Annotations, old.Name()))
	}
	attributes := about(now.Spec.Annotations, now.Name())
	changed := !api.Equal(old.Spec.Labels, now.Spec.Labels)
	for key, both := range map[string][2]string{
		"name":         {old.Name(), now.Name()},
		"role":         {string(old.Spec.Role), string(now.Spec.Role)},
		"availability": {string(old.Spec.Availability), string(now.Spec.Availability)},
		"state":        {string(old.Status.State), string(now.Status.State)},
		"engine":       {old.Description.Engine.EngineVersion, now.Description.Engine.EngineVersion},
		"runtimeerror": {old.Description.Engine.RuntimeError, now.Description.Engine.RuntimeError},
		"trouble":      {old.Description.Trouble, now.Description.Trouble},
	} {
		changed = differ(attributes, key, both[0], both[1]) || changed
	}
	if !changed {
		return nil
	}
	if old.Status.State != now.Status.State && now.Status.Message != "" {
		attributes["message"] = now.Status.Message
	}
	return one(api.EventNode, api.EventUpdate, string(now.ID), attributes)
}

func image(old, now *api.Image) []api.Event {
	say := func(i *api.Image, action, name string) []api.Event {
		return one(api.EventImage, action, string(i.ID), map[string]string{"name": name})
	}
	switch {
	case old == nil:
		name := ""
		if len(now.Names) > 0 {
			name = now.Names[0]
		}
		return say(now, api.EventCreate, name)
	case now == nil:
		name := ""
		if len(old.Names) > 0 {
			name = old.Names[0]
		}
		return say(old, api.EventDelete, name)
	}
	var out []api.Event
	for _, name := range old.Names {
		if !slices.Contains(now.Names, name) {
			out = append(out, say(now, api.EventUntag, name)...)
		}
	}
	for _, name := range now.Names {
		if !slices.Contains(old.Names, name) {
			out = append(out, say(now, api.EventTag, name)...)
		}
	}
	if len(out) == 0 && len(old.Manifests) != len(now.Manifests) {
		name := ""
		if len(now.Names) > 0 {
			name = now.Names[0]
		}
		out = say(now, api.EventUpdate, name)
	}
	return out
}

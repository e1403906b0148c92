package api

import "slices"

// Current reports whether a task is made of what the service's spec says now,
// whichever version it was made from: an update that was taken back leaves such
// tasks, and so does one that changes only where tasks may run, which is judged
// by the spec of the moment for every task.
func (s *Service) Current(t *Task) bool {
	return t.SpecVersion == s.SpecVersion ||
		Equal(makeup(t.Spec), makeup(s.Spec.TaskTemplate)) && samePorts(t.Ports, s.Spec.EndpointSpec)
}

func makeup(t TaskSpec) TaskSpec {
	t.Placement = nil
	return t
}

// samePorts reports whether a task's ports are what the spec publishes in host
// mode, where the scheduler's choice stands for a 0.
func samePorts(ports []PortConfig, spec *EndpointSpec) bool {
	return slices.EqualFunc(ports, spec.Published(PublishHost), func(have, want PortConfig) bool {
		if want.PublishedPort == 0 {
			have.PublishedPort = 0
		}
		return have == want
	})
}

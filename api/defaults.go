package api

import "time"

// Swarm's defaults.
const (
	DefaultStopGracePeriod = 10 * time.Second
	DefaultRestartDelay    = 5 * time.Second
	DefaultMonitor         = 5 * time.Second
	// DefaultTaskHistory is how many ended tasks of a slot are kept.
	DefaultTaskHistory = 5
)

// stopSlack is how long after its grace period a task that was told to end is
// waited for, before others go on without.
const stopSlack = 30 * time.Second

// StopBound is how long a task that was told to end is waited for: one that will
// not end is not for ever in the way of the one that replaces it.
func (t *Task) StopBound() time.Duration {
	grace := DefaultStopGracePeriod
	if set := t.Spec.ContainerSpec.StopGracePeriod; set != nil {
		grace = *set
	}
	return grace + stopSlack
}

// Defaults returns the spec with every default of Swarm's written out, names in
// the form in which they are kept. It shares nothing with s.
func (s ServiceSpec) Defaults() ServiceSpec {
	s = Clone(s)
	if s.Mode.Replicated == nil && s.Mode.Global == nil && !s.Mode.Job() {
		s.Mode.Replicated = &ReplicatedService{}
	}
	s.jobDefaults()
	if r := s.Mode.Replicated; r != nil && r.Replicas == nil {
		r.Replicas = new(uint64(1))
	}
	if !s.Mode.Job() {
		s.UpdateConfig = new(s.UpdateConfig.OrDefault())
		s.RollbackConfig = new(s.RollbackConfig.OrDefault())
	}
	t := &s.TaskTemplate
	t.RestartPolicy = new(t.RestartPolicy.OrDefault())
	if t.ContainerSpec.StopGracePeriod == nil {
		t.ContainerSpec.StopGracePeriod = new(DefaultStopGracePeriod)
	}
	t.ContainerSpec.ContainerOptions = t.ContainerSpec.ContainerOptions.orDefault()
	for i := range t.ContainerSpec.Mounts {
		if m := &t.ContainerSpec.Mounts[i]; m.Type == "" {
			m.Type = MountVolume
		}
	}
	if t.Placement != nil {
		for i, text := range t.Placement.Constraints {
			if c, err := ParseConstraint(text); err == nil {
				t.Placement.Constraints[i] = c.String()
			}
		}
	}
	if s.EndpointSpec != nil {
		for i := range s.EndpointSpec.Ports {
			s.EndpointSpec.Ports[i] = s.EndpointSpec.Ports[i].orDefault()
		}
	}
	return s
}

// OrDefault returns the config with defaults in place of what is not set; c
// may be nil. A Monitor of 0 is the default, as in Docker.
func (c *UpdateConfig) OrDefault() UpdateConfig {
	if c == nil {
		c = &UpdateConfig{Parallelism: 1}
	}
	full := *c
	if full.FailureAction == "" {
		full.FailureAction = FailurePause
	}
	if full.Monitor == 0 {
		full.Monitor = DefaultMonitor
	}
	if full.Order == "" {
		full.Order = StopFirst
	}
	return full
}

// OrDefault returns the policy with every field set; p may be nil.
func (p *RestartPolicy) OrDefault() RestartPolicy {
	full := RestartPolicy{}
	if p != nil {
		full = *p
	}
	if full.Condition == "" {
		full.Condition = RestartAny
	}
	if full.Delay == nil {
		full.Delay = new(DefaultRestartDelay)
	}
	if full.MaxAttempts == nil {
		full.MaxAttempts = new(uint64)
	}
	if full.Window == nil {
		full.Window = new(time.Duration)
	}
	return full
}

// orDefault fills in what Docker does: TCP, by the fleet's ingress.
func (p PortConfig) orDefault() PortConfig {
	if p.Protocol == "" {
		p.Protocol = TCP
	}
	if p.PublishMode == "" {
		p.PublishMode = PublishIngress
	}
	return p
}

// Retention is how many ended tasks of a slot the fleet keeps.
func (s ClusterSpec) Retention() int {
	if s.TaskHistoryRetentionLimit == nil {
		return DefaultTaskHistory
	}
	return int(max(0, *s.TaskHistoryRetentionLimit))
}

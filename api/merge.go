package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Merge returns the spec with the patch's changes made; it shares nothing with
// s. What a patch removes need not be there. The only errors are patches that
// can't apply to such a service; whether the result is any good is Validate's
// to say.
func (s ServiceSpec) Merge(patch ServicePatch) (ServiceSpec, error) {
	s, patch = Clone(s), Clone(patch)
	if err := s.mergeMode(patch); err != nil {
		return ServiceSpec{}, err
	}
	s.Labels = mergeLabels(s.Labels, patch.LabelAdd, patch.LabelRemove)
	mergeContainer(&s.TaskTemplate.ContainerSpec, patch)
	mergeTask(&s.TaskTemplate, patch)
	health, err := mergeHealth(s.TaskTemplate.ContainerSpec.Healthcheck, patch.Health)
	if err != nil {
		return ServiceSpec{}, err
	}
	s.TaskTemplate.ContainerSpec.Healthcheck = health
	mergeOptions(&s.TaskTemplate, patch.OptionsPatch)
	mergeGeneric(&s.TaskTemplate, patch)
	if err := mergePlacement(&s.TaskTemplate, patch); err != nil {
		return ServiceSpec{}, err
	}
	mergePreferences(&s.TaskTemplate, patch)
	mergePorts(&s, patch)
	mergeEndpointMode(&s, patch)
	s.UpdateConfig = mergeUpdate(s.UpdateConfig, patch.Update)
	s.RollbackConfig = mergeUpdate(s.RollbackConfig, patch.Rollback)
	return s, nil
}

// set changes a field that the patch has a value for.
func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// setPointer is set for a field where nil means the default.
func setPointer[T any](field **T, value *T) {
	if value != nil {
		*field = value
	}
}

func mergeContainer(c *ContainerSpec, patch ServicePatch) {
	set(&c.Image, patch.Image)
	set(&c.Command, patch.Command)
	set(&c.Args, patch.Args)
	set(&c.Hostname, patch.Hostname)
	set(&c.Dir, patch.Dir)
	set(&c.User, patch.User)
	set(&c.ReadOnly, patch.ReadOnly)
	set(&c.StopSignal, patch.StopSignal)
	setPointer(&c.StopGracePeriod, patch.StopGracePeriod)
	c.Labels = mergeLabels(c.Labels, patch.ContainerLabelAdd, patch.ContainerLabelRemove)
	c.Env = mergeList(c.Env, patch.EnvAdd, patch.EnvRemove, envName, func(s string) string { return s })
	c.Mounts = mergeList(c.Mounts, patch.MountAdd, patch.MountRemove,
		func(m Mount) string { return m.Target }, func(s string) string { return s })
	mergeData(c, patch)
}

// envName is the name of a variable "NAME=value".
func envName(variable string) string {
	name, _, _ := strings.Cut(variable, "=")
	return name
}

func mergeTask(t *TaskSpec, patch ServicePatch) {
	if patch.RestartCondition != nil || patch.RestartDelay != nil || patch.RestartMaxAttempts != nil || patch.RestartWindow != nil {
		if t.RestartPolicy == nil {
			t.RestartPolicy = &RestartPolicy{}
		}
		set(&t.RestartPolicy.Condition, patch.RestartCondition)
		setPointer(&t.RestartPolicy.Delay, patch.RestartDelay)
		setPointer(&t.RestartPolicy.MaxAttempts, patch.RestartMaxAttempts)
		setPointer(&t.RestartPolicy.Window, patch.RestartWindow)
	}
	if patch.Limits != nil || patch.Reservations != nil {
		if t.Resources == nil {
			t.Resources = &ResourceRequirements{}
		}
		t.Resources.Limits = mergeResources(t.Resources.Limits, patch.Limits)
		t.Resources.Reservations = mergeResources(t.Resources.Reservations, patch.Reservations)
	}
	t.Networks = slices.DeleteFunc(t.Networks, func(n NetworkAttachment) bool {
		return slices.Contains(patch.NetworkRemove, n.Target) || n.ID != "" && slices.Contains(patch.NetworkRemove, string(n.ID))
	})
	t.Networks = mergeList(t.Networks, patch.NetworkAdd, []string(nil),
		func(n NetworkAttachment) string { return n.Target }, func(s string) string { return s })
	if patch.Force {
		t.ForceUpdate++
	}
}

func mergeResources(r *Resources, patch *ResourcesPatch) *Resources {
	if patch == nil {
		return r
	}
	if r == nil {
		r = &Resources{}
	}
	set(&r.NanoCPUs, patch.NanoCPUs)
	set(&r.MemoryBytes, patch.MemoryBytes)
	set(&r.Pids, patch.Pids)
	return r.orNil()
}

func mergePlacement(t *TaskSpec, patch ServicePatch) error {
	if patch.MaxReplicas == nil && len(patch.ConstraintAdd) == 0 && len(patch.ConstraintRemove) == 0 {
		return nil
	}
	if t.Placement == nil {
		t.Placement = &Placement{}
	}
	set(&t.Placement.MaxReplicas, patch.MaxReplicas)
	for _, text := range patch.ConstraintAdd {
		if _, err := ParseConstraint(text); err != nil {
			return invalid("ConstraintAdd", err)
		}
	}
	t.Placement.Constraints = mergeList(t.Placement.Constraints, patch.ConstraintAdd, patch.ConstraintRemove, normalConstraint, normalConstraint)
	return nil
}

// normalConstraint lets a constraint be found again however it is spaced.
func normalConstraint(text string) string {
	c, err := ParseConstraint(text)
	if err != nil {
		return strings.TrimSpace(text)
	}
	return c.String()
}

func mergePorts(s *ServiceSpec, patch ServicePatch) {
	if len(patch.PublishAdd) == 0 && len(patch.PublishRemove) == 0 {
		return
	}
	if s.EndpointSpec == nil {
		s.EndpointSpec = &EndpointSpec{}
	}
	key := func(p PortConfig) string { p = p.orDefault(); return fmt.Sprint(p.TargetPort, p.Protocol) }
	s.EndpointSpec.Ports = slices.DeleteFunc(s.EndpointSpec.Ports, func(p PortConfig) bool {
		return slices.ContainsFunc(patch.PublishRemove, func(gone PortConfig) bool {
			return gone.TargetPort == p.TargetPort && (gone.Protocol == "" || gone.Protocol == p.orDefault().Protocol)
		})
	})
	s.EndpointSpec.Ports = mergeList(s.EndpointSpec.Ports, patch.PublishAdd, nil, key, key)
	if s.EndpointSpec.Mode == "" && len(s.EndpointSpec.Ports) == 0 {
		s.EndpointSpec = nil
	}
}

func mergeEndpointMode(s *ServiceSpec, patch ServicePatch) {
	if patch.EndpointMode == nil {
		return
	}
	if s.EndpointSpec == nil {
		s.EndpointSpec = &EndpointSpec{}
	}
	s.EndpointSpec.Mode = *patch.EndpointMode
}

func mergeUpdate(c *UpdateConfig, patch *UpdateConfigPatch) *UpdateConfig {
	if patch == nil {
		return c
	}
	full := c.OrDefault()
	set(&full.Parallelism, patch.Parallelism)
	set(&full.Delay, patch.Delay)
	set(&full.FailureAction, patch.FailureAction)
	set(&full.Monitor, patch.Monitor)
	set(&full.MaxFailureRatio, patch.MaxFailureRatio)
	set(&full.Order, patch.Order)
	return &full
}

func mergeLabels(labels, add map[string]string, remove []string) map[string]string {
	for _, name := range remove {
		delete(labels, name)
	}
	if labels == nil && len(add) > 0 {
		labels = map[string]string{}
	}
	maps.Copy(labels, add)
	if len(labels) == 0 {
		return nil
	}
	return labels
}

// mergeList takes out what is removed and puts each added element in the place
// of the one of its key, or at the end. Order is kept, so that a patch which
// changes nothing leaves an equal spec. Of two elements added under one key the
// later wins.
func mergeList[T, R any](list, add []T, remove []R, key func(T) string, removedKey func(R) string) []T {
	gone := map[string]bool{}
	for _, r := range remove {
		gone[removedKey(r)] = true
	}
	list = slices.DeleteFunc(list, func(e T) bool { return gone[key(e)] })
	for _, e := range add {
		if i := slices.IndexFunc(list, func(old T) bool { return key(old) == key(e) }); i >= 0 {
			list[i] = e
		} else {
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

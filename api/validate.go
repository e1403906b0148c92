package api

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// Bounds on what a spec may ask for: beyond them it is a slip of the hand, and
// would cost every manager dearly.
const (
	// MaxReplicas is the most tasks that one service may have.
	MaxReplicas = 10000
	// maxSpecSize of a service's encoded spec.
	maxSpecSize = 256 << 10
	// maxLabels is the size of all labels of one thing, in bytes. All nodes are
	// listed in one message.
	maxLabels = 16 << 10
)

// invalid is an Error that names the field it is about.
func invalid(field string, err error) error {
	return &Error{Kind: Invalid, Err: fmt.Errorf("%s: %w", field, err)}
}

// check collects the first thing that is wrong.
type check struct{ err error }

// that notes an error about field unless ok, or something was wrong before.
func (c *check) that(ok bool, field, format string, args ...any) {
	if !ok && c.err == nil {
		c.err = invalid(field, fmt.Errorf(format, args...))
	}
}

// is notes err about field.
func (c *check) is(field string, err error) {
	if err != nil && c.err == nil {
		c.err = invalid(field, err)
	}
}

// Validate reports the first thing for which the spec can never run, as an
// Error of kind Invalid that names the field. Fields not set are fine where
// they have a default. An image's name is left to who resolves it.
func (s ServiceSpec) Validate() error {
	var c check
	c.is("Name", checkName(s.Name))
	c.labels("Labels", s.Labels)
	c.mode(s.Mode)
	c.job(s)
	c.that(s.Replicas() <= MaxReplicas, "Mode.Replicated.Replicas", "%d is more than the %d tasks a service may have", s.Replicas(), MaxReplicas)
	c.task(s.TaskTemplate)
	c.update("UpdateConfig", s.UpdateConfig)
	c.update("RollbackConfig", s.RollbackConfig)
	if s.RollbackConfig != nil {
		c.that(s.RollbackConfig.FailureAction != FailureRollback, "RollbackConfig.FailureAction", "a rollback is never rolled back: use pause or continue")
	}
	if s.EndpointSpec != nil {
		c.that(oneOf(s.EndpointSpec.Mode, "", ResolutionVIP, ResolutionDNSRR), "EndpointSpec.Mode", "%q is not one of vip, dnsrr", s.EndpointSpec.Mode)
		c.ports("EndpointSpec.Ports", s)
	}
	if c.err == nil {
		raw, err := Encode(s)
		c.is("spec", err)
		c.that(len(raw) <= maxSpecSize, "spec", "%d bytes are more than the %d that a service's spec may have", len(raw), maxSpecSize)
	}
	return c.err
}

func (c *check) task(t TaskSpec) {
	const at = "TaskTemplate."
	c.container(at+"ContainerSpec.", t.ContainerSpec)
	c.options(at+"ContainerSpec.", t.ContainerSpec, t.onHostNetwork())
	if r := t.Resources; r != nil {
		c.swap(at+"Resources.", r)
		c.that(r.Reservations == nil || r.Reservations.Pids == 0, at+"Resources.Reservations.Pids", "processes can be limited, but not reserved")
		c.that(r.Limits == nil || len(r.Limits.GenericResources) == 0, at+"Resources.Limits.GenericResources", "generic resources can be reserved, but not limited")
		c.resources(at+"Resources.Limits.", r.Limits)
		c.resources(at+"Resources.Reservations.", r.Reservations)
		if l, kept := r.Limits, r.Reservations; l != nil && kept != nil {
			c.that(l.NanoCPUs == 0 || l.NanoCPUs >= kept.NanoCPUs, at+"Resources.Limits.NanoCPUs", "the limit is below the reservation: raise it or reserve less")
			c.that(l.MemoryBytes == 0 || l.MemoryBytes >= kept.MemoryBytes, at+"Resources.Limits.MemoryBytes", "the limit is below the reservation: raise it or reserve less")
		}
	}
	if p := t.RestartPolicy; p != nil {
		c.that(oneOf(p.Condition, "", RestartNone, RestartOnFailure, RestartAny), at+"RestartPolicy.Condition", "%q is not one of none, on-failure, any", p.Condition)
		c.duration(at+"RestartPolicy.Delay", p.Delay)
		c.duration(at+"RestartPolicy.Window", p.Window)
	}
	if p := t.Placement; p != nil {
		_, err := ParseConstraints(p.Constraints)
		c.is(at+"Placement.Constraints", err)
		c.preferences(at+"Placement.Preferences", p.Preferences)
	}
	c.networks(at, t.Networks)
}

func (c *check) container(at string, s ContainerSpec) {
	c.that(strings.TrimSpace(s.Image) != "", at+"Image", "a service needs an image")
	c.labels(at+"Labels", s.Labels)
	s = c.sample(at, s)
	if s.Hostname != "" {
		c.is(at+"Hostname", checkHostname(s.Hostname))
	}
	for _, v := range s.Env {
		name := envName(v)
		c.that(name != "" && strings.Contains(v, "="), at+"Env", "%q is not of the form NAME=value", v)
		c.that(!strings.ContainsRune(v, 0), at+"Env", "%q holds a zero byte", name)
	}
	for _, word := range slices.Concat(s.Command, s.Args) {
		c.that(!strings.ContainsRune(word, 0), at+"Command", "%q holds a zero byte", word)
	}
	c.that(s.Dir == "" || path.IsAbs(s.Dir), at+"Dir", "%q is not an absolute path", s.Dir)
	c.that(!strings.ContainsAny(s.User, " \t\n\x00"), at+"User", "%q is not a name or uid[:gid]", s.User)
	if s.StopSignal != "" {
		c.that(isSignal(s.StopSignal), at+"StopSignal", "%q is not a signal of Linux: give a name or number, such as SIGTERM or 15", s.StopSignal)
	}
	c.duration(at+"StopGracePeriod", s.StopGracePeriod)
	c.health(at+"Healthcheck.", s.Healthcheck)
	c.mounts(at+"Mounts", s.Mounts)
	c.files(at, s)
}

// files checks what secrets and configs appear as: no two of them, and none
// and a mount, at one path.
func (c *check) files(at string, s ContainerSpec) {
	taken := map[string]bool{}
	for _, m := range s.Mounts {
		taken[path.Clean(m.Target)] = true
	}
	file := func(field, name, target string, t FileTarget) {
		c.that(dataName.MatchString(name), at+field, "name %q: use letters, digits, hyphens, dots and underscores", name)
		c.that(target != "/" && !strings.HasSuffix(t.Name, "/"), at+field, "target %q of %s is not a file's path", t.Name, name)
		c.that(!taken[target], at+field, "%s is the place of two files or mounts", target)
		c.that(t.Permissions() <= 0o777, at+field, "mode %#o of %s is beyond 0777", t.Permissions(), name)
		taken[target] = true
	}
	for _, r := range s.Secrets {
		file("Secrets", r.SecretName, r.Path(), r.File)
	}
	for _, r := range s.Configs {
		file("Configs", r.ConfigName, r.Path(), r.File)
	}
}

func (c *check) mounts(field string, mounts []Mount) {
	seen := map[string]bool{}
	for _, m := range mounts {
		c.that(path.IsAbs(m.Target) && path.Clean(m.Target) != "/", field, "target %q is not an absolute path below /", m.Target)
		c.that(!seen[path.Clean(m.Target)], field, "two mounts have the target %q", m.Target)
		seen[path.Clean(m.Target)] = true
		switch m.Type {
		case MountBind:
			c.that(path.IsAbs(m.Source), field, "source %q of the bind mount at %s is not an absolute path", m.Source, m.Target)
		case MountVolume, "":
			c.that(m.Source == "" || isVolumeName(m.Source), field, "volume %q: a name has letters, digits, '_', '.' and '-'; a path is a bind mount", m.Source)
		case MountTmpfs:
			c.that(m.Source == "", field, "the tmpfs at %s has a source: it can't have one", m.Target)
		default:
			c.that(false, field, "type %q is not one of bind, volume, tmpfs", m.Type)
		}
		if o := m.TmpfsOptions; o != nil {
			c.that(m.Type == MountTmpfs, field, "the mount at %s is no tmpfs, but has options of one", m.Target)
			c.that(o.SizeBytes >= 0, field, "the tmpfs at %s has a size below 0", m.Target)
			c.that(o.Mode <= 0o7777, field, "the tmpfs at %s has a mode beyond 07777", m.Target)
		}
	}
}

func (c *check) resources(at string, r *Resources) {
	if r == nil {
		return
	}
	c.that(r.NanoCPUs >= 0, at+"NanoCPUs", "%d is below 0", r.NanoCPUs)
	c.that(r.MemoryBytes >= 0, at+"MemoryBytes", "%d is below 0", r.MemoryBytes)
	c.that(r.Pids >= 0, at+"Pids", "%d is below 0", r.Pids)
	c.generic(at+"GenericResources", r.GenericResources)
}

func (c *check) update(field string, u *UpdateConfig) {
	if u == nil {
		return
	}
	c.duration(field+".Delay", &u.Delay)
	c.duration(field+".Monitor", &u.Monitor)
	c.that(oneOf(u.FailureAction, "", FailurePause, FailureContinue, FailureRollback), field+".FailureAction", "%q is not one of pause, continue, rollback", u.FailureAction)
	c.that(oneOf(u.Order, "", StopFirst, StartFirst), field+".Order", "%q is not one of stop-first, start-first", u.Order)
	c.that(!math.IsNaN(u.MaxFailureRatio) && u.MaxFailureRatio >= 0 && u.MaxFailureRatio <= 1, field+".MaxFailureRatio", "%v is not between 0 and 1", u.MaxFailureRatio)
}

func (c *check) ports(field string, s ServiceSpec) {
	targets, published := map[string]bool{}, map[string]bool{}
	for _, p := range s.EndpointSpec.Ports {
		p = p.orDefault()
		c.that(oneOf(p.Protocol, TCP, UDP), field, "protocol %q is not one of tcp, udp", p.Protocol)
		c.that(oneOf(p.PublishMode, PublishHost, PublishIngress), field, "port %d: mode %q is not one of ingress, host", p.TargetPort, p.PublishMode)
		c.that(!p.Address.IsValid() || p.Address.Addr().Is4() && p.Address.Masked() == p.Address, field, "port %d: %s is not an IPv4 address or subnet of the boards", p.TargetPort, p.Address)
		c.that(p.PublishMode != PublishIngress || !s.TaskTemplate.onHostNetwork(), field, "port %d: a task on the board's own network (host) has the board's ports, and publishes none", p.TargetPort)
		c.that(p.TargetPort != 0, field, "a target port is between 1 and 65535")
		target := fmt.Sprintf("%d/%s", p.TargetPort, p.Protocol)
		c.that(!targets[target], field, "target port %s is published twice", target)
		targets[target] = true
		if p.PublishedPort == 0 {
			continue
		}
		host := fmt.Sprintf("%d/%s", p.PublishedPort, p.Protocol)
		c.that(!published[host], field, "port %s of the board is used twice", host)
		published[host] = true
		c.that(host != fmt.Sprintf("%d/%s", DefaultPort, UDP), field, "port %s of the board is the fleet's own", host)
		for _, u := range []*UpdateConfig{s.UpdateConfig, s.RollbackConfig} {
			c.that(p.PublishMode != PublishHost || u == nil || u.Order != StartFirst, field, "port %s of the board can't be held by an old and a new task at once: use the order stop-first, or publish no fixed port", host)
		}
	}
}

func (c *check) duration(field string, d *time.Duration) {
	c.that(d == nil || *d >= 0, field, "a duration can't be below 0")
}

func (c *check) labels(field string, labels map[string]string) {
	size := 0
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		size += len(name) + len(labels[name])
		c.that(name != "" && !strings.ContainsAny(name, " \t\n="), field, "%q is not a label's name: it is empty, or has a space or '=' in it", name)
	}
	c.that(size <= maxLabels, field, "%d bytes of labels are more than the %d that there may be", size, maxLabels)
}

// Validate reports the first thing that is wrong with a node's spec.
func (s NodeSpec) Validate() error {
	var c check
	if s.Name != "" {
		c.is("Name", checkName(s.Name))
	}
	c.labels("Labels", s.Labels)
	c.that(oneOf(s.Role, "", RoleAuto, RoleManager, RoleWorker), "Role", "%q is not one of auto, manager, worker", s.Role)
	c.that(oneOf(s.Availability, "", AvailabilityActive, AvailabilityPause, AvailabilityDrain), "Availability", "%q is not one of active, pause, drain", s.Availability)
	return c.err
}

// Validate reports the first thing that is wrong with the fleet's spec.
func (s ClusterSpec) Validate() error {
	var c check
	if s.Name != "" {
		c.is("Name", checkName(s.Name))
	}
	c.labels("Labels", s.Labels)
	c.that(oneOf(s.Managers, 0, 1, 3, 5), "Managers", "%d is not one of 0 (the fleet chooses), 1, 3, 5: an even number survives no more than the odd one below it", s.Managers)
	c.that(s.NodeCertExpiry == 0 || s.NodeCertExpiry >= time.Minute, "NodeCertExpiry", "%v is shorter than a minute", s.NodeCertExpiry)
	c.that(s.HeartbeatPeriod == 0 || s.HeartbeatPeriod >= 200*time.Millisecond && s.HeartbeatPeriod <= time.Minute, "HeartbeatPeriod", "%v is not between 200ms and 1m", s.HeartbeatPeriod)
	c.that(s.TaskHistoryRetentionLimit == nil || *s.TaskHistoryRetentionLimit >= 0, "TaskHistoryRetentionLimit", "the number of tasks to keep can't be below 0")
	return c.err
}

func oneOf[T comparable](v T, known ...T) bool { return slices.Contains(known, v) }

// checkName accepts a DNS label in lower case (RFC 1123, section 2.1), since
// what has it is found by that name in the DNS.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("a name is needed")
	case len(name) > 63:
		return fmt.Errorf("%q is longer than the 63 characters of a DNS label", name)
	case name[0] == '-' || name[len(name)-1] == '-':
		return fmt.Errorf("%q is not a DNS label: it begins or ends with '-'", name)
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("%q is not a DNS label: only a-z, 0-9 and '-' may be in it", name)
		}
	}
	return nil
}

// checkHostname accepts DNS labels with dots between them, in any case.
func checkHostname(name string) error {
	if len(name) > 63 {
		return fmt.Errorf("%q is longer than the 63 characters that Linux keeps", name)
	}
	for label := range strings.SplitSeq(strings.ToLower(name), ".") {
		if err := checkName(label); err != nil {
			return fmt.Errorf("%q is not a host name: %w", name, err)
		}
	}
	return nil
}

func isVolumeName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || r != '_' && r != '.' && r != '-') {
			return false
		}
	}
	return true
}

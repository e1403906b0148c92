package scheduler

import (
	"fmt"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// rules are what a task asks of a node, read once for all that ask the same.
type rules struct {
	constraints api.Constraints
	texts       []string // the constraints as they were written
	platforms   []api.Platform
	spread      []api.SpreadOver
	devices     []api.Device
	maxReplicas uint64
	networks    []api.NetworkAttachment
	encrypted   bool // one of them is
	need        api.Resources
	ports       []api.PortConfig
	dynamic     map[api.Protocol]int // how many ports are left to choose
}

// ruleKey finds a task's rules again: tasks of one service and version are
// made alike (see orchestrator).
type ruleKey struct {
	service api.ServiceID
	version uint64
}

func (p *placer) rulesOf(t *api.Task) *rules {
	key := ruleKey{t.ServiceID, t.SpecVersion}
	if r := p.rules[key]; r != nil && r.of(t) {
		return r
	}
	if p.rules == nil {
		p.rules = map[ruleKey]*rules{}
	}
	r := &rules{need: reserved(t), ports: t.Ports, devices: t.Spec.ContainerSpec.Devices, networks: t.Spec.Networks}
	r.encrypted = slices.ContainsFunc(r.networks, func(n api.NetworkAttachment) bool {
		network := p.v.Network(n.ID)
		return network != nil && network.Spec.Driver == api.DriverMesh
	})
	if placement := t.Spec.Placement; placement != nil {
		// One that can't be read matches no node: see api.ParseConstraints.
		r.constraints, _ = api.ParseConstraints(placement.Constraints)
		r.texts = placement.Constraints
		r.spread = spreads(placement.Preferences)
		r.platforms, r.maxReplicas = placement.Platforms, placement.MaxReplicas
	}
	for _, port := range t.Ports {
		if port.PublishedPort == 0 {
			if r.dynamic == nil {
				r.dynamic = map[api.Protocol]int{}
			}
			r.dynamic[port.Protocol]++
		}
	}
	p.rules[key] = r
	return r
}

// spreads are what the preferences spread over, the first first.
func spreads(preferences []api.PlacementPreference) []api.SpreadOver {
	var over []api.SpreadOver
	for _, p := range preferences {
		if p.Spread != nil {
			over = append(over, *p.Spread)
		}
	}
	return over
}

// static tells what of a node itself rules it out, whatever runs there.
func (r *rules) static(n *node) reason {
	switch {
	case n.Status.State == api.NodeDown:
		return reason{one: "is down", many: "are down"}
	case n.Status.State != api.NodeReady:
		return reason{one: "is not ready", many: "are not ready"}
	case n.Spec.Availability == api.AvailabilityDrain:
		return reason{one: "is drained", many: "are drained"}
	case n.Spec.Availability == api.AvailabilityPause:
		return reason{one: "is paused", many: "are paused"}
	case n.Description.Engine.RuntimeError != "":
		return reason{one: "has no working container runtime", many: "have no working container runtime"}
	}
	if unmet, ok := r.constraints.Unmet(n.Node); ok {
		return reason{one: "does not meet " + unmet.String(), many: "do not meet " + unmet.String()}
	}
	if !runs(n.Description.Platform, r.platforms) {
		platform := n.Description.Platform.Normal().String()
		return reason{one: "runs " + platform + ", which the image is not for", many: "run " + platform + ", which the image is not for"}
	}
	if missing, ok := n.Description.Lacks(r.devices); ok {
		return reason{one: "has no " + deviceName(missing), many: "have no " + deviceName(missing)}
	}
	if r.encrypted && len(n.Description.Mesh.Keys) == 0 {
		return reason{one: "can't carry encrypted networks", many: "can't carry encrypted networks"}
	}
	return r.genericNone(n)
}

// deviceName is how people speak of a device: "/dev/i2c-1", "camera".
func deviceName(d api.Device) string {
	if d.Class != "" {
		return d.Class + " device"
	}
	return d.PathOnHost
}

func runs(board api.Platform, platforms []api.Platform) bool {
	for _, p := range platforms {
		if board.Runs(p) {
			return true
		}
	}
	return len(platforms) == 0
}

// room tells what a node lacks now, once swapped has ended there. Count is the
// number of the service's tasks on the node.
func (r *rules) room(v *store.View, n *node, count int, swapped *api.Task) reason {
	if r.maxReplicas > 0 && uint64(count) >= r.maxReplicas {
		return reason{one: "has its most replicas", many: "have their most replicas"}
	}
	used := n.used
	if swapped != nil && swapped.NodeID == n.ID {
		has := reserved(swapped)
		used.NanoCPUs -= has.NanoCPUs
		used.MemoryBytes -= has.MemoryBytes
	}
	if r.need.MemoryBytes > 0 && used.MemoryBytes+r.need.MemoryBytes > n.Description.Resources.MemoryBytes {
		what := fmt.Sprintf("%s free", bytes(r.need.MemoryBytes))
		return reason{one: "lacks " + what, many: "lack " + what}
	}
	if r.need.NanoCPUs > 0 && used.NanoCPUs+r.need.NanoCPUs > n.Description.Resources.NanoCPUs {
		what := fmt.Sprintf("%s CPU free", cpus(r.need.NanoCPUs))
		return reason{one: "lacks " + what, many: "lack " + what}
	}
	if why := r.genericFree(v, n, swapped); !why.ok() {
		return why
	}
	return r.portsFree(n, swapped)
}

func (r *rules) portsFree(n *node, swapped *api.Task) reason {
	if swapped != nil && swapped.NodeID != n.ID {
		swapped = nil
	}
	for _, p := range r.ports {
		if p.PublishedPort != 0 && !n.free(port{p.Protocol, p.PublishedPort}, swapped) {
			what := fmt.Sprintf("port %d/%s in use", p.PublishedPort, p.Protocol)
			return reason{one: "has " + what, many: "have " + what}
		}
	}
	if len(r.dynamic) == 0 {
		return reason{}
	}
	for _, p := range n.choosePorts(r.ports, swapped) {
		if p.PublishedPort == 0 {
			return reason{one: "has no port left to choose", many: "have no port left to choose"}
		}
	}
	return reason{}
}

// bytes and cpus render amounts as Docker's users write them.
func bytes(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MB", (n+1<<20-1)>>20)
	default:
		return fmt.Sprintf("%d KB", (n+1<<10-1)>>10)
	}
}

func cpus(nano int64) string { return fmt.Sprintf("%g", float64(nano)/1e9) }

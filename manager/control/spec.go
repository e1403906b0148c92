package control

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// complete writes out a spec's defaults and checks it.
func complete(op string, spec api.ServiceSpec) (api.ServiceSpec, error) {
	spec = spec.Defaults()
	return spec, invalid(op, spec.Validate())
}

// merge makes a patch's changes to a spec and checks the outcome.
func merge(op string, spec api.ServiceSpec, patch api.ServicePatch) (api.ServiceSpec, error) {
	merged, err := spec.Merge(patch)
	if err != nil {
		return api.ServiceSpec{}, invalid(op, err)
	}
	return complete(op, merged)
}

// invalid is err as the caller's fault, said of op; nil stays nil.
func invalid(op string, err error) error {
	var known *api.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return &api.Error{Kind: api.Invalid, Op: op, Err: known.Err}
	default:
		return &api.Error{Kind: api.Invalid, Op: op, Err: err}
	}
}

// warnings tells what is lawful but probably not meant.
func (s *Server) warnings(v *store.View, service *api.Service) []string {
	placement := service.Spec.TaskTemplate.Placement
	if placement == nil {
		return nil
	}
	constraints, _ := api.ParseConstraints(placement.Constraints)
	devices := service.Spec.TaskTemplate.ContainerSpec.Devices
	var ready, fits, unequipped int
	missing := map[string]bool{}
	for node := range v.Nodes.All() {
		if node.Status.State != api.NodeReady || node.Spec.Availability != api.AvailabilityActive {
			continue
		}
		ready++
		switch {
		case !runs(node.Description.Platform, placement.Platforms):
			missing[node.Description.Platform.Normal().String()] = true
		case !constraints.Match(s.shown(node)):
		case lacks(node, devices):
			unequipped++
		default:
			fits++
		}
	}
	switch {
	case fits > 0:
		return nil
	case ready == 0:
		return []string{"no node is up and active now; the tasks wait for one"}
	case len(missing) > 0:
		return []string{fmt.Sprintf("no node that is up can run it now: the image is for %s, the nodes are %s; the tasks wait for one that fits",
			platformList(placement.Platforms), strings.Join(slices.Sorted(maps.Keys(missing)), ", "))}
	case unequipped > 0:
		return []string{fmt.Sprintf("no node that is up and that it may run on has the devices that it asks for (%s) now; the tasks wait for one that does", deviceList(devices))}
	default:
		return []string{fmt.Sprintf("no node that is up meets its constraints (%s) now; the tasks wait for one that does", strings.Join(placement.Constraints, ", "))}
	}
}

func lacks(node *api.Node, devices []api.Device) bool {
	_, missing := node.Description.Lacks(devices)
	return missing
}

func deviceList(devices []api.Device) string {
	var names []string
	for _, d := range devices {
		names = append(names, d.Name())
	}
	return strings.Join(names, ", ")
}

// runs reports whether a board can run an image that is for these platforms.
func runs(board api.Platform, platforms []api.Platform) bool {
	for _, p := range platforms {
		if board.Runs(p) {
			return true
		}
	}
	return len(platforms) == 0
}

func platformList(platforms []api.Platform) string {
	var texts []string
	for _, p := range platforms {
		texts = append(texts, p.Normal().String())
	}
	return strings.Join(texts, ", ")
}

// respecified is a service that is to follow another spec. What tasks are made
// of has a new version only if it changed: scaling replaces no task. A job runs again only by force.
func respecified(service *api.Service, spec api.ServiceSpec, at time.Time) *api.Service {
	next := *service
	next.Spec = spec
	previous := service.Spec
	next.PreviousSpec = &previous
	if !api.Equal(spec.TaskTemplate, previous.TaskTemplate) || !api.Equal(spec.EndpointSpec, previous.EndpointSpec) {
		next.SpecVersion++
		next.Rollout, next.UpdateStatus = nil, nil
	}
	if spec.TaskTemplate.ForceUpdate != previous.TaskTemplate.ForceUpdate && spec.Mode.Job() {
		next.StartJob(at)
	}
	return &next
}

// rolledBack is a service on its way back to its previous spec. What it leaves
// becomes the previous one, so that a rollback can be taken back. Tasks that
// are still of the previous spec are found to be so by the planners.
func rolledBack(service *api.Service, at time.Time) *api.Service {
	next := *service
	previous := service.Spec
	next.Spec, next.PreviousSpec = *service.PreviousSpec, &previous
	next.SpecVersion++
	if next.Spec.Mode.Job() {
		return &next // what runs runs on: there is nothing to walk through
	}
	next.Rollout = &api.Rollout{Target: next.SpecVersion, Rollback: true, State: api.UpdateRollbackStarted}
	next.UpdateStatus = &api.UpdateStatus{State: api.UpdateRollbackStarted, StartedAt: &at, Message: "manually requested rollback"}
	return &next
}

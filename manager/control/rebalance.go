package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/forecast"
	"github.com/edgeswarm/edgeswarm/store"
)

const opRebalance = "rebalance service"

func (s *Server) rebalanceServices(ctx context.Context, r *api.RebalanceServicesRequest) (*api.RebalanceServicesResponse, error) {
	if r.All == (r.Service != "") {
		return nil, api.Errorf(api.Invalid, opRebalance, "name one service, or ask for all")
	}
	var notes []string
	key, v, err := s.write(ctx, opRebalance, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		var services []*api.Service
		var err error
		if services, notes, err = balanceable(opRebalance, tx.View, r.Service); err != nil {
			return nil, err
		}
		var about api.Object = tx.Cluster()
		uneven := forecast.Rebalance(s.withShown(tx.View), services).Uneven
		for _, service := range services {
			if !service.Rebalancing() && uneven[service.ID] {
				tx.Put(rebalanced(service, s.time(tx.View)))
			}
			if !r.All {
				about = service
			}
		}
		return about, nil
	})
	if err != nil {
		return nil, err
	}
	resp := &api.RebalanceServicesResponse{Notes: notes}
	for service := range v.Services.All() {
		if service.Rebalancing() && (r.All || string(service.ID) == key) {
			resp.Services = append(resp.Services, service)
		}
	}
	slices.SortFunc(resp.Services, func(a, b *api.Service) int { return strings.Compare(a.Spec.Name, b.Spec.Name) })
	return resp, nil
}

// rebalanced is a service whose tasks are to be evened out.
func rebalanced(service *api.Service, at time.Time) *api.Service {
	next := *service
	next.StartRebalance(api.UpdateStatus{State: api.UpdateUpdating, StartedAt: &at, Message: "rebalance in progress"})
	return &next
}

// balanceable lists the services that are meant, in order of name: the named
// one, or an error why it can't be rebalanced; or with no name all that can be
// now, and notes about those that can't.
func balanceable(op string, v *store.View, ref string) (services []*api.Service, notes []string, err error) {
	if ref != "" {
		service, err := findService(v, op, ref)
		if err != nil {
			return nil, nil, err
		}
		return []*api.Service{service}, nil, unbalanceable(op, service, ref)
	}
	for service := range v.Services.All() {
		mode := service.Spec.Mode
		if service.PendingDelete || mode.Job() || mode.PerNode() {
			continue // there is nothing of theirs to rebalance
		}
		if err := unbalanceable("", service, service.Spec.Name); err != nil {
			notes = append(notes, fmt.Sprintf("%v; it is left as it is", err))
			continue
		}
		services = append(services, service)
	}
	slices.SortFunc(services, func(a, b *api.Service) int { return strings.Compare(a.Spec.Name, b.Spec.Name) })
	slices.Sort(notes)
	return services, notes, nil
}

// unbalanceable is why a service can't be rebalanced now, nil if it can.
func unbalanceable(op string, service *api.Service, ref string) error {
	if err := changeable(op, service, ref); err != nil {
		return err
	}
	name, r := service.Spec.Name, service.Rollout
	under := r != nil && !r.Rebalance && r.Target == service.SpecVersion
	switch {
	case service.Spec.Mode.Job():
		return api.Errorf(api.Invalid, op, "service %s is a job: its tasks run to their end where they are, so there is nothing to rebalance", name)
	case service.Spec.Mode.PerNode():
		return api.Errorf(api.Invalid, op, "service %s is global: each node that fits has one of its tasks, so there is nothing to rebalance", name)
	case under && (r.State == api.UpdateUpdating || r.State == api.UpdateRollbackStarted):
		return api.Errorf(api.Conflict, op, "service %s is being updated: rebalance it when that is done (edgectl service ps %s shows how far it is)", name, name)
	case under && (r.State == api.UpdatePaused || r.State == api.UpdateRollbackPaused):
		return api.Errorf(api.Conflict, op, "the update of service %s is paused: update it again or roll it back first", name)
	default:
		return nil
	}
}

// withShown is the view with what planners know of nodes that is not stored.
func (s *Server) withShown(v *store.View) *store.View {
	var nodes []api.Object
	for node := range v.Nodes.All() {
		nodes = append(nodes, s.shown(node))
	}
	return v.With(nodes, nil)
}

func (s *Server) forecastRebalance(op string, v *store.View, ref string) (*api.ForecastServiceResponse, error) {
	services, notes, err := balanceable(op, v, ref)
	if err != nil {
		return nil, err
	}
	plan := forecast.Rebalance(v, services)
	plan.Notes = notes
	return &plan.ForecastServiceResponse, nil
}

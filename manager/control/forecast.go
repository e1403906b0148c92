package control

import (
	"context"
	"fmt"

	"github.com/distribution/reference"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/forecast"
	"github.com/edgeswarm/edgeswarm/store"
)

// ForecastService implements api.ControlServer.
func (s *Server) ForecastService(ctx context.Context, r *api.ForecastServiceRequest) (*api.ForecastServiceResponse, error) {
	return call(s, ctx, r, s.forecastService)
}

func (s *Server) forecastService(_ context.Context, r *api.ForecastServiceRequest) (*api.ForecastServiceResponse, error) {
	const op = "plan service"
	v := s.cfg.Store.View()
	if err := open(op, v); err != nil {
		return nil, err
	}
	v = s.withShown(v)
	if r.Rebalance {
		return s.forecastRebalance(op, v, r.Service)
	}
	service, notes, err := s.changed(op, v, r)
	if err != nil {
		return nil, err
	}
	resp := forecast.Service(v.With([]api.Object{service}, nil), service.ID)
	resp.Notes = append(notes, s.warnings(v, service)...)
	return resp, nil
}

// changed is the service as the request would leave it. An image that is not in
// the fleet is not fetched for that.
func (s *Server) changed(op string, v *store.View, r *api.ForecastServiceRequest) (*api.Service, []string, error) {
	if r.Create != nil {
		spec, err := complete(op, *r.Create)
		if err != nil {
			return nil, nil, err
		}
		if err := nameFree(op, v, spec.Name); err != nil {
			return nil, nil, err
		}
		if err := findNetworks(v, op, &spec); err != nil {
			return nil, nil, err
		}
		if err := findPorts(v, op, "", &spec); err != nil {
			return nil, nil, err
		}
		notes, err := pinKnown(op, v, &spec)
		next := &api.Service{ID: "forecast", Spec: spec, SpecVersion: 1}
		next.StartJob(s.time(v))
		return next, notes, err
	}
	service, err := findService(v, op, r.Service)
	if err != nil {
		return nil, nil, err
	}
	if err := changeable(op, service, r.Service); err != nil {
		return nil, nil, err
	}
	if r.Patch == nil {
		return nil, nil, api.Errorf(api.Invalid, op, "no change of service %s to plan", service.Spec.Name)
	}
	spec, err := merge(op, service.Spec, *r.Patch)
	if err != nil {
		return nil, nil, err
	}
	if err := findNetworks(v, op, &spec); err != nil {
		return nil, nil, err
	}
	if err := findPorts(v, op, service.ID, &spec); err != nil {
		return nil, nil, err
	}
	var notes []string
	if r.Patch.Image != nil {
		if notes, err = pinKnown(op, v, &spec); err != nil {
			return nil, nil, err
		}
	}
	if api.Equal(spec, service.Spec) {
		return service, append(notes, "the service is so already"), nil
	}
	return respecified(service, spec, s.time(v)), notes, nil
}

// pinKnown pins an image that the fleet has.
func pinKnown(op string, v *store.View, spec *api.ServiceSpec) (notes []string, err error) {
	named, full, pinned, err := parseReference(op, spec.TaskTemplate.ContainerSpec.Image)
	if err != nil {
		return nil, err
	}
	image := v.ImageByName(full)
	if pinned != "" {
		image = v.Image(pinned)
	}
	placement := api.Placement{}
	if spec.TaskTemplate.Placement != nil {
		placement = *spec.TaskTemplate.Placement
	}
	placement.Platforms = nil
	if image != nil {
		spec.TaskTemplate.ContainerSpec.Image = reference.FamiliarString(named) + "@" + string(image.ID)
		placement.Platforms = platformsOf(image)
	} else {
		notes = append(notes, fmt.Sprintf("image %s is not in the fleet: it would be pulled first, and its platforms are not known", reference.FamiliarString(named)))
	}
	spec.TaskTemplate.Placement = &placement
	return notes, nil
}

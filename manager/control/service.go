package control

import (
	"context"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

func (s *Server) getService(_ context.Context, r *api.GetServiceRequest) (*api.GetServiceResponse, error) {
	service, err := findService(s.cfg.Store.View(), "get service", r.Service)
	if err != nil {
		return nil, err
	}
	return &api.GetServiceResponse{Service: service}, nil
}

func (s *Server) listServices(_ context.Context, r *api.ListServicesRequest) (*api.ListServicesResponse, error) {
	v := s.cfg.Store.View()
	var services []*api.Service
	for service := range v.Services.All() {
		if service.Spec.Name > r.After {
			services = append(services, service)
		}
	}
	slices.SortFunc(services, func(a, b *api.Service) int { return strings.Compare(a.Spec.Name, b.Spec.Name) })
	resp := &api.ListServicesResponse{}
	if r.Paged {
		var rest []*api.Service
		services, rest = api.Split(services)
		resp.More = len(rest) > 0
	}
	for _, service := range services {
		resp.Services = append(resp.Services, s.summary(v, service))
	}
	return resp, nil
}

// summary counts a service's tasks.
func (s *Server) summary(v *store.View, service *api.Service) api.ServiceSummary {
	if service.Spec.Mode.Job() {
		c := s.jobCount(v, service)
		return api.ServiceSummary{Service: service, Running: c.Running, Desired: c.Desired, Completed: c.Completed, Total: c.Total}
	}
	summary := api.ServiceSummary{Service: service, Desired: service.Spec.Replicas()}
	for task := range v.TasksOf(service.ID) {
		if !task.Live() {
			continue
		}
		if service.Spec.Mode.Replicated == nil {
			summary.Desired++
		}
		if s.running(v, task) {
			summary.Running++
		}
	}
	return summary
}

func (s *Server) createService(ctx context.Context, r *api.CreateServiceRequest) (*api.CreateServiceResponse, error) {
	const op = "create service"
	v := s.cfg.Store.View()
	if key, done := replayed(v, r.RequestID); done {
		return s.created(op, v, key)
	}
	if err := open(op, v); err != nil {
		return nil, err
	}
	spec, err := complete(op, r.Spec)
	if err != nil {
		return nil, err
	}
	if err := nameFree(op, v, spec.Name); err != nil {
		return nil, err
	}
	if err := findNamed(v, op, &spec); err != nil { // before anything is pulled
		return nil, err
	}
	if err := checkPorts(v, op, "", spec); err != nil {
		return nil, err
	}
	if err := s.pinSpec(ctx, op, &spec); err != nil {
		return nil, err
	}
	id := api.NewID[api.ServiceID]()
	key, v, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		if err := nameFree(op, tx.View, spec.Name); err != nil {
			return nil, err
		}
		if err := findNamed(tx.View, op, &spec); err != nil {
			return nil, err
		}
		if err := publish(tx, op, id, &spec); err != nil {
			return nil, err
		}
		if err := claim(op, tx, &spec); err != nil {
			return nil, err
		}
		service := &api.Service{ID: id, Spec: spec, SpecVersion: 1}
		service.StartJob(s.time(tx.View))
		tx.Put(service)
		return service, nil
	})
	if err != nil {
		return nil, err
	}
	return s.created(op, v, key)
}

// created answers a create, or its retry.
func (s *Server) created(op string, v *store.View, key string) (*api.CreateServiceResponse, error) {
	service := v.Service(api.ServiceID(key))
	if service == nil {
		return nil, api.Errorf(api.NotFound, op, "service %s was made and has been removed since", key)
	}
	return &api.CreateServiceResponse{Service: service, Warnings: s.warnings(v, service)}, nil
}

func nameFree(op string, v *store.View, name string) error {
	taken := v.ServiceByName(name)
	if taken == nil {
		return nil
	}
	if taken.PendingDelete {
		return api.Errorf(api.Unavailable, op, "name %s is in use until the service that is being removed is gone", name)
	}
	return api.Errorf(api.Conflict, op, "name %s is in use by service %s; choose another, or update that one", name, api.ShortID(taken.ID))
}

// pinSpec replaces the image by the very one that its name means now.
func (s *Server) pinSpec(ctx context.Context, op string, spec *api.ServiceSpec) error {
	pinned, platforms, err := s.pin(ctx, op, spec.TaskTemplate.ContainerSpec.Image)
	if err != nil {
		return err
	}
	spec.TaskTemplate.ContainerSpec.Image = pinned
	placement := api.Placement{}
	if spec.TaskTemplate.Placement != nil {
		placement = *spec.TaskTemplate.Placement
	}
	placement.Platforms = platforms
	spec.TaskTemplate.Placement = &placement
	return nil
}

func (s *Server) updateService(ctx context.Context, r *api.UpdateServiceRequest) (*api.UpdateServiceResponse, error) {
	const op = "update service"
	v := s.cfg.Store.View()
	if key, done := replayed(v, r.RequestID); done {
		return s.updated(op, v, key)
	}
	if err := open(op, v); err != nil {
		return nil, err
	}
	service, err := findService(v, op, r.Service)
	if err != nil {
		return nil, err
	}
	if err := outdated(op, "service", service.Spec.Name, r.Version, service); err != nil {
		return nil, err
	}
	patch := r.Patch
	// Merged once ahead, so that a bad patch is refused before anything is pulled.
	ahead, err := merge(op, service.Spec, patch)
	if err != nil {
		return nil, err
	}
	if err := checkPorts(v, op, service.ID, ahead); err != nil {
		return nil, err
	}
	var platforms []api.Platform
	if patch.Image != nil {
		if err := s.pinSpec(ctx, op, &ahead); err != nil {
			return nil, err
		}
		patch.Image = &ahead.TaskTemplate.ContainerSpec.Image
		platforms = ahead.TaskTemplate.Placement.Platforms
	}
	key, v, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		service := tx.Service(service.ID)
		if err := changeable(op, service, r.Service); err != nil {
			return nil, err
		}
		if err := outdated(op, "service", service.Spec.Name, r.Version, service); err != nil {
			return nil, err
		}
		spec, err := merge(op, service.Spec, patch)
		if err != nil {
			return nil, err
		}
		if patch.Image != nil {
			placement := *spec.TaskTemplate.Placement
			placement.Platforms = platforms
			spec.TaskTemplate.Placement = &placement
		}
		if err := findNamed(tx.View, op, &spec); err != nil {
			return nil, err
		}
		if err := publish(tx, op, service.ID, &spec); err != nil {
			return nil, err
		}
		if api.Equal(spec, service.Spec) {
			return service, nil
		}
		if patch.Image != nil {
			if err := claim(op, tx, &spec); err != nil {
				return nil, err
			}
		}
		next := respecified(service, spec, s.time(tx.View))
		tx.Put(next)
		return next, nil
	})
	if err != nil {
		return nil, err
	}
	return s.updated(op, v, key)
}

func (s *Server) updated(op string, v *store.View, key string) (*api.UpdateServiceResponse, error) {
	service := v.Service(api.ServiceID(key))
	if service == nil {
		return nil, api.Errorf(api.NotFound, op, "service %s has been removed since", key)
	}
	return &api.UpdateServiceResponse{Service: service, Warnings: s.warnings(v, service)}, nil
}

// changeable refuses a service that is gone or going.
func changeable(op string, service *api.Service, ref string) error {
	if service == nil {
		return api.Errorf(api.NotFound, op, "service %q was removed meanwhile", ref)
	}
	if service.PendingDelete {
		return api.Errorf(api.Conflict, op, "service %s is being removed", service.Spec.Name)
	}
	return nil
}

func (s *Server) rollbackService(ctx context.Context, r *api.RollbackServiceRequest) (*api.UpdateServiceResponse, error) {
	const op = "roll back service"
	key, v, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		service, err := findService(tx.View, op, r.Service)
		if err != nil {
			return nil, err
		}
		if err := changeable(op, service, r.Service); err != nil {
			return nil, err
		}
		if service.PreviousSpec == nil {
			return nil, api.Errorf(api.Conflict, op, "service %s has no previous spec to return to", service.Spec.Name)
		}
		next := rolledBack(service, s.time(tx.View))
		if err := findNamed(tx.View, op, &next.Spec); err != nil {
			return nil, err
		}
		if err := publish(tx, op, next.ID, &next.Spec); err != nil {
			return nil, err
		}
		tx.Put(next)
		return next, nil
	})
	if err != nil {
		return nil, err
	}
	return s.updated(op, v, key)
}

func (s *Server) removeService(ctx context.Context, r *api.RemoveServiceRequest) (*api.Empty, error) {
	const op = "remove service"
	_, _, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		service, err := findService(tx.View, op, r.Service)
		if err != nil {
			return nil, err
		}
		if !service.PendingDelete {
			next := *service
			next.PendingDelete = true
			tx.Put(&next)
		}
		return service, nil
	})
	if err != nil {
		return nil, err
	}
	return &api.Empty{}, nil
}

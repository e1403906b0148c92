package control

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// watchPace is the least time between two messages to one watcher: faster
// changes are merged.
const watchPace = 50 * time.Millisecond

func (s *Server) watchService(ctx context.Context, r *api.GetServiceRequest, stream grpc.ServerStreamingServer[api.ServiceProgress]) error {
	service, err := findService(s.cfg.Store.View(), "watch service", r.Service)
	if err != nil {
		return err
	}
	stored, cancelStored := s.cfg.Store.Subscribe()
	defer cancelStored()
	heard, cancelHeard := s.cfg.Live.Subscribe()
	defer cancelHeard()

	pace := time.NewTicker(watchPace)
	defer pace.Stop()
	var sent *api.ServiceProgress
	for {
		planned := s.cfg.Planned() // before the look: what is planned after it would be missed
		next := s.progress(s.cfg.Store.View(), service.ID)
		if sent == nil || !sameProgress(sent, next) {
			if err := sendProgress(stream, next, r.Parts, pace.C); err != nil {
				return err
			}
			sent = next
		}
		if next.Service == nil {
			return nil
		}
		// That the planners are done with a view is no news of its own.
		poll := planned < next.Service.Meta.Version.Index
		if err := news(ctx, stored, heard, poll); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pace.C:
		}
	}
}

// sendProgress sends a moment: in parts, one with each tick of pace, to who
// takes them, else at once.
func sendProgress(stream grpc.ServerStreamingServer[api.ServiceProgress], whole *api.ServiceProgress, parts bool, pace <-chan time.Time) error {
	if !parts || whole.Service == nil {
		return stream.Send(whole)
	}
	last := *whole
	last.Tasks = nil
	current := map[uint64]bool{} // by version, of which all tasks are alike
	for _, task := range whole.Tasks {
		version := task.SpecVersion
		if _, known := current[version]; !known {
			current[version] = whole.Service.Current(task)
		}
		brief := task.Brief()
		if current[version] {
			brief.SpecVersion = whole.Service.SpecVersion
		}
		last.Tasks = append(last.Tasks, brief)
	}
	for {
		part, rest := api.Split(last.Tasks)
		if len(rest) == 0 {
			return stream.Send(&last)
		}
		if err := stream.Send(&api.ServiceProgress{More: true, Tasks: part}); err != nil {
			return err
		}
		last.Tasks = rest
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-pace:
		}
	}
}

// news waits for something to have happened, or just to be asked again.
func news(ctx context.Context, stored, heard <-chan struct{}, poll bool) error {
	if poll {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-stored:
	case <-heard:
	}
	return nil
}

// progress is a service with its tasks as far as is known now.
func (s *Server) progress(v *store.View, id api.ServiceID) *api.ServiceProgress {
	service := v.Service(id)
	if service == nil {
		return &api.ServiceProgress{}
	}
	p := &api.ServiceProgress{Service: service, Nodes: map[api.NodeID]string{}}
	for task := range v.TasksOf(id) {
		p.Tasks = append(p.Tasks, s.live(task))
		if node := v.Node(task.NodeID); node != nil {
			p.Nodes[node.ID] = node.Name()
		}
	}
	slices.SortStableFunc(p.Tasks, taskOrder)
	p.Converged = s.converged(v, service)
	return p
}

// converged reports whether every wanted task of the present spec runs, or for
// a job has ended, and the planners see nothing more to do.
func (s *Server) converged(v *store.View, service *api.Service) bool {
	if service.PendingDelete || updating(service) || s.cfg.Planned() < service.Meta.Version.Index {
		return false
	}
	if service.Spec.Mode.Job() {
		return s.jobCount(v, service).Done()
	}
	var current uint64
	for task := range v.TasksOf(service.ID) {
		if !task.Live() {
			continue
		}
		if !service.Current(task) || task.DesiredState != api.TaskRunning || !s.running(v, task) {
			return false
		}
		current++
	}
	return service.Spec.Mode.Replicated == nil || current == service.Spec.Replicas()
}

func updating(service *api.Service) bool {
	r := service.Rollout
	return r != nil && (r.State == api.UpdateUpdating || r.State == api.UpdateRollbackStarted)
}

// sameProgress reports whether a watcher would see no difference.
func sameProgress(a, b *api.ServiceProgress) bool {
	return a.Service == b.Service && a.Converged == b.Converged && slices.EqualFunc(a.Tasks, b.Tasks, func(a, b *api.Task) bool {
		return a.ID == b.ID && a.Meta.Version == b.Meta.Version && a.DesiredState == b.DesiredState &&
			a.Status.State == b.Status.State && a.Status.Attempt == b.Status.Attempt && a.Status.Message == b.Status.Message && a.Status.Err == b.Status.Err
	})
}

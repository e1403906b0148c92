package control

import (
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// jobCount is how far the present run of a job has come. A global job's total
// are the nodes that it has a task on.
func (s *Server) jobCount(v *store.View, service *api.Service) api.JobCount {
	tasks := func(yield func(*api.Task) bool) {
		for task := range v.TasksOf(service.ID) {
			if !yield(s.live(task)) {
				return
			}
		}
	}
	return service.CountJob(tasks, func(task *api.Task) bool { return s.running(v, task) })
}

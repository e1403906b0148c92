package dispatch

import (
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// Facts are what planners must know of the reports and a view does not have.
// They are derived from what was heard whenever asked for, so a batch that
// could not be committed is not lost.
type Facts struct {
	// Nodes went up or down, or described themselves anew.
	Nodes []api.Object
	// Tasks began to run, or ended for good. They can wait for each other: the
	// agents would say them again to another leader.
	Tasks []api.Object
	// Unstored are tasks of which planners go by what was said, though it is not
	// worth a commit: those that have all that they need and wait for one on their
	// board to end, as it was told to, and those that fail over and over.
	Unstored []api.Object
	// Urgent is set if one of Tasks is a failure that an update has to judge.
	Urgent bool
}

// Puts are all the changed objects that are to be stored.
func (f Facts) Puts() []api.Object { return slices.Concat(f.Nodes, f.Tasks) }

// Facts compares what was heard with a view. The fleet's time is given to what
// is concluded now.
func (s *Server) Facts(v *store.View, fleetTime time.Time) Facts {
	facts := Facts{Nodes: s.watch.nodeFacts(v, s.now(), fleetTime)}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	for id, said := range s.watch.tasks {
		task := v.Task(id)
		if task == nil {
			continue // made after this view
		}
		if !supersedes(said, task.Status) {
			delete(s.watch.tasks, id) // it is stored, and need not be looked at again
			continue
		}
		next := *task
		next.Status = said
		fact, urgent := isFact(v, task, said)
		if !fact {
			if task.Live() && (said.State == api.TaskReady && task.Replaces != "" || said.State == api.TaskFailed && said.RecentFailures >= api.FaultyAfter) {
				facts.Unstored = append(facts.Unstored, &next)
			}
			continue
		}
		facts.Tasks = append(facts.Tasks, &next)
		facts.Urgent = facts.Urgent || urgent
	}
	slices.SortFunc(facts.Tasks, byKey)
	slices.SortFunc(facts.Unstored, byKey)
	return facts
}

// isFact tells whether planners need a status. A restart in place is not one:
// the agent sees to it, and a task that crashes over and over must not wear out
// every manager's card.
func isFact(v *store.View, task *api.Task, said api.TaskStatus) (fact, urgent bool) {
	next := *task
	next.Status = said
	switch {
	case next.Over():
		return !task.Over() || said.Newer(task.Status), said.InMonitor && judging(v, task)
	case said.State == api.TaskReady && task.DesiredState == api.TaskReady:
		return task.Status.State != api.TaskReady, false // what it replaces may stop now
	case said.State == api.TaskRunning:
		return task.Status.State != api.TaskRunning, false
	case said.State.Ended() && said.InMonitor:
		judged := judging(v, task)
		return judged, judged
	default:
		return false, false
	}
}

// judging reports whether an update under way has yet to count this task's outcome.
func judging(v *store.View, task *api.Task) bool {
	service := v.Service(task.ServiceID)
	if service == nil || service.Rollout == nil {
		return false
	}
	r := service.Rollout
	underWay := r.State == api.UpdateUpdating || r.State == api.UpdateRollbackStarted
	return underWay && task.SpecVersion == r.Target && !slices.Contains(r.Judged, task.ID)
}

func byKey(a, b api.Object) int {
	switch {
	case a.Key() < b.Key():
		return -1
	case a.Key() > b.Key():
		return 1
	default:
		return 0
	}
}

// Status is the latest that is known of a task: what its agent said last, where
// that is newer than what is stored.
func (s *Server) Status(task *api.Task) api.TaskStatus { return s.watch.status(task) }

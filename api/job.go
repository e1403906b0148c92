package api

import (
	"errors"
	"iter"
	"time"
)

// ReplicatedJob runs a number of tasks to their completion, so many at a time.
type ReplicatedJob struct {
	// MaxConcurrent is how many run at once; nil is TotalCompletions.
	MaxConcurrent *uint64 `json:",omitempty"`
	// TotalCompletions is how many must complete; nil is MaxConcurrent, or 1.
	TotalCompletions *uint64 `json:",omitempty"`
}

// GlobalJob runs one task to its completion on every node that fits.
type GlobalJob struct{}

// JobStatus is which run of a job its tasks belong to.
type JobStatus struct {
	// JobIteration counts the runs that were asked for after the first
	// (`service update --force`). What completed in an earlier one says
	// nothing of this one.
	JobIteration Version
	// LastExecution is when this run was asked for, in fleet time.
	LastExecution time.Time
}

// JobCount is how far the present run of a job has come.
type JobCount struct {
	// Running tasks are those that run now; Desired is how many may at once,
	// whatever is left to do, as in Docker.
	Running, Desired uint64
	// Completed slots of the Total that the job has.
	Completed, Total uint64
	// Failed slots have ended in a way that their restart policy lets be: they
	// are not tried again before the next run.
	Failed uint64
}

// Done reports whether nothing of the run is left to do.
func (c JobCount) Done() bool { return c.Completed+c.Failed >= c.Total }

// Job reports whether the service's tasks run to completion, and not for ever.
func (m ServiceMode) Job() bool { return m.ReplicatedJob != nil || m.GlobalJob != nil }

// PerNode reports whether the service has a task on every node that fits, and
// no numbered slots.
func (m ServiceMode) PerNode() bool { return m.Global != nil || m.GlobalJob != nil }

// Concurrency is how many tasks a job runs at once, and how many it is to
// complete; both 0 for another mode, where nodes or replicas say so.
func (m ServiceMode) Concurrency() (most, total uint64) {
	j := m.ReplicatedJob
	switch {
	case j == nil:
		return 0, 0
	case j.TotalCompletions != nil:
		total = *j.TotalCompletions
	case j.MaxConcurrent != nil:
		total = *j.MaxConcurrent
	default:
		total = 1
	}
	if j.MaxConcurrent == nil {
		return total, total
	}
	return *j.MaxConcurrent, total
}

// Iteration is the run that a job's tasks belong to now.
func (s *Service) Iteration() Version {
	if s.JobStatus == nil {
		return Version{}
	}
	return s.JobStatus.JobIteration
}

// Completes reports whether the task's end counts for the present run of its
// job: it has done its work, and is not to run again.
func (s *Service) Completes(t *Task) bool {
	done := t.Status.State == TaskComplete || t.DesiredState == TaskComplete
	return s.Spec.Mode.Job() && done && t.JobIteration != nil && *t.JobIteration == s.Iteration()
}

// GivenUp reports whether a job's task ended in a way that its restart policy
// lets be.
func (s *Service) GivenUp(t *Task) bool {
	return s.Spec.Mode.Job() && t.DesiredState.Before(TaskDraining) && t.Over() && t.Status.State != TaskComplete &&
		t.Spec.RestartPolicy.OrDefault().Condition == RestartNone
}

// CountJob counts a job's tasks, of which some run. A global job's total are
// the nodes that it has a task on.
func (s *Service) CountJob(tasks iter.Seq[*Task], running func(*Task) bool) JobCount {
	type place struct {
		slot int
		node NodeID
	}
	places := map[place]string{}
	var c JobCount
	for t := range tasks {
		at := place{slot: t.Slot}
		if t.Slot == 0 {
			at.node = t.NodeID
		}
		switch {
		case s.Completes(t):
			places[at] = "completed"
		case places[at] == "completed":
		case s.GivenUp(t):
			places[at] = "failed"
		case t.Live():
			places[at] = "live"
		}
		if t.Live() && !s.Completes(t) && running(t) {
			c.Running++
		}
	}
	var live uint64
	for _, how := range places {
		switch how {
		case "completed":
			c.Completed++
		case "failed":
			c.Failed++
		default:
			live++
		}
	}
	if s.Spec.Mode.GlobalJob != nil {
		c.Total = live + c.Completed + c.Failed
		c.Desired = c.Total
		return c
	}
	most, total := s.Spec.Mode.Concurrency()
	c.Total = total
	c.Desired = min(most, total)
	return c
}

// StartJob begins another run of a job, or its first; it clears the status of a
// service that is none.
func (s *Service) StartJob(at time.Time) {
	if !s.Spec.Mode.Job() {
		s.JobStatus = nil
		return
	}
	next := JobStatus{LastExecution: at}
	if s.JobStatus != nil {
		next.JobIteration.Index = s.JobStatus.JobIteration.Index + 1
	}
	s.JobStatus = &next
}

func (c *check) mode(m ServiceMode) {
	modes := 0
	for _, chosen := range []bool{m.Replicated != nil, m.Global != nil, m.ReplicatedJob != nil, m.GlobalJob != nil} {
		if chosen {
			modes++
		}
	}
	c.that(modes <= 1, "Mode", "a service is one of replicated, global, replicated job and global job, not several")
	if m.ReplicatedJob != nil {
		const at = "Mode.ReplicatedJob."
		most, total := m.Concurrency()
		c.that(total <= MaxReplicas, at+"TotalCompletions", "%d is more than the %d tasks a service may have", total, MaxReplicas)
		c.that(most > 0 || total == 0, at+"MaxConcurrent", "a job that may run no task never completes: leave it out, or use 1 or more")
	}
}

// job refuses what has no meaning for tasks that end by themselves.
func (c *check) job(s ServiceSpec) {
	if !s.Mode.Job() {
		return
	}
	c.that(s.UpdateConfig == nil && s.RollbackConfig == nil, "UpdateConfig", "a job's tasks are never replaced while they run: update and rollback options have no meaning for a job; leave them out")
	if p := s.TaskTemplate.RestartPolicy; p != nil {
		c.that(p.Condition != RestartAny, "TaskTemplate.RestartPolicy.Condition", "a job's task that completed is not run again: use on-failure or none")
	}
}

// jobDefaults writes out what is not set of a job.
func (s *ServiceSpec) jobDefaults() {
	if !s.Mode.Job() {
		return
	}
	if j := s.Mode.ReplicatedJob; j != nil {
		most, total := s.Mode.Concurrency()
		j.MaxConcurrent, j.TotalCompletions = &most, &total
	}
	policy := RestartPolicy{}
	if s.TaskTemplate.RestartPolicy != nil {
		policy = *s.TaskTemplate.RestartPolicy
	}
	if policy.Condition == "" {
		policy.Condition = RestartOnFailure
	}
	s.TaskTemplate.RestartPolicy = &policy
}

// mergeMode changes how many tasks there are.
func (s *ServiceSpec) mergeMode(patch ServicePatch) error {
	if patch.MaxConcurrent != nil {
		if s.Mode.ReplicatedJob == nil {
			return invalid("MaxConcurrent", errors.New("only a replicated job has a number of tasks that run at once"))
		}
		s.Mode.ReplicatedJob.MaxConcurrent = patch.MaxConcurrent
	}
	switch {
	case patch.Replicas == nil:
	case s.Mode.PerNode():
		return invalid("Replicas", errors.New("a global service runs one task on each node: it has no number of replicas"))
	case s.Mode.ReplicatedJob != nil:
		s.Mode.ReplicatedJob.TotalCompletions = patch.Replicas
	default:
		s.Mode.Replicated = &ReplicatedService{Replicas: patch.Replicas}
	}
	return nil
}

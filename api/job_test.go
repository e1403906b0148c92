package api

import (
	"slices"
	"testing"
)

func job(total, most uint64) ServiceSpec {
	s := validSpec()
	s.EndpointSpec = nil
	s.Mode = ServiceMode{ReplicatedJob: &ReplicatedJob{TotalCompletions: &total, MaxConcurrent: &most}}
	return s
}

func TestJobSpec(t *testing.T) {
	full := job(5, 2).Defaults()
	if err := full.Validate(); err != nil {
		t.Fatal(err)
	}
	if full.UpdateConfig != nil || full.RollbackConfig != nil || full.Mode.Replicated != nil || full.TaskTemplate.RestartPolicy.Condition != RestartOnFailure {
		t.Errorf("defaults of a job: %+v", full)
	}
	for _, c := range []struct {
		job         ReplicatedJob
		most, total uint64
	}{
		{ReplicatedJob{}, 1, 1},
		{ReplicatedJob{TotalCompletions: new(uint64(4))}, 4, 4},
		{ReplicatedJob{MaxConcurrent: new(uint64(3))}, 3, 3},
		{ReplicatedJob{MaxConcurrent: new(uint64(3)), TotalCompletions: new(uint64(9))}, 3, 9},
	} {
		if most, total := (ServiceMode{ReplicatedJob: &c.job}).Concurrency(); most != c.most || total != c.total {
			t.Errorf("%+v: %d at once of %d, want %d of %d", c.job, most, total, c.most, c.total)
		}
	}
	for field, change := range map[string]func(*ServiceSpec){
		"Mode":                                 func(s *ServiceSpec) { s.Mode.Global = &GlobalService{} },
		"Mode.ReplicatedJob.MaxConcurrent":     func(s *ServiceSpec) { *s = job(3, 0) },
		"Mode.ReplicatedJob.TotalCompletions":  func(s *ServiceSpec) { *s = job(MaxReplicas+1, 1) },
		"UpdateConfig":                         func(s *ServiceSpec) { s.UpdateConfig = &UpdateConfig{} },
		"TaskTemplate.RestartPolicy.Condition": func(s *ServiceSpec) { s.TaskTemplate.RestartPolicy = &RestartPolicy{Condition: RestartAny} },
	} {
		s := job(3, 1)
		change(&s)
		refused(t, field, s.Validate())
	}
}

func TestMergeJob(t *testing.T) {
	s, err := job(5, 2).Merge(ServicePatch{Replicas: new(uint64(8)), MaxConcurrent: new(uint64(4))})
	if most, total := s.Mode.Concurrency(); err != nil || most != 4 || total != 8 {
		t.Errorf("%d at once of %d: %v", most, total, err)
	}
	_, err = ServiceSpec{Mode: ServiceMode{GlobalJob: &GlobalJob{}}}.Merge(ServicePatch{Replicas: new(uint64(8))})
	refused(t, "Replicas", err)
	_, err = validSpec().Merge(ServicePatch{MaxConcurrent: new(uint64(8))})
	refused(t, "MaxConcurrent", err)
}

func TestCountJob(t *testing.T) {
	s := &Service{Spec: job(5, 2)}
	s.Spec.TaskTemplate.RestartPolicy = &RestartPolicy{Condition: RestartNone}
	task := func(slot int, run uint64, state, desired TaskState) *Task {
		return &Task{
			Slot: slot, JobIteration: &Version{Index: run}, DesiredState: desired, Spec: s.Spec.TaskTemplate,
			Status: TaskStatus{State: state, Exhausted: state.Ended()},
		}
	}
	s.StartJob(s.CreatedAt)
	s.StartJob(s.CreatedAt)
	tasks := []*Task{
		task(1, 0, TaskComplete, TaskComplete), // of the run before
		task(1, 1, TaskComplete, TaskRunning),
		task(1, 1, TaskRunning, TaskRunning), // of a slot that is done
		task(2, 1, TaskShutdown, TaskComplete),
		task(3, 1, TaskFailed, TaskRunning),
		task(4, 1, TaskRunning, TaskRunning),
	}
	got := s.CountJob(slices.Values(tasks), func(t *Task) bool { return t.Status.State == TaskRunning })
	if want := (JobCount{Running: 2, Desired: 2, Completed: 2, Failed: 1, Total: 5}); got != want || got.Done() {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

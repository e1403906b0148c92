package main

import (
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestJobModes(t *testing.T) {
	got, err := specOf(t, "--mode", "replicated-job", "--replicas", "5", "--max-concurrent", "2", "backup")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "mode", got.Mode, api.ServiceMode{ReplicatedJob: &api.ReplicatedJob{TotalCompletions: ptr(uint64(5)), MaxConcurrent: ptr(uint64(2))}})
	if got, err = specOf(t, "--mode", "global-job", "backup"); err != nil || got.Mode.GlobalJob == nil {
		t.Errorf("global job: %+v, %v", got.Mode, err)
	}
	for args, say := range map[string]string{
		"--mode global-job --replicas 2":                         "--replicas does not go with --mode global-job",
		"--mode replicated --max-concurrent 2":                   "--max-concurrent does not go with --mode replicated",
		"--mode replicated-job --parallelism 2":                  "never replaced",
		"--mode replicated-job --restart-condition any":          "on-failure or none",
		"--mode global-job --replicas-max-per-node 2":            "--replicas-max-per-node does not go",
		"--mode replicated-job --max-concurrent -1 --replicas 2": "below 0",
	} {
		if _, err := specOf(t, append(strings.Fields(args), "backup")...); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v does not say %q", args, err, say)
		}
	}
}

// jobFleet has a job of 3, two at a time.
func jobFleet() (*fleet, *api.Service) {
	f := newFleet()
	job := testService("backup", 0)
	job.Spec.Mode = api.ServiceMode{ReplicatedJob: &api.ReplicatedJob{TotalCompletions: ptr(uint64(3)), MaxConcurrent: ptr(uint64(2))}}
	job.Spec.TaskTemplate.RestartPolicy = &api.RestartPolicy{Condition: api.RestartNone}
	job.StartJob(job.CreatedAt)
	f.services = append(f.services, api.ServiceSummary{Service: job, Running: 1, Desired: 2, Completed: 1, Total: 3})
	return f, job
}

func TestAJobIsListed(t *testing.T) {
	f, _ := jobFleet()
	r := f.edgectl(t, "service", "ls", "--filter", "mode=replicated-job")
	if r.code != 0 {
		t.Fatal(r.err)
	}
	golden(t, "service-ls-job", r.out)
}

func TestAJobIsFollowedToItsCompletion(t *testing.T) {
	for name, c := range map[string]struct {
		last api.TaskState
		code int
		say  string
	}{
		"job-done":   {api.TaskComplete, 0, ""},
		"job-failed": {api.TaskFailed, 1, "job backup failed: 1 of 3 tasks failed"},
	} {
		f, job := jobFleet()
		task := func(slot int, state api.TaskState) *api.Task {
			t := &api.Task{
				ID: api.TaskID(rune('a' + slot)), ServiceName: "backup", Slot: slot, NodeID: "n1", SpecVersion: 1, JobIteration: &api.Version{},
				Spec: job.Spec.TaskTemplate, DesiredState: api.TaskRunning, Status: api.TaskStatus{State: state, Attempt: 1, Exhausted: state.Ended()},
			}
			if state == api.TaskComplete {
				t.DesiredState = api.TaskComplete
			}
			return t
		}
		moments := [][]*api.Task{
			{task(1, api.TaskPreparing), task(2, api.TaskPreparing)},
			{task(1, api.TaskComplete), task(2, api.TaskRunning), task(3, api.TaskPreparing)},
			{task(1, api.TaskComplete), task(2, api.TaskComplete), task(3, api.TaskRunning)},
			{task(1, api.TaskComplete), task(2, api.TaskComplete), task(3, c.last)},
		}
		f.watch = func(_ int, s grpc.ServerStreamingServer[api.ServiceProgress]) error {
			for i, tasks := range moments {
				p := &api.ServiceProgress{Service: job, Tasks: tasks, Nodes: map[api.NodeID]string{"n1": "board1"}, Converged: i == len(moments)-1}
				if err := s.Send(p); err != nil {
					return err
				}
			}
			<-s.Context().Done()
			return s.Context().Err()
		}
		r := f.edgectl(t, "service", "update", "--force", "backup")
		if r.code != c.code || !strings.Contains(r.err, c.say) {
			t.Errorf("%s: exit %d: %s", name, r.code, r.err)
		}
		golden(t, name, r.out)
	}
}

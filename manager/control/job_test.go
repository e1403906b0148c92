package control

import (
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestJobs(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		declared := spec("backup", "web:1", 0)
		declared.Mode = api.ServiceMode{ReplicatedJob: &api.ReplicatedJob{TotalCompletions: new(uint64(3)), MaxConcurrent: new(uint64(2))}}
		created, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: "r", Spec: declared})
		if err != nil {
			t.Fatal(err)
		}
		s := created.Service
		if s.JobStatus == nil || s.JobStatus.JobIteration.Index != 0 || s.JobStatus.LastExecution.IsZero() {
			t.Errorf("a new job has the status %+v", s.JobStatus)
		}
		task := func(id string, slot int, state, desired api.TaskState) {
			next := &api.Task{
				ID: api.TaskID(id), ServiceID: s.ID, Slot: slot, NodeID: "a", SpecVersion: 1, JobIteration: &api.Version{},
				DesiredState: desired, Status: api.TaskStatus{State: state, Attempt: 1, Exhausted: state.Ended()},
			}
			if old := b.View().Task(next.ID); old != nil {
				next.Meta = old.Meta
			}
			b.Put(t, next)
		}
		task("t1", 1, api.TaskComplete, api.TaskComplete)
		task("t2", 2, api.TaskRunning, api.TaskRunning)
		b.planned.Store(b.View().Index)
		listed, err := b.server.ListServices(b.ctx, &api.ListServicesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if sum := listed.Services[0]; sum.Running != 1 || sum.Desired != 2 || sum.Completed != 1 || sum.Total != 3 {
			t.Errorf("listed as %d/%d (%d/%d completed)", sum.Running, sum.Desired, sum.Completed, sum.Total)
		}
		if b.server.progress(b.View(), s.ID).Converged {
			t.Error("it has converged with two tasks to go")
		}
		task("t2", 2, api.TaskComplete, api.TaskRunning)
		task("t3", 3, api.TaskComplete, api.TaskRunning)
		b.planned.Store(b.View().Index)
		if !b.server.progress(b.View(), s.ID).Converged {
			t.Error("it has not converged with all completed")
		}

		update := func(id api.RequestID, patch api.ServicePatch) *api.Service {
			t.Helper()
			time.Sleep(time.Minute) // of the bubble's
			resp, err := b.server.UpdateService(b.ctx, &api.UpdateServiceRequest{RequestID: id, Service: "backup", Patch: patch})
			if err != nil {
				t.Fatal(err)
			}
			return resp.Service
		}
		if next := update("u1", api.ServicePatch{EnvAdd: []string{"A=1"}}); *next.JobStatus != *s.JobStatus || next.SpecVersion != 2 {
			t.Errorf("another spec began run %+v", next.JobStatus)
		}
		forced := update("u2", api.ServicePatch{Force: true})
		if forced.JobStatus.JobIteration.Index != 1 || !forced.JobStatus.LastExecution.After(s.JobStatus.LastExecution) {
			t.Errorf("by force, it is at run %+v", forced.JobStatus)
		}
		if again := update("u2", api.ServicePatch{Force: true}); again.JobStatus.JobIteration.Index != 1 {
			t.Error("the same request again began another run")
		}
		back, err := b.server.RollbackService(b.ctx, &api.RollbackServiceRequest{RequestID: "u3", Service: "backup"})
		if err != nil || back.Service.Rollout != nil || back.Service.JobStatus.JobIteration.Index != 1 {
			t.Errorf("rolled back to %+v: %v", back, err)
		}
		declared.Name, declared.TaskTemplate.RestartPolicy = "loop", &api.RestartPolicy{Condition: api.RestartAny}
		_, err = b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: "r3", Spec: declared})
		refused(t, err, api.Invalid, "RestartPolicy.Condition", "on-failure or none")
	})
}

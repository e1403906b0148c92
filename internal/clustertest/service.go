package clustertest

import (
	"context"
	"fmt"
	"time"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Spec is a replicated service whose tasks run until they are told to end.
func Spec(name string, replicas uint64) api.ServiceSpec {
	return api.ServiceSpec{
		Annotations:  api.Annotations{Name: name},
		TaskTemplate: api.TaskSpec{ContainerSpec: api.ContainerSpec{Image: "web:1"}},
		Mode:         api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: &replicas}},
	}
}

// Converged checks, at a board's socket, that a service has come to rest with
// so many tasks running, and that these and no others run on the boards that
// are on.
func (f *Fleet) Converged(at *Board, name string, replicas int) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		service, err := at.Control().GetService(ctx, &api.GetServiceRequest{Service: name})
		if err != nil {
			return err
		}
		if u := service.Service.UpdateStatus; u != nil && !u.State.Over() {
			return fmt.Errorf("the update of %s is %s: %s", name, u.State, u.Message)
		}
		tasks, err := at.Control().ListTasks(ctx, &api.ListTasksRequest{Service: name})
		if err != nil {
			return err
		}
		wanted := map[api.TaskID]api.NodeID{}
		for _, task := range tasks.Tasks {
			if task.DesiredState != api.TaskRunning {
				continue
			}
			if task.SpecVersion != service.Service.SpecVersion || task.Status.State != api.TaskRunning {
				return fmt.Errorf("task %s.%d of version %d is %s (%s%s)", name, task.Slot, task.SpecVersion, task.Status.State, task.Status.Err, task.Status.Message)
			}
			wanted[task.ID] = task.NodeID
		}
		if len(wanted) != replicas {
			return fmt.Errorf("%d tasks of %s are wanted and not %d", len(wanted), name, replicas)
		}
		running := f.Running(name)
		for id, node := range wanted {
			if running[id] != node {
				return fmt.Errorf("task %s runs on %q and should on %q", id, running[id], node)
			}
		}
		if len(running) != replicas {
			return fmt.Errorf("%d tasks of %s run and not %d", len(running), name, replicas)
		}
		return nil
	}
}

// Running are the tasks of a service that run on boards that are on, and where.
func (f *Fleet) Running(name string) map[api.TaskID]api.NodeID {
	out := map[api.TaskID]api.NodeID{}
	for _, b := range on(f.Boards) {
		for _, c := range b.Containers.Containers() {
			if spec, ok := b.Containers.Spec(c.ID); ok && c.State == runtime.Running && spec.Labels[agent.LabelName] == name {
				out[c.Task] = b.ID()
			}
		}
	}
	return out
}

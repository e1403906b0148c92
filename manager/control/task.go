package control

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// live is a task with the latest status that the leader knows of.
func (s *Server) live(task *api.Task) *api.Task {
	next := *task
	next.Status = s.cfg.Live.Status(task)
	return &next
}

// running reports whether a task runs as far as can be known: on a node that
// is down, nothing can.
func (s *Server) running(v *store.View, task *api.Task) bool {
	node := v.Node(task.NodeID)
	return node != nil && node.Status.State != api.NodeDown && s.cfg.Live.Status(task).State == api.TaskRunning
}

func (s *Server) listTasks(ctx context.Context, r *api.ListTasksRequest) (*api.ListTasksResponse, error) {
	const op = "list tasks"
	v := s.cfg.Store.View()
	tasks := v.Tasks.All()
	if r.Service != "" {
		service, err := findService(v, op, r.Service)
		if err != nil {
			return nil, err
		}
		tasks = v.TasksOf(service.ID)
	}
	var node api.NodeID
	if r.Node != "" {
		n, err := s.findNode(ctx, v, op, r.Node)
		if err != nil {
			return nil, err
		}
		node = n.ID
		if r.Service == "" {
			tasks = v.TasksOn(node)
		}
	}
	resp := &api.ListTasksResponse{}
	for task := range tasks {
		if node != "" && task.NodeID != node || r.Current && !task.Live() || r.After != nil && taskOrder(task, r.After) <= 0 {
			continue
		}
		shown := s.live(task)
		if r.Paged {
			shown.Spec = task.Spec.Brief()
		}
		resp.Tasks = append(resp.Tasks, shown)
	}
	slices.SortStableFunc(resp.Tasks, taskOrder)
	if r.Paged {
		var rest []*api.Task
		resp.Tasks, rest = api.Split(resp.Tasks)
		resp.More = len(rest) > 0
	}
	return resp, nil
}

// taskOrder is by service, slot, and newest first.
func taskOrder(a, b *api.Task) int {
	return cmp.Or(strings.Compare(a.ServiceName, b.ServiceName), cmp.Compare(a.Slot, b.Slot),
		strings.Compare(globalPlace(a), globalPlace(b)), b.CreatedAt.Compare(a.CreatedAt), strings.Compare(string(a.ID), string(b.ID)))
}

// globalPlace is what a global service's tasks have for a slot.
func globalPlace(task *api.Task) string {
	if task.Slot != 0 {
		return ""
	}
	return string(task.NodeID)
}

func (s *Server) getTask(_ context.Context, r *api.GetTaskRequest) (*api.GetTaskResponse, error) {
	task, err := s.findTask(s.cfg.Store.View(), "get task", r.Task)
	if err != nil {
		return nil, err
	}
	return &api.GetTaskResponse{Task: s.live(task)}, nil
}

package node

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

const (
	// usagePatience is how long a board may take over what its tasks use, and
	// the leader over which boards are up: who looks on waits for them.
	usagePatience = 2 * time.Second
	// usageFanOut bounds how many boards, or tasks of this one, are asked at once.
	usageFanOut = 16
)

// Usage implements api.BoardServer. A question has one answer and no more: who
// looks on for long asks again, and who reads slowly costs nothing.
func (s boardServer) Usage(ctx context.Context, req *api.UsageRequest) (*api.UsageResponse, error) {
	m, err := s.fellow(ctx, "task usage")
	if err != nil {
		return nil, err
	}
	switch {
	case req.Local:
		return &api.UsageResponse{Tasks: m.ownUsage(ctx, req)}, nil
	case len(req.Of) == 0:
		return m.usageOfAll(ctx, req)
	default:
		return m.usageOfSome(ctx, req)
	}
}

// usageOfAll asks every board. That needs no leader; one that is reached saves
// asking boards that are down.
func (m *membership) usageOfAll(ctx context.Context, req *api.UsageRequest) (*api.UsageResponse, error) {
	down := map[api.NodeID]bool{}
	asking, cancel := context.WithTimeout(ctx, usagePatience)
	defer cancel()
	if control, err := m.control(asking); err == nil {
		if nodes, err := control.ListNodes(asking, &api.ListNodesRequest{}); err == nil {
			for _, n := range nodes.Nodes {
				down[n.ID] = n.Status.State == api.NodeDown
			}
		}
	}
	resp, places := &api.UsageResponse{}, map[api.NodeID][]string{}
	for _, node := range append(m.neighbours(), m.self) {
		if down[node] && node != m.self {
			resp.Silent = append(resp.Silent, m.silent(node, errors.New("it is down")))
			continue
		}
		places[node] = nil
	}
	m.gatherUsage(ctx, req, places, resp)
	return resp, ctx.Err()
}

// usageOfSome asks the boards of the tasks that are named.
func (m *membership) usageOfSome(ctx context.Context, req *api.UsageRequest) (*api.UsageResponse, error) {
	tasks, err := m.resolve(ctx, req.Of)
	if err != nil {
		return nil, err
	}
	resp, places := &api.UsageResponse{}, map[api.NodeID][]string{}
	for id, t := range tasks {
		if t.NodeID != "" {
			places[t.NodeID] = append(places[t.NodeID], string(id))
		}
	}
	m.gatherUsage(ctx, req, places, resp)
	for _, t := range resp.Tasks {
		delete(tasks, t.ID)
	}
	for _, t := range tasks {
		brief := api.TaskBrief{ID: t.ID, ServiceName: t.ServiceName, Slot: t.Slot, Status: t.Status}
		resp.Tasks = append(resp.Tasks, api.TaskUsage{TaskBrief: brief, NodeID: t.NodeID, NodeName: m.nameOf(t.NodeID)})
	}
	sortUsage(resp)
	return resp, ctx.Err()
}

// resolve finds the present tasks of services, and the tasks, that are named.
func (m *membership) resolve(ctx context.Context, refs []string) (map[api.TaskID]*api.Task, error) {
	control, err := m.control(ctx)
	if err != nil {
		return nil, err
	}
	found := map[api.TaskID]*api.Task{}
	for _, ref := range refs {
		of, err := control.ListTasks(ctx, &api.ListTasksRequest{Service: ref, Current: true})
		if err == nil {
			for _, t := range of.Tasks {
				found[t.ID] = t
			}
			continue
		}
		if api.KindOf(err) != api.NotFound {
			return nil, err
		}
		task, err := control.GetTask(ctx, &api.GetTaskRequest{Task: ref})
		if api.KindOf(err) == api.NotFound {
			return nil, api.Errorf(api.NotFound, "", "no service or task is called %s: see edgectl service ls, and edgectl task ls", ref)
		}
		if err != nil {
			return nil, err
		}
		found[task.Task.ID] = task.Task
	}
	return found, nil
}

// gatherUsage asks boards, each about the tasks named with it, or all its tasks.
func (m *membership) gatherUsage(ctx context.Context, req *api.UsageRequest, places map[api.NodeID][]string, resp *api.UsageResponse) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(usageFanOut)
	for node, tasks := range places {
		g.Go(func() error {
			found, err := m.usageOf(ctx, node, &api.UsageRequest{Of: tasks, All: req.All, Local: true})
			mu.Lock()
			defer mu.Unlock()
			resp.Tasks = append(resp.Tasks, found...)
			if err != nil {
				resp.Silent = append(resp.Silent, m.silent(node, err))
			}
			return nil
		})
	}
	_ = g.Wait() // none errs: a board's silence is in the answer
	sortUsage(resp)
}

func (m *membership) silent(node api.NodeID, err error) api.SilentBoard {
	return api.SilentBoard{NodeID: node, NodeName: m.nameOf(node), Err: err.Error()}
}

func sortUsage(resp *api.UsageResponse) {
	slices.SortFunc(resp.Tasks, func(a, b api.TaskUsage) int {
		return cmp.Or(cmp.Compare(a.ServiceName, b.ServiceName), cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.NodeName, b.NodeName), cmp.Compare(a.ID, b.ID))
	})
	sortSilent(resp.Silent)
}

func sortSilent(boards []api.SilentBoard) {
	slices.SortFunc(boards, func(a, b api.SilentBoard) int {
		return cmp.Or(cmp.Compare(a.NodeName, b.NodeName), cmp.Compare(a.NodeID, b.NodeID))
	})
}

// usageOf asks a board, or this one.
func (m *membership) usageOf(ctx context.Context, node api.NodeID, req *api.UsageRequest) ([]api.TaskUsage, error) {
	ctx, cancel := context.WithTimeout(ctx, usagePatience)
	defer cancel()
	if node == m.self {
		return m.ownUsage(ctx, req), nil
	}
	client, err := m.boardOf(node)
	if err != nil {
		return nil, err
	}
	resp, err := client.Usage(ctx, req)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, api.Errorf(api.Unavailable, "", "it did not answer within %v", usagePatience)
	}
	if err != nil {
		return nil, err
	}
	for i := range resp.Tasks { // whatever it says of itself
		resp.Tasks[i].NodeID, resp.Tasks[i].NodeName = node, m.nameOf(node)
	}
	return resp.Tasks, nil
}

// ownUsage is what this board's tasks use: the named ones, or those of which
// something runs, or all.
func (m *membership) ownUsage(ctx context.Context, req *api.UsageRequest) []api.TaskUsage {
	var out []api.TaskUsage
	for _, t := range m.agent.Tasks() {
		if len(req.Of) == 0 || slices.Contains(req.Of, string(t.ID)) {
			out = append(out, api.TaskUsage{TaskBrief: t, NodeID: m.self, NodeName: m.board.cfg.Name})
		}
	}
	var g errgroup.Group
	g.SetLimit(usageFanOut)
	for i := range out {
		g.Go(func() error {
			out[i].Usage = m.usage(ctx, out[i].Status)
			return nil
		})
	}
	_ = g.Wait() // none errs
	if req.All || len(req.Of) > 0 {
		return out
	}
	return slices.DeleteFunc(out, func(t api.TaskUsage) bool { return t.Usage == nil })
}

// usage is what a task's container uses, nil if it does not run.
func (m *membership) usage(ctx context.Context, status api.TaskStatus) *api.Usage {
	if status.ContainerID == "" || status.State.Ended() {
		return nil
	}
	u, err := m.board.parts.Driver.Usage(ctx, status.ContainerID)
	if err != nil {
		if !errors.Is(err, runtime.ErrNotFound) && !errors.Is(err, runtime.ErrNotRunning) {
			m.logger.Debug("usage of a task is not known", "container", status.ContainerID, "err", err)
		}
		return nil
	}
	if u.MemoryLimit == 0 {
		u.MemoryLimit = m.board.parts.MemoryTotal
	}
	return &u
}

package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/edgeswarm/edgeswarm/api"
)

// Volumes implements api.BoardServer: which there are is in the leader's nodes,
// which services name them in its services, and the rest the boards know.
func (s boardServer) Volumes(ctx context.Context, req *api.VolumesRequest) (*api.VolumesResponse, error) {
	m, err := s.fellow(ctx, "list volumes")
	if err != nil {
		return nil, err
	}
	resp := &api.VolumesResponse{}
	if req.Local {
		for name, detail := range m.agent.Volumes(req.Names) {
			resp.Volumes = append(resp.Volumes, api.Volume{Name: name, NodeID: m.self, Here: &detail})
		}
		return resp, nil
	}
	if resp.Volumes, err = m.volumes(ctx, req.Names); err != nil {
		return nil, err
	}
	if req.Detail {
		m.detail(ctx, resp.Volumes)
	}
	return resp, nil
}

// volumes lists those that boards have reported.
func (m *membership) volumes(ctx context.Context, names []string) ([]api.Volume, error) {
	control, err := m.control(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := control.ListNodes(ctx, &api.ListNodesRequest{})
	if err != nil {
		return nil, err
	}
	services, err := control.ListServices(ctx, &api.ListServicesRequest{})
	if err != nil {
		return nil, err
	}
	var out []api.Volume
	users := map[string][]string{}
	for _, n := range nodes.Nodes {
		for _, name := range n.Description.Volumes {
			if len(names) > 0 && !slices.Contains(names, name) {
				continue
			}
			if _, known := users[name]; !known {
				users[name] = nil
				for _, s := range services.Services {
					if s.Service.Spec.TaskTemplate.ContainerSpec.MayUse(name) {
						users[name] = append(users[name], s.Service.Spec.Name)
					}
				}
			}
			out = append(out, api.Volume{Name: name, NodeID: n.ID, NodeName: n.Name(), NodeState: n.Status.State, Services: users[name]})
		}
	}
	slices.SortFunc(out, func(a, b api.Volume) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.NodeName, b.NodeName), cmp.Compare(a.NodeID, b.NodeID))
	})
	return out, nil
}

// detail fills in what the boards say themselves, as far as they do.
func (m *membership) detail(ctx context.Context, volumes []api.Volume) {
	names := map[api.NodeID][]string{}
	for _, v := range volumes {
		if v.NodeState != api.NodeDown || v.NodeID == m.self {
			names[v.NodeID] = append(names[v.NodeID], v.Name)
		}
	}
	var mu sync.Mutex
	said := map[api.NodeID]map[string]api.VolumeDetail{}
	var g errgroup.Group
	g.SetLimit(usageFanOut)
	for node, asked := range names {
		g.Go(func() error {
			details, err := m.volumesOn(ctx, node, asked)
			if err != nil {
				m.logger.Debug("a board tells nothing of its volumes", "node", node, "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			said[node] = details
			return nil
		})
	}
	_ = g.Wait() // none errs
	for i, v := range volumes {
		if d, ok := said[v.NodeID][v.Name]; ok {
			volumes[i].Here = &d
		}
	}
}

// volumesOn asks a board, or this one.
func (m *membership) volumesOn(ctx context.Context, node api.NodeID, names []string) (map[string]api.VolumeDetail, error) {
	if node == m.self {
		return m.agent.Volumes(names), nil
	}
	ctx, cancel := context.WithTimeout(ctx, usagePatience)
	defer cancel()
	client, err := m.boardOf(node)
	if err != nil {
		return nil, err
	}
	resp, err := client.Volumes(ctx, &api.VolumesRequest{Names: names, Local: true})
	if err != nil {
		return nil, err
	}
	out := map[string]api.VolumeDetail{}
	for _, v := range resp.Volumes {
		if v.Here != nil {
			out[v.Name] = *v.Here
		}
	}
	return out, nil
}

// RemoveVolume implements api.BoardServer. The board that holds the volume has
// the last word: it alone knows that no task is about to use it.
func (s boardServer) RemoveVolume(ctx context.Context, req *api.RemoveVolumeRequest) (*api.Empty, error) {
	const op = "remove volume"
	m, err := s.fellow(ctx, op)
	if err != nil {
		return nil, err
	}
	if req.Local {
		return &api.Empty{}, m.agent.RemoveVolume(req.Volume)
	}
	held, err := m.volumes(ctx, []string{req.Volume})
	if err != nil {
		return nil, err
	}
	v, err := pickVolume(op, held, req)
	if err != nil {
		return nil, err
	}
	if len(v.Services) > 0 && !req.Force {
		return nil, api.Errorf(api.Conflict, op, "volume %s is named by %s; remove those services, or take the mount from them, first; --force removes it all the same where none of their tasks uses it", v.Name, strings.Join(v.Services, ", "))
	}
	if v.NodeID == m.self {
		return &api.Empty{}, m.agent.RemoveVolume(v.Name)
	}
	if v.NodeState == api.NodeDown {
		return nil, api.Errorf(api.Unavailable, op, "volume %s is on %s, which is down: power it on first, or remove the board from the fleet with `edgectl node rm`", v.Name, v.NodeName)
	}
	client, err := m.boardOf(v.NodeID)
	if err != nil {
		return nil, err
	}
	_, err = client.RemoveVolume(ctx, &api.RemoveVolumeRequest{Volume: v.Name, Local: true})
	if api.KindOf(err) == api.Unavailable {
		return nil, api.Errorf(api.Unavailable, op, "%s, which holds volume %s, does not answer: %w", v.NodeName, v.Name, err)
	}
	return &api.Empty{}, err
}

// pickVolume is the one that is to be removed.
func pickVolume(op string, held []api.Volume, req *api.RemoveVolumeRequest) (api.Volume, error) {
	if len(held) == 0 {
		return api.Volume{}, api.Errorf(api.NotFound, op, "no board holds a volume %q; `edgectl volume ls` shows what there is", req.Volume)
	}
	var where []string
	var found []api.Volume
	for _, v := range held {
		where = append(where, fmt.Sprintf("%s (%s)", v.NodeName, api.ShortID(v.NodeID)))
		prefix := len(req.Node) >= 4 && strings.HasPrefix(string(v.NodeID), req.Node)
		if req.Node == "" || req.Node == v.NodeName || req.Node == string(v.NodeID) || prefix {
			found = append(found, v)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return api.Volume{}, api.Errorf(api.NotFound, op, "%s holds no volume %s: it is on %s", req.Node, req.Volume, strings.Join(where, ", "))
	default:
		return api.Volume{}, api.Errorf(api.Conflict, op, "volume %s is on %s, each with data of its own: say with --node which of them is to go", req.Volume, strings.Join(where, ", "))
	}
}

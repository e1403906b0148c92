package control

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// shown is a node with its part in the fleet's government filled in.
func (s *Server) shown(node *api.Node) *api.Node {
	next := *node
	for _, server := range s.cfg.Raft.Servers() {
		if server.ID != string(node.ID) {
			continue
		}
		status := &api.ManagerStatus{Leader: node.ID == s.cfg.Self, Voter: server.Voter, Reachability: api.Unreachable}
		if status.Leader || server.Reachable {
			status.Reachability = api.Reachable
		}
		if len(node.Status.Addrs) > 0 {
			status.Addr = node.Status.Addrs[0].String()
		}
		next.ManagerStatus = status
	}
	return &next
}

func (s *Server) listNodes(_ context.Context, r *api.ListNodesRequest) (*api.ListNodesResponse, error) {
	resp := &api.ListNodesResponse{}
	after := func(n *api.Node) bool {
		return r.AfterID == "" || cmp.Or(strings.Compare(n.Name(), r.AfterName), strings.Compare(string(n.ID), string(r.AfterID))) > 0
	}
	for node := range s.cfg.Store.View().Nodes.All() {
		if after(node) {
			resp.Nodes = append(resp.Nodes, s.shown(node))
		}
	}
	slices.SortFunc(resp.Nodes, func(a, b *api.Node) int {
		return cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(string(a.ID), string(b.ID)))
	})
	if r.Paged {
		var rest []*api.Node
		resp.Nodes, rest = api.Split(resp.Nodes)
		resp.More = len(rest) > 0
	}
	return resp, nil
}

func (s *Server) getNode(ctx context.Context, r *api.GetNodeRequest) (*api.GetNodeResponse, error) {
	node, err := s.findNode(ctx, s.cfg.Store.View(), "get node", r.Node)
	if err != nil {
		return nil, err
	}
	return &api.GetNodeResponse{Node: s.shown(node)}, nil
}

func (s *Server) updateNode(ctx context.Context, r *api.UpdateNodeRequest) (*api.UpdateNodeResponse, error) {
	const op = "update node"
	key, v, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		node, err := s.findNode(ctx, tx.View, op, r.Node)
		if err != nil {
			return nil, err
		}
		if err := outdated(op, "node", node.Name(), r.Version, node); err != nil {
			return nil, err
		}
		next := *node
		next.Spec = mergeNode(node.Spec, r)
		if err := invalid(op, next.Spec.Validate()); err != nil {
			return nil, err
		}
		if next.Spec.Role == api.RoleWorker && node.Spec.Role != api.RoleWorker {
			if err := s.canDemote(op, tx.View, node); err != nil {
				return nil, err
			}
		}
		if !api.Equal(next.Spec, node.Spec) {
			tx.Put(&next)
		}
		return &next, nil
	})
	if err != nil {
		return nil, err
	}
	node := v.Node(api.NodeID(key))
	if node == nil {
		return nil, api.Errorf(api.NotFound, op, "node %s was removed meanwhile", key)
	}
	return &api.UpdateNodeResponse{Node: s.shown(node)}, nil
}

func mergeNode(spec api.NodeSpec, r *api.UpdateNodeRequest) api.NodeSpec {
	if r.Role != nil {
		spec.Role = *r.Role
	}
	if r.Availability != nil {
		spec.Availability = *r.Availability
	}
	if r.Name != nil {
		spec.Name = *r.Name
	}
	labels := maps.Clone(spec.Labels)
	for _, key := range r.LabelRemove {
		delete(labels, key)
	}
	if len(r.LabelAdd) > 0 && labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, r.LabelAdd)
	spec.Labels = labels
	return spec
}

// canDemote refuses what would leave nobody to be a manager.
func (s *Server) canDemote(op string, v *store.View, node *api.Node) error {
	for other := range v.Nodes.All() {
		if other.ID != node.ID && other.Spec.Role != api.RoleWorker && other.Status.State == api.NodeReady {
			return nil
		}
	}
	return api.Errorf(api.Conflict, op, "%s is the last node that may be a manager and is up; promote another first", node.Name())
}

func (s *Server) removeNode(ctx context.Context, r *api.RemoveNodeRequest) (*api.Empty, error) {
	const op = "remove node"
	if err := checkRequest(op, r.RequestID); err != nil {
		return nil, err
	}
	v := s.cfg.Store.View()
	if _, done := replayed(v, r.RequestID); done {
		return &api.Empty{}, nil
	}
	if err := open(op, v); err != nil {
		return nil, err
	}
	node, err := s.findNode(ctx, v, op, r.Node)
	if err != nil {
		return nil, err
	}
	if node.Status.State != api.NodeDown && !r.Force {
		return nil, api.Errorf(api.Conflict, op, "%s is not down; shut it down or have it leave (edgectl leave) first, or use --force", node.Name())
	}
	if err := s.canExpel(op, v, node); err != nil {
		return nil, err
	}
	if err := s.cfg.Live.Expel(ctx, op, store.Op{Request: r.RequestID, User: true}, node.ID); err != nil {
		return nil, err
	}
	return &api.Empty{}, nil
}

// canExpel refuses to take out a manager without which the rest could decide
// nothing, and the leader itself.
func (s *Server) canExpel(op string, v *store.View, node *api.Node) error {
	var others, reachable int
	voter := false
	for _, server := range s.cfg.Raft.Servers() {
		switch {
		case server.ID == string(node.ID):
			voter = server.Voter
		case server.Voter:
			others++
			if server.Reachable || server.ID == string(s.cfg.Self) {
				reachable++
			}
		}
	}
	switch {
	case !voter:
		return nil
	case others == 0:
		return api.Errorf(api.Conflict, op, "%s is the fleet's only manager; promote another first", node.Name())
	case reachable <= others/2:
		return api.Errorf(api.Conflict, op, "%s is a manager, and without it only %d of %d managers can be reached, too few to decide anything; bring others up first",
			node.Name(), reachable, others)
	default:
		return nil
	}
}

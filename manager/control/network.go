package control

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/network/ipam"
	"github.com/edgeswarm/edgeswarm/store"
)

var _ api.NetworkServer = (*Server)(nil)

// findNetworks gives the networks that a spec names their IDs. One that names
// what is not there is refused.
func findNetworks(v *store.View, op string, spec *api.ServiceSpec) error {
	attached := slices.Clone(spec.TaskTemplate.Networks)
	for i, n := range attached {
		if n.Target == api.NetworkHost {
			continue
		}
		network, err := findNetwork(v, op, cmp.Or(string(n.ID), n.Target))
		if err != nil {
			return err
		}
		if network.Spec.Ingress {
			return api.Errorf(api.Invalid, op, "TaskTemplate.Networks: %s is the network of published ports, which has no tasks: publish a port, or make another network", network.Spec.Name)
		}
		if slices.ContainsFunc(attached[:i], func(o api.NetworkAttachment) bool { return o.ID == network.ID }) {
			return api.Errorf(api.Invalid, op, "TaskTemplate.Networks: %s is named twice", network.Spec.Name)
		}
		attached[i].ID, attached[i].Target = network.ID, network.Spec.Name
	}
	spec.TaskTemplate.Networks = attached
	return nil
}

func findNetwork(v *store.View, op, ref string) (*api.Network, error) {
	return find(v.Networks, one(v.NetworkByName(ref)), op, "network", ref)
}

func (s *Server) createNetwork(ctx context.Context, r *api.CreateNetworkRequest) (*api.NetworkResponse, error) {
	const op = "create network"
	spec := r.Spec.Defaults()
	if err := invalid(op, spec.Validate()); err != nil {
		return nil, err
	}
	id := api.NewID[api.NetworkID]()
	key, v, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		if taken := tx.NetworkByName(spec.Name); taken != nil {
			return nil, api.Errorf(api.Conflict, op, "name %s is in use by network %s; choose another, or use that one", spec.Name, api.ShortID(taken.ID))
		}
		if have := tx.IngressNetwork(); spec.Ingress && have != nil {
			return nil, api.Errorf(api.Conflict, op, "network %s is that of published ports already, and there is one: remove it first, once no service publishes a port", have.Spec.Name)
		}
		network, err := newNetwork(tx.View, op, id, spec)
		if err != nil {
			return nil, err
		}
		tx.Put(network)
		return network, nil
	})
	if err != nil {
		return nil, err
	}
	network := v.Network(api.NetworkID(key))
	if network == nil {
		return nil, api.Errorf(api.NotFound, op, "network %s was made and has been removed since", key)
	}
	return &api.NetworkResponse{Network: network}, nil
}

// newNetwork gives a network what it needs that no other has.
func newNetwork(v *store.View, op string, id api.NetworkID, spec api.NetworkSpec) (*api.Network, error) {
	subnet, err := subnetFor(v, op, spec.Subnet)
	if err != nil {
		return nil, err
	}
	network := &api.Network{ID: id, Spec: spec, Subnet: subnet, VNI: freeVNI(v)}
	if spec.Ingress {
		network.NextBlock = 1 // a board's address is not the subnet's own
	}
	return network, nil
}

// subnetFor checks the subnet that is asked for, or picks one.
func subnetFor(v *store.View, op string, asked netip.Prefix) (netip.Prefix, error) {
	var taken []netip.Prefix
	for n := range v.Networks.All() {
		if asked.IsValid() && asked.Overlaps(n.Subnet) {
			return netip.Prefix{}, api.Errorf(api.Conflict, op, "subnet %s overlaps %s of network %s; take another, or leave it out and one is picked", asked, n.Subnet, n.Spec.Name)
		}
		taken = append(taken, n.Subnet)
	}
	for node := range v.Nodes.All() {
		if route, collides := ipam.Overlapping(asked, node.Description.Subnets); asked.IsValid() && collides {
			return netip.Prefix{}, api.Errorf(api.Conflict, op, "subnet %s overlaps %s, which board %s reaches by a link of its own; take another, or leave it out and one is picked", asked, route, node.Name())
		}
		taken = append(taken, node.Description.Subnets...)
	}
	if asked.IsValid() {
		return asked, nil
	}
	subnet, ok := ipam.Pick(api.DefaultNetworkPool, api.DefaultNetworkBits, taken)
	if !ok {
		return netip.Prefix{}, api.Errorf(api.Unavailable, op, "every /%d of %s is taken by networks or boards' own routes; remove networks, or give a subnet with --subnet", api.DefaultNetworkBits, api.DefaultNetworkPool)
	}
	return subnet, nil
}

// freeVNI is the lowest above all in use, so that one just given back is not
// what another means a moment later; at the end of the numbers, the lowest free.
func freeVNI(v *store.View) uint32 {
	used, highest := map[uint32]bool{}, uint32(0)
	for n := range v.Networks.All() {
		used[n.VNI], highest = true, max(highest, n.VNI)
	}
	if highest < api.MaxVNI {
		return highest + 1
	}
	vni := uint32(1)
	for used[vni] {
		vni++
	}
	return vni
}

func (s *Server) listNetworks(context.Context, *api.ListNetworksRequest) (*api.ListNetworksResponse, error) {
	resp := &api.ListNetworksResponse{Networks: slices.Collect(s.cfg.Store.View().Networks.All())}
	slices.SortFunc(resp.Networks, func(a, b *api.Network) int { return cmp.Compare(a.Spec.Name, b.Spec.Name) })
	return resp, nil
}

func (s *Server) getNetwork(_ context.Context, r *api.GetNetworkRequest) (*api.NetworkResponse, error) {
	network, err := findNetwork(s.cfg.Store.View(), "get network", r.Network)
	if err != nil {
		return nil, err
	}
	return &api.NetworkResponse{Network: network}, nil
}

func (s *Server) removeNetwork(ctx context.Context, r *api.RemoveNetworkRequest) (*api.Empty, error) {
	const op = "remove network"
	_, _, err := s.write(ctx, op, r.RequestID, func(tx *store.Tx) (api.Object, error) {
		network, err := findNetwork(tx.View, op, r.Network)
		if err != nil {
			return nil, err
		}
		if err := inUse(tx.View, op, "network", network.Spec.Name, func(t api.TaskSpec) bool {
			return slices.ContainsFunc(t.Networks, func(n api.NetworkAttachment) bool { return n.ID == network.ID })
		}); err != nil {
			return nil, err
		}
		if network.Spec.Ingress {
			if by := publisher(tx.View); by != nil {
				return nil, api.Errorf(api.Conflict, op, "network %s is in use by service %s, which publishes a port on every board; unpublish it first", network.Spec.Name, by.Spec.Name)
			}
		}
		if last := lastOn(tx.View, network.ID); last != nil {
			return nil, api.Errorf(api.Unavailable, op, "network %s is in use until the tasks of %s that are stopping have ended; try again then", network.Spec.Name, last.ServiceName)
		}
		tx.Delete(network)
		return network, nil
	})
	return &api.Empty{}, err
}

// lastOn finds a task that still speaks on a network, though nobody wants it; nil
// if there is none on a board that can be told so.
func lastOn(v *store.View, id api.NetworkID) *api.Task {
	for t := range v.Tasks.All() {
		node := v.Node(t.NodeID)
		if t.Over() || node == nil || node.Status.State == api.NodeDown {
			continue
		}
		if slices.ContainsFunc(t.Addresses, func(a api.NetworkAddr) bool { return a.Network == id }) {
			return t
		}
	}
	return nil
}

// CreateNetwork implements api.NetworkServer.
func (s *Server) CreateNetwork(ctx context.Context, r *api.CreateNetworkRequest) (*api.NetworkResponse, error) {
	return call(s, ctx, r, s.createNetwork)
}

// ListNetworks implements api.NetworkServer.
func (s *Server) ListNetworks(ctx context.Context, r *api.ListNetworksRequest) (*api.ListNetworksResponse, error) {
	return call(s, ctx, r, s.listNetworks)
}

// GetNetwork implements api.NetworkServer.
func (s *Server) GetNetwork(ctx context.Context, r *api.GetNetworkRequest) (*api.NetworkResponse, error) {
	return call(s, ctx, r, s.getNetwork)
}

// RemoveNetwork implements api.NetworkServer.
func (s *Server) RemoveNetwork(ctx context.Context, r *api.RemoveNetworkRequest) (*api.Empty, error) {
	return call(s, ctx, r, s.removeNetwork)
}

func (s *Server) rotateKeys(ctx context.Context, r *api.RotateKeysRequest) (*api.Empty, error) {
	_, _, err := s.write(ctx, "rotate keys", r.RequestID, func(tx *store.Tx) (api.Object, error) {
		next := *tx.Cluster()
		next.MeshTurns++
		tx.Put(&next)
		return &next, nil
	})
	return &api.Empty{}, err
}

// RotateKeys implements api.NetworkServer.
func (s *Server) RotateKeys(ctx context.Context, r *api.RotateKeysRequest) (*api.Empty, error) {
	return call(s, ctx, r, s.rotateKeys)
}

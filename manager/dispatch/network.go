package dispatch

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// newFabric gathers, for each network, what a node with tasks on it is told: the
// network, and every service that is reached there. Who serves is taken from
// what the agents said last.
func newFabric(v *store.View, latest func(*api.Task) api.TaskStatus) map[api.NetworkID][]entry {
	if v.Networks.Len() == 0 {
		return nil
	}
	fabric := make(map[api.NetworkID][]entry, v.Networks.Len())
	for n := range v.Networks.All() {
		fabric[n.ID] = append(fabric[n.ID], newEntry(api.Item{Network: n.Info()}))
	}
	ingress := v.IngressNetwork()
	for s := range v.Services.All() {
		endpoints := endpointsOf(v, s, latest)
		if e := publishedBy(v, s, latest); e != nil && ingress != nil {
			e.Network = ingress.ID
			endpoints = append(endpoints, e)
		}
		for _, e := range endpoints {
			if _, ok := fabric[e.Network]; ok {
				fabric[e.Network] = append(fabric[e.Network], newEntry(api.Item{Endpoint: e}))
			}
		}
	}
	return fabric
}

// publishedBy is a service as all boards publish it; nil if it publishes nothing
// there.
func publishedBy(v *store.View, s *api.Service, latest func(*api.Task) api.TaskStatus) *api.Endpoint {
	ports := s.Spec.EndpointSpec.Published(api.PublishIngress)
	if len(ports) == 0 || s.PendingDelete {
		return nil
	}
	e := &api.Endpoint{Service: s.ID, Name: s.Spec.Name, Ports: ports}
	for t := range v.TasksOf(s.ID) {
		if serves(v, t, latest) {
			e.Backends = append(e.Backends, api.Backend{Task: t.ID, Node: t.NodeID})
		}
	}
	slices.SortFunc(e.Backends, func(a, b api.Backend) int { return cmp.Compare(a.Task, b.Task) })
	return e
}

// endpointsOf is a service in each of its networks, and in those that tasks of
// an older spec are still on.
func endpointsOf(v *store.View, s *api.Service, latest func(*api.Task) api.TaskStatus) []*api.Endpoint {
	var list []*api.Endpoint
	find := func(id api.NetworkID) *api.Endpoint {
		for _, e := range list {
			if e.Network == id {
				return e
			}
		}
		list = append(list, &api.Endpoint{Network: id, Service: s.ID, Name: s.Spec.Name, VirtualIP: addrIn(s.VirtualIPs, id)})
		return list[len(list)-1]
	}
	for _, n := range s.Spec.TaskTemplate.Networks {
		if n.ID != "" {
			find(n.ID).Aliases = n.Aliases
		}
	}
	for t := range v.TasksOf(s.ID) {
		if len(t.Addresses) == 0 || !serves(v, t, latest) {
			continue
		}
		for _, at := range t.Addresses {
			e := find(at.Network)
			e.Backends = append(e.Backends, api.Backend{Task: t.ID, Node: t.NodeID, Addr: at.Addr, Hostname: hostnameOf(v, t)})
		}
	}
	for _, e := range list {
		slices.SortFunc(e.Backends, func(a, b api.Backend) int { return cmp.Compare(a.Task, b.Task) })
	}
	return list
}

func addrIn(addrs []api.NetworkAddr, id api.NetworkID) (addr netip.Addr) {
	for _, at := range addrs {
		if at.Network == id {
			return at.Addr
		}
	}
	return addr
}

// serves reports whether a task takes new work: it runs, which with a check
// means that it is healthy, it is wanted, and its board is heard of.
func serves(v *store.View, t *api.Task, latest func(*api.Task) api.TaskStatus) bool {
	node := v.Node(t.NodeID)
	return t.DesiredState.Before(api.TaskDraining) && latest(t).State == api.TaskRunning && node != nil && node.Status.State != api.NodeDown
}

// hostnameOf is a task's hostname, as its agent expands it.
func hostnameOf(v *store.View, t *api.Task) string {
	name := t.Spec.ContainerSpec.Hostname
	if name == "" {
		return api.ShortID(t.ID)
	}
	if expanded, err := api.ExpandTemplate(name, t.Facts(t.NodeID, v.Node(t.NodeID).Description)); err == nil {
		return expanded
	}
	return name
}

// weave adds the networks of a node's tasks to its set, and what every board
// publishes. A task that is stopping speaks until it has stopped.
func (r *roster) weave(node api.NodeID, next set) {
	if n := r.view.IngressNetwork(); n != nil && len(r.fabric[n.ID]) > 1 { // the network itself is the first
		for _, e := range r.fabric[n.ID] {
			next[e.item.Key()] = e
		}
	}
	for task := range r.view.TasksOn(node) {
		if task.Over() || task.Status.State.Before(api.TaskAssigned) {
			continue
		}
		for _, at := range task.Addresses {
			for _, e := range r.fabric[at.Network] {
				next[e.item.Key()] = e
			}
		}
	}
}

// rebalance tells the sessions if what a node reported may change who serves in
// a network. It waits for no commit.
func (s *Server) rebalance(v *store.View, reports []api.TaskReport) {
	if !slices.ContainsFunc(reports, func(r api.TaskReport) bool {
		t := v.Task(r.ID)
		return t != nil && (len(t.Addresses) > 0 || publishes(v, t))
	}) {
		return
	}
	s.mu.Lock()
	s.shared = nil
	s.mu.Unlock()
	s.wakeSessions()
}

// publishes reports whether a task is one of those behind a port of every board.
func publishes(v *store.View, t *api.Task) bool {
	s := v.Service(t.ServiceID)
	return s != nil && len(s.Spec.EndpointSpec.Published(api.PublishIngress)) > 0
}

package control

import (
	"fmt"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// publish makes sure that a service's ports are nobody else's, picks those that
// are left to pick, and makes the network by which boards hand on what comes in,
// unless there is one.
func publish(tx *store.Tx, op string, id api.ServiceID, spec *api.ServiceSpec) error {
	if err := findPorts(tx.View, op, id, spec); err != nil {
		return err
	}
	if len(spec.EndpointSpec.Published(api.PublishIngress)) == 0 || tx.IngressNetwork() != nil {
		return nil
	}
	network, err := newNetwork(tx.View, op, api.NewID[api.NetworkID](), api.NetworkSpec{Annotations: api.Annotations{Name: api.IngressName}, Ingress: true}.Defaults())
	if err != nil {
		return err
	}
	tx.Put(network)
	return nil
}

// checkPorts refuses ports that others have, ahead of all that takes time.
func checkPorts(v *store.View, op string, id api.ServiceID, spec api.ServiceSpec) error {
	return findPorts(v, op, id, &spec)
}

// findPorts refuses ports that others have, and picks those that are left to
// pick. A port in ingress mode is taken on every board; in host mode only where a
// task runs, so that two services may publish it on different boards.
func findPorts(v *store.View, op string, id api.ServiceID, spec *api.ServiceSpec) error {
	if spec.EndpointSpec == nil || len(spec.EndpointSpec.Ports) == 0 {
		return nil
	}
	if err := wayIn(v, op, spec); err != nil {
		return err
	}
	taken := portsTaken(v, id)
	endpoint := *spec.EndpointSpec
	endpoint.Ports = slices.Clone(endpoint.Ports)
	for i, p := range endpoint.Ports {
		if p.PublishedPort == 0 {
			continue
		}
		if by := taken.holder(p); by != "" {
			return api.Errorf(api.Conflict, op, "EndpointSpec.Ports: port %d/%s is %s: publish another, or leave the published port out and one is picked", p.PublishedPort, p.Protocol, by)
		}
		taken.add(endpoint.Ports[i], "published twice")
	}
	for i, p := range endpoint.Ports {
		if p.PublishMode != api.PublishIngress || p.PublishedPort != 0 {
			continue
		}
		// From the end: the scheduler picks ports of single boards from the beginning.
		for p.PublishedPort = api.DynamicPortLast; taken.holder(p) != ""; p.PublishedPort-- {
			if p.PublishedPort == api.DynamicPortFirst {
				return api.Errorf(api.Unavailable, op, "EndpointSpec.Ports: every port of %d to %d is taken: say which to publish", api.DynamicPortFirst, api.DynamicPortLast)
			}
		}
		taken.add(p, "published twice")
		endpoint.Ports[i] = p
	}
	spec.EndpointSpec = &endpoint
	return nil
}

// wayIn refuses ports of tasks that nothing from outside reaches.
func wayIn(v *store.View, op string, spec *api.ServiceSpec) error {
	attached := spec.TaskTemplate.Networks
	if len(attached) == 0 || len(spec.EndpointSpec.Published(api.PublishIngress)) == 0 {
		return nil
	}
	for _, n := range attached {
		if network := v.Network(n.ID); network == nil || !network.Spec.Internal {
			return nil
		}
	}
	return api.Errorf(api.Invalid, op, "EndpointSpec.Ports: all its networks are internal, so nothing from outside reaches its tasks: publish no port, or attach it to a network that is not internal")
}

// portNumber is a port as it is taken, on whatever addresses.
type portNumber struct {
	protocol api.Protocol
	number   uint16
}

// portUse is who has a port, in words, and how.
type portUse struct {
	mode api.PublishMode
	by   string
}

type portTable map[portNumber][]portUse

func (t portTable) add(p api.PortConfig, by string) {
	key := portNumber{p.Protocol, p.PublishedPort}
	t[key] = append(t[key], portUse{p.PublishMode, by})
}

// holder tells who keeps p from being published; "" is nobody. Ports in host
// mode leave it to placement to keep out of each other's way. On other addresses of
// the boards it is the same port: a board that hands on says no more than that.
func (t portTable) holder(p api.PortConfig) string {
	for _, use := range t[portNumber{p.Protocol, p.PublishedPort}] {
		if use.mode == api.PublishIngress || p.PublishMode == api.PublishIngress {
			return use.by
		}
	}
	return ""
}

// portsTaken are the ports of all services but one. Until an update is over the
// spec before keeps its own: the service may have to return to it.
func portsTaken(v *store.View, but api.ServiceID) portTable {
	taken := portTable{}
	for s := range v.Services.All() {
		if s.ID == but {
			continue
		}
		specs := []*api.EndpointSpec{s.Spec.EndpointSpec}
		if s.PreviousSpec != nil && (s.Rollout == nil || !s.Rollout.State.Over()) {
			specs = append(specs, s.PreviousSpec.EndpointSpec)
		}
		for _, endpoint := range specs {
			if endpoint == nil {
				continue
			}
			for _, p := range endpoint.Ports {
				if p.PublishedPort != 0 {
					taken.add(p, "published by service "+s.Spec.Name)
				}
			}
		}
		for t := range v.TasksOf(s.ID) {
			if t.Over() {
				continue
			}
			for _, p := range t.Ports {
				taken.add(p, fmt.Sprintf("published by a task of %s on board %s", t.ServiceName, boardName(v, t.NodeID)))
			}
		}
	}
	return taken
}

func boardName(v *store.View, id api.NodeID) string {
	if node := v.Node(id); node != nil {
		return node.Name()
	}
	return api.ShortID(id)
}

// publisher finds a service that publishes a port on every board; nil if none
// does.
func publisher(v *store.View) *api.Service {
	for s := range v.Services.All() {
		if !s.PendingDelete && len(s.Spec.EndpointSpec.Published(api.PublishIngress)) > 0 {
			return s
		}
	}
	return nil
}

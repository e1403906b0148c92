package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// Asker is a task of this board.
type Asker struct {
	// Addrs are what it may ask from.
	Addrs []netip.Addr
	// Networks it is on, in the order of its spec: a name that is in several means
	// the one of the first.
	Networks []api.NetworkID
	// Resolvers are its own for names of elsewhere; none are the board's.
	Resolvers []string
}

// Zone is what is known of names at one moment. It never changes.
type Zone struct {
	askers  map[netip.Addr]*Asker
	names   map[api.NetworkID]map[string][]netip.Addr
	subnets map[api.NetworkID]netip.Prefix
}

// NewZone gathers the names of services and of the tasks that serve.
//
//	service, alias            the service's address, or without one those of its tasks
//	tasks.service             those of its tasks
//	hostname.service          that of the task with this hostname
//	… .network                the same, in that network only
func NewZone(networks []*api.NetworkInfo, endpoints []*api.Endpoint, askers []Asker) *Zone {
	z := &Zone{askers: map[netip.Addr]*Asker{}, names: map[api.NetworkID]map[string][]netip.Addr{}, subnets: map[api.NetworkID]netip.Prefix{}}
	for _, a := range askers {
		for _, addr := range a.Addrs {
			z.askers[addr] = &a
		}
	}
	suffix := map[api.NetworkID]string{}
	for _, n := range networks {
		suffix[n.ID], z.subnets[n.ID] = "."+strings.ToLower(n.Name), n.Subnet
		z.names[n.ID] = map[string][]netip.Addr{}
	}
	for _, e := range endpoints {
		names := z.names[e.Network]
		if names == nil {
			continue
		}
		put := func(name string, addrs ...netip.Addr) {
			name = strings.ToLower(name)
			for _, full := range []string{name, name + suffix[e.Network]} {
				names[full] = append(names[full], addrs...) // also none: the name is there
			}
		}
		var tasks []netip.Addr
		for _, b := range e.Backends {
			tasks = append(tasks, b.Addr)
			put(b.Hostname+"."+e.Name, b.Addr)
		}
		put("tasks."+e.Name, tasks...)
		for _, name := range append([]string{e.Name}, e.Aliases...) {
			if e.VirtualIP.IsValid() {
				put(name, e.VirtualIP)
			} else {
				put(name, tasks...)
			}
		}
	}
	return z
}

// lookup answers the addresses of a name in lower case and without the last
// dot, and whether it is one of the fleet's.
func (z *Zone) lookup(a *Asker, name string) (addrs []netip.Addr, known bool) {
	for _, id := range a.Networks {
		if addrs, known := z.names[id][name]; known {
			return addrs, true
		}
	}
	return nil, false
}

// asker finds who asks; nil for who is no task of a network here.
func (z *Zone) asker(addr netip.Addr) *Asker { return z.askers[addr] }

// ours reports whether an address is of one of the asker's networks.
func (z *Zone) ours(a *Asker, addr netip.Addr) bool {
	return slices.ContainsFunc(a.Networks, func(id api.NetworkID) bool { return z.subnets[id].Contains(addr) })
}

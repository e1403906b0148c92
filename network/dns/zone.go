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

// Zone is what is known of names at one moment. It never changes. Tasks' own names
// are looked for when they are asked for, so that a change of one task among
// thousands costs little.
type Zone struct {
	askers   map[netip.Addr]*Asker
	networks map[api.NetworkID]*network
}

// network is what is known of one network, with names in lower case.
type network struct {
	suffix  string // "." and its name
	subnet  netip.Prefix
	called  map[string][]*api.Endpoint // by name and alias
	service map[string][]*api.Endpoint // by name alone
}

// NewZone gathers the names of services and of the tasks that serve.
//
//	service, alias            the service's address, or without one those of its tasks
//	tasks.service             those of its tasks
//	hostname.service          that of the task with this hostname
//	… .network                the same, in that network only
func NewZone(networks []*api.NetworkInfo, endpoints []*api.Endpoint, askers []Asker) *Zone {
	z := &Zone{askers: map[netip.Addr]*Asker{}, networks: map[api.NetworkID]*network{}}
	for _, a := range askers {
		for _, addr := range a.Addrs {
			z.askers[addr] = &a
		}
	}
	for _, n := range networks {
		z.networks[n.ID] = &network{
			suffix: "." + strings.ToLower(n.Name), subnet: n.Subnet, called: map[string][]*api.Endpoint{}, service: map[string][]*api.Endpoint{},
		}
	}
	for _, e := range endpoints {
		n := z.networks[e.Network]
		if n == nil {
			continue
		}
		name := strings.ToLower(e.Name)
		n.service[name] = append(n.service[name], e)
		n.called[name] = append(n.called[name], e)
		for _, alias := range e.Aliases {
			alias = strings.ToLower(alias)
			n.called[alias] = append(n.called[alias], e)
		}
	}
	return z
}

// lookup answers the addresses of a name in lower case and without the last
// dot, and whether it is one of the fleet's.
func (z *Zone) lookup(a *Asker, name string) (addrs []netip.Addr, known bool) {
	for _, id := range a.Networks {
		n := z.networks[id]
		if n == nil {
			continue
		}
		addrs, known = n.lookup(name)
		if short, named := strings.CutSuffix(name, n.suffix); named {
			more, also := n.lookup(short)
			addrs, known = append(addrs, more...), known || also
		}
		if known {
			return addrs, true
		}
	}
	return nil, false
}

// lookup is Zone's for a name without the network's.
func (n *network) lookup(name string) (addrs []netip.Addr, known bool) {
	for _, e := range n.called[name] {
		known = true
		if e.VirtualIP.IsValid() {
			addrs = append(addrs, e.VirtualIP)
		} else {
			addrs = append(addrs, tasksOf(e, "")...)
		}
	}
	if service, ok := strings.CutPrefix(name, "tasks."); ok {
		for _, e := range n.service[service] {
			known = true
			addrs = append(addrs, tasksOf(e, "")...)
		}
	}
	for i, c := range name { // a hostname may have dots, and a service's name too
		if c != '.' {
			continue
		}
		for _, e := range n.service[name[i+1:]] {
			tasks := tasksOf(e, name[:i])
			known = known || len(tasks) > 0
			addrs = append(addrs, tasks...)
		}
	}
	return addrs, known
}

// tasksOf are the addresses of a service's tasks: those with a hostname, in lower
// case, or all for "".
func tasksOf(e *api.Endpoint, hostname string) (addrs []netip.Addr) {
	for _, b := range e.Backends {
		if hostname == "" || strings.ToLower(b.Hostname) == hostname {
			addrs = append(addrs, b.Addr)
		}
	}
	return addrs
}

// asker finds who asks; nil for who is no task of a network here.
func (z *Zone) asker(addr netip.Addr) *Asker { return z.askers[addr] }

// ours reports whether an address is of one of the asker's networks.
func (z *Zone) ours(a *Asker, addr netip.Addr) bool {
	return slices.ContainsFunc(a.Networks, func(id api.NetworkID) bool {
		n := z.networks[id]
		return n != nil && n.subnet.Contains(addr)
	})
}

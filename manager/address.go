package manager

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/network/ipam"
	"github.com/edgeswarm/edgeswarm/store"
)

// address gives newly placed tasks their addresses, and services theirs. Planned
// is the view that tasks were placed on. It returns what becomes of the placed,
// and networks and services beside. A task for which a network has no address
// left is not placed but waits, and says so.
func address(planned *store.View, placed []api.Object) []api.Object {
	a := &addresser{planned: planned, v: planned.With(placed, nil), books: map[api.NetworkID]*ipam.Book{}}
	var puts []api.Object
	for service := range a.v.Services.All() { // before its tasks, which would leave nothing for it
		if next := a.service(service); next != nil {
			puts = append(puts, next)
		}
	}
	for _, obj := range placed {
		if task, ok := obj.(*api.Task); ok {
			if obj = a.task(task); obj == nil {
				continue
			}
		}
		puts = append(puts, obj)
	}
	a.ingress()
	return append(puts, a.networks()...)
}

// addresser is one call of address under way.
type addresser struct {
	planned, v *store.View
	used       map[api.NetworkID]map[netip.Addr]bool // nil until it is needed
	books      map[api.NetworkID]*ipam.Book
	order      []api.NetworkID // of books
}

// task is a placed task with its addresses, or as it was before and waiting; nil if
// that is what it does already.
func (a *addresser) task(t *api.Task) api.Object {
	if t.Status.State.Before(api.TaskAssigned) {
		return t
	}
	var given []api.NetworkAddr
	for _, n := range t.Spec.Networks {
		if n.ID == "" {
			continue
		}
		book := a.book(n.ID)
		if book == nil {
			return a.waits(t, fmt.Sprintf("network %s was removed", n.Target))
		}
		addr, ok := book.Take(t.NodeID)
		if !ok {
			network, _ := book.Network()
			return a.waits(t, fmt.Sprintf("network %s (%s) has no address left for a task on %s", n.Target, network.Subnet, a.v.Node(t.NodeID).Name()))
		}
		given = append(given, api.NetworkAddr{Network: n.ID, Addr: addr})
	}
	if given == nil {
		return t
	}
	next := *t
	next.Addresses = given
	return &next
}

// waits is the task as it was before it was placed. What it took of other
// networks is free again with the next plan.
func (a *addresser) waits(t *api.Task, why string) api.Object {
	before := a.planned.Task(t.ID)
	if s := before.Status; s.State == api.TaskPending && s.Message == why && s.Err == why {
		return nil
	}
	next := *before
	next.Status.State, next.Status.Timestamp = api.TaskPending, a.planned.Time
	next.Status.Message, next.Status.Err = why, why
	return &next
}

// service is a service with an address in each of its networks; nil if it has
// what it is to have. Where a network has none left it goes without.
func (a *addresser) service(s *api.Service) api.Object {
	var want []api.NetworkID
	if !s.PendingDelete && !s.Spec.Mode.Job() && (s.Spec.EndpointSpec == nil || s.Spec.EndpointSpec.Mode != api.ResolutionDNSRR) {
		for _, n := range s.Spec.TaskTemplate.Networks {
			if n.ID != "" {
				want = append(want, n.ID)
			}
		}
	}
	var have []api.NetworkAddr
	changed := false
	for _, vip := range s.VirtualIPs {
		if slices.Contains(want, vip.Network) {
			have = append(have, vip)
		} else {
			changed = true
		}
	}
	for _, id := range want {
		if slices.ContainsFunc(have, func(vip api.NetworkAddr) bool { return vip.Network == id }) {
			continue
		}
		book := a.book(id)
		if book == nil {
			continue
		}
		if addr, ok := book.Take(""); ok {
			have, changed = append(have, api.NetworkAddr{Network: id, Addr: addr}), true
		}
	}
	if !changed {
		return nil
	}
	next := *s
	next.VirtualIPs = have
	return &next
}

// ingress gives each board its address in the network of published ports.
func (a *addresser) ingress() {
	n := a.v.IngressNetwork()
	if n == nil {
		return
	}
	owners := make(map[api.NodeID]bool, len(n.Blocks))
	for _, block := range n.Blocks {
		owners[block.Node] = true
	}
	for node := range a.v.Nodes.All() {
		if !owners[node.ID] {
			a.book(n.ID).Own(node.ID)
		}
	}
}

// book opens a network's book; nil if there is no such network.
func (a *addresser) book(id api.NetworkID) *ipam.Book {
	if book := a.books[id]; book != nil {
		return book
	}
	n := a.v.Network(id)
	if n == nil {
		return nil
	}
	if a.used == nil {
		a.used = addressesInUse(a.v)
	}
	a.books[id] = ipam.Open(n, a.used[id], func(node api.NodeID) bool { return a.v.Node(node) != nil })
	a.order = append(a.order, id)
	return a.books[id]
}

// networks are those of which something was handed out.
func (a *addresser) networks() (puts []api.Object) {
	slices.Sort(a.order)
	for _, id := range a.order {
		if n, changed := a.books[id].Network(); changed {
			puts = append(puts, n)
		}
	}
	return puts
}

// addressesInUse are those of tasks that may run yet, wherever they are, and of
// services.
func addressesInUse(v *store.View) map[api.NetworkID]map[netip.Addr]bool {
	used := map[api.NetworkID]map[netip.Addr]bool{}
	note := func(list []api.NetworkAddr) {
		for _, at := range list {
			if used[at.Network] == nil {
				used[at.Network] = map[netip.Addr]bool{}
			}
			used[at.Network][at.Addr] = true
		}
	}
	for t := range v.Tasks.All() {
		if !t.Over() {
			note(t.Addresses)
		}
	}
	for s := range v.Services.All() {
		note(s.VirtualIPs)
	}
	return used
}

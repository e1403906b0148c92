package manager

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func (f *fleet) network(name, subnet string) *api.Network {
	f.t.Helper()
	spec := api.NetworkSpec{Annotations: api.Annotations{Name: name}, Driver: api.DriverVXLAN}
	if subnet != "" {
		spec.Subnet = netip.MustParsePrefix(subnet)
	}
	resp, err := f.term.Control().(api.NetworkServer).CreateNetwork(f.ctx, &api.CreateNetworkRequest{Spec: spec})
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.Network
}

func on(spec api.ServiceSpec, networks ...string) api.ServiceSpec {
	for _, n := range networks {
		spec.TaskTemplate.Networks = append(spec.TaskTemplate.Networks, api.NetworkAttachment{Target: n})
	}
	return spec
}

// addressed checks that every live task and service has one address of its own in
// each of its networks, tasks in blocks of their nodes, and none is shared.
func (f *fleet) addressed() {
	f.t.Helper()
	v := f.View()
	holder := map[api.NetworkAddr]string{}
	note := func(who string, node api.NodeID, attached []api.NetworkAttachment, addrs []api.NetworkAddr) {
		if len(addrs) != len(attached) {
			f.t.Errorf("%s is on %d networks and has %v", who, len(attached), addrs)
		}
		for _, at := range addrs {
			if other := holder[at]; other != "" {
				f.t.Errorf("%s and %s both have %v", who, other, at.Addr)
			}
			holder[at] = who
			owned := false
			for _, b := range v.Network(at.Network).Blocks {
				owned = owned || b.Node == node && b.Prefix.Contains(at.Addr) && b.Prefix.Addr() != at.Addr
			}
			if !owned {
				f.t.Errorf("%s has %v, which is in no block of its node's", who, at.Addr)
			}
		}
	}
	for s := range v.Services.All() {
		note("service "+s.Spec.Name, "", s.Spec.TaskTemplate.Networks, s.VirtualIPs)
	}
	for t := range v.Tasks.All() {
		if t.Live() && t.NodeID != "" {
			note("task "+string(t.ID), t.NodeID, t.Spec.Networks, t.Addresses)
		}
	}
}

func TestTasksAndServicesGetAddresses(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		back, side := f.network("back", ""), f.network("side", "10.9.0.0/24")
		before := f.Log.Commits()
		f.create(on(serviceSpec(9, nil), "back", "side"))
		f.within(2*time.Second, "running", func() bool { return f.seen() == 9 })
		f.pass(10 * time.Second)
		if n := f.Log.Commits() - before; n > 3 {
			t.Errorf("nine tasks with addresses made %d commits", n)
		}
		f.addressed()
		f.idle()

		f.update(api.ServicePatch{NetworkRemove: []string{"side"}})
		f.within(2*time.Minute, "replaced", func() bool {
			r := f.service().Rollout
			return r != nil && r.State == api.UpdateCompleted
		})
		f.addressed()
		if vips := f.service().VirtualIPs; len(vips) != 1 || vips[0].Network != back.ID {
			t.Errorf("a service that left a network has %v", vips)
		}
		// Nobody is on it any more: it may go. The other may not.
		networks := f.term.Control().(api.NetworkServer)
		if _, err := networks.RemoveNetwork(f.ctx, &api.RemoveNetworkRequest{Network: string(side.ID)}); err != nil {
			t.Error(err)
		}
		if _, err := networks.RemoveNetwork(f.ctx, &api.RemoveNetworkRequest{Network: "back"}); api.KindOf(err) != api.Conflict || !strings.Contains(err.Error(), "in use by web") {
			t.Errorf("removed while in use: %v", err)
		}
		dnsrr := api.ResolutionDNSRR
		f.update(api.ServicePatch{EndpointMode: &dnsrr})
		f.within(5*time.Second, "without an address of its own", func() bool { return len(f.service().VirtualIPs) == 0 })
		f.pass(time.Minute)
		f.idle()
	})
}

// TestTasksBeyondTheSubnetWait: they say what for, cost nothing while they do,
// and run once there is room.
func TestTasksBeyondTheSubnetWait(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.network("small", "10.9.0.0/26") // eight blocks of seven; one is the service's
		f.create(on(serviceSpec(60, nil), "small"))
		f.pass(30 * time.Second)
		waiting := 0
		for task := range f.View().Tasks.All() {
			if task.Status.State == api.TaskPending {
				waiting++
				if want := "network small (10.9.0.0/26) has no address left for a task on "; !strings.HasPrefix(task.Status.Err, want) || len(task.Addresses) != 0 || task.NodeID != "" {
					t.Fatalf("waits with %+v on %q: want %q", task.Status, task.NodeID, want)
				}
			}
		}
		if running := int(f.seen()); running+waiting != 60 || running < 3*2*7 {
			t.Errorf("%d run and %d wait", running, waiting)
		}
		f.addressed()
		f.idle()
		f.update(api.ServicePatch{Replicas: new(uint64(30))})
		f.within(30*time.Second, "scaled down", func() bool { return f.seen() == 30 })
		f.pass(30 * time.Second)
		f.update(api.ServicePatch{Replicas: new(uint64(36))})
		f.within(30*time.Second, "scaled up again", func() bool { return f.seen() == 36 })
		f.addressed()
	})
}

func TestASuccessorLeavesAddressesAsTheyAre(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.network("back", "")
		f.create(on(serviceSpec(6, nil), "back"))
		f.within(2*time.Second, "running", func() bool { return f.seen() == 6 })
		f.pass(10 * time.Second)
		had := func() (s string) {
			for task := range f.View().Tasks.All() {
				s += fmt.Sprint(task.ID, task.Addresses)
			}
			return s + fmt.Sprint(f.service().VirtualIPs)
		}
		before := had()
		f.resign()
		f.lead(time.Now)
		f.pass(time.Minute)
		if after := had(); after != before {
			t.Errorf("had %s, has %s", before, after)
		}
		f.addressed()
	})
}

// TestPublishedPortsOfEveryBoard: each board has its own address to hand on from,
// also one that comes later; and what is published changes without the tasks.
func TestPublishedPortsOfEveryBoard(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		spec := serviceSpec(3, nil)
		spec.EndpointSpec = &api.EndpointSpec{Ports: []api.PortConfig{{PublishedPort: 80, TargetPort: 8080}}}
		before := f.Log.Commits()
		f.create(spec)
		f.within(2*time.Second, "running", func() bool { return f.seen() == 3 })
		f.pass(10 * time.Second)
		if n := f.Log.Commits() - before; n > 3 {
			t.Errorf("three tasks with a published port made %d commits", n)
		}
		owners := func() int {
			n := 0
			for node := range f.View().Nodes.All() {
				if f.View().IngressNetwork().Info().Gateway(node.ID).IsValid() {
					n++
				}
			}
			return n
		}
		if n := owners(); n != f.View().Nodes.Len() || n == 0 {
			t.Errorf("%d of %d boards have an address", n, f.View().Nodes.Len())
		}
		f.idle()
		tasks := f.running(1)
		f.update(api.ServicePatch{PublishRemove: []api.PortConfig{{TargetPort: 8080}}, PublishAdd: []api.PortConfig{{PublishedPort: 81, TargetPort: 8080}}})
		f.within(time.Minute, "the update is over", func() bool { r := f.service().Rollout; return r == nil || r.State.Over() })
		f.pass(time.Minute)
		if n := f.running(1); n != tasks {
			t.Errorf("%d of %d tasks are what they were before another port was published", n, tasks)
		}
	})
}

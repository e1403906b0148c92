package dispatch

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/store"
)

func addrs(network api.NetworkID, addr string) []api.NetworkAddr {
	return []api.NetworkAddr{{Network: network, Addr: netip.MustParseAddr(addr)}}
}

// networked is a task of web on network n.
func networked(id api.TaskID, node api.NodeID, addr string, state api.TaskState) *api.Task {
	t := task(id, node)
	t.Addresses, t.Status.State = addrs("n", addr), state
	t.Spec.ContainerSpec.Hostname = "{{.Service.Name}}-{{.Node.Hostname}}"
	return t
}

func fabricObjects() []api.Object {
	web := &api.Service{ID: "web", VirtualIPs: addrs("n", "10.9.0.1"), Spec: api.ServiceSpec{Annotations: api.Annotations{Name: "web"}}}
	web.Spec.TaskTemplate.Networks = []api.NetworkAttachment{{Target: "back", ID: "n", Aliases: []string{"www"}}}
	network := &api.Network{ID: "n", Spec: api.NetworkSpec{Annotations: api.Annotations{Name: "back"}}, Subnet: netip.MustParsePrefix("10.9.0.0/24"), VNI: 1}
	return []api.Object{
		managertest.Node("a", "one"), managertest.Node("b", "two"), managertest.Node("c", "three"), web, network,
		networked("t1", "b", "10.9.0.9", api.TaskAssigned), networked("t2", "c", "10.9.0.17", api.TaskRunning),
	}
}

// backends are what a node that held nothing is told of network n, nil if nothing.
func (b *bench) told(t *testing.T, node api.NodeID) (*api.NetworkInfo, *api.Endpoint) {
	t.Helper()
	r := b.server.roster()
	var network *api.NetworkInfo
	var endpoint *api.Endpoint
	for _, e := range r.compose(b.View().Node(node), nil) {
		if e.item.Network != nil {
			network = e.item.Network
		}
		if e.item.Endpoint != nil {
			endpoint = e.item.Endpoint
		}
	}
	return network, endpoint
}

// TestEachIsToldOfTheOthersEnds of encrypted networks, and of its own as the
// others are told.
func TestEachIsToldOfTheOthersEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fabricObjects()...)
		defer b.stop(t)
		b.Change(t, func(tx *store.Tx) {
			next := *tx.Node("b")
			next.Description.Mesh = api.MeshEnd{Keys: [][]byte{{1}, {2}}, Port: 7}
			tx.Put(&next)
			cluster := *tx.Cluster()
			cluster.MeshTurns = 3
			tx.Put(&cluster)
		})
		for _, node := range []api.NodeID{"a", "b"} {
			for _, e := range b.server.roster().compose(b.View().Node(node), nil) {
				if p := e.item.Peer; p != nil && (p.Mesh != nil) != (p.ID == "b") {
					t.Errorf("%s is told of %s that its end is %+v", node, p.ID, p.Mesh)
				}
				if p := e.item.Peer; p != nil && p.Mesh != nil && (len(p.Mesh.Keys) != 2 || p.Mesh.Port != 7) {
					t.Errorf("%s is told of %+v", node, p.Mesh)
				}
				if f := e.item.Fleet; f != nil && (f.Mesh.Turns != 3 || (len(f.Mesh.Keys) == 2) != (node == "b")) {
					t.Errorf("%s is told of its own %+v", node, f.Mesh)
				}
			}
		}
	})
}

func backendIDs(e *api.Endpoint) (ids []api.TaskID) {
	if e != nil {
		for _, b := range e.Backends {
			ids = append(ids, b.Task)
		}
	}
	return ids
}

func TestANetworkIsToldToWhomItConcerns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fabricObjects()...)
		defer b.stop(t)
		network, web := b.told(t, "b")
		if network == nil || network.Subnet.String() != "10.9.0.0/24" || web == nil {
			t.Fatalf("told %+v, %+v", network, web)
		}
		if web.VirtualIP.String() != "10.9.0.1" || !slices.Equal(web.Aliases, []string{"www"}) || !slices.Equal(backendIDs(web), []api.TaskID{"t2"}) {
			t.Errorf("web is %+v", web)
		}
		if h := web.Backends[0].Hostname; h != "web-three" {
			t.Errorf("hostname %q", h)
		}
		if network, web := b.told(t, "a"); network != nil || web != nil {
			t.Errorf("a node without tasks on it is told %+v, %+v", network, web)
		}
	})
}

// TestWhoServesIsToldAtOnce: what an agent says reaches the others before it is
// committed, and is taken back as fast.
func TestWhoServesIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fabricObjects()...)
		defer b.stop(t)
		other := managertest.Open(t.Context(), b.server, "c")
		other.Report(hello(api.SetID{}))
		s := managertest.Open(t.Context(), b.server, "b")
		s.Report(hello(api.SetID{}))
		b.commit(t)
		drain(other)
		time.Sleep(time.Second)
		drain(other)
		for _, step := range []struct {
			status api.TaskStatus
			want   []api.TaskID
		}{
			{api.TaskStatus{Attempt: 1, State: api.TaskStarting}, nil}, // nothing new: nothing is said
			{api.TaskStatus{Attempt: 1, State: api.TaskRunning}, []api.TaskID{"t1", "t2"}},
			{api.TaskStatus{Attempt: 1, State: api.TaskFailed}, []api.TaskID{"t2"}},
			{api.TaskStatus{Attempt: 2, State: api.TaskRunning}, []api.TaskID{"t1", "t2"}},
		} {
			index := b.View().Index
			s.Report(&api.Report{Tasks: []api.TaskReport{{ID: "t1", Status: step.status}}})
			time.Sleep(100 * time.Millisecond)
			var said []api.TaskID
			for _, a := range drain(other) {
				for _, item := range a.Set {
					if item.Endpoint != nil {
						said = backendIDs(item.Endpoint)
					}
				}
			}
			if !slices.Equal(said, step.want) {
				t.Errorf("after %s of attempt %d: told %v, want %v", step.status.State, step.status.Attempt, said, step.want)
			}
			if b.View().Index != index {
				t.Error("that took a commit")
			}
		}
	})
}

func TestWhatEndsServesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fabricObjects()...)
		defer b.stop(t)
		b.Change(t, func(tx *store.Tx) {
			stopping := *tx.Task("t2")
			stopping.DesiredState = api.TaskShutdown
			tx.Put(&stopping)
		})
		if network, web := b.told(t, "c"); network == nil || len(backendIDs(web)) != 0 {
			t.Errorf("while it stops, its node is told %+v and %v serve", network, backendIDs(web))
		}
		b.Change(t, func(tx *store.Tx) {
			up := *tx.Task("t2")
			up.DesiredState = api.TaskRunning
			down := *tx.Node("c")
			down.Status.State = api.NodeDown
			tx.Put(&up, &down)
		})
		if _, web := b.told(t, "b"); len(backendIDs(web)) != 0 {
			t.Errorf("on a board that is down %v serve", backendIDs(web))
		}
		b.Change(t, func(tx *store.Tx) {
			over := *tx.Task("t1")
			over.DesiredState, over.Status.State = api.TaskShutdown, api.TaskShutdown
			tx.Put(&over)
		})
		if network, _ := b.told(t, "b"); network != nil {
			t.Error("a node whose last task there is over is still told of the network")
		}
	})
}

// TestEveryBoardIsToldWhatItPublishes: and of the tasks behind it, only those that
// serve.
func TestEveryBoardIsToldWhatItPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		objects := fabricObjects()
		public := &api.Service{ID: "public", Spec: api.ServiceSpec{Annotations: api.Annotations{Name: "public"}}}
		public.Spec.EndpointSpec = &api.EndpointSpec{Ports: []api.PortConfig{
			{Protocol: api.TCP, PublishedPort: 80, TargetPort: 8080, PublishMode: api.PublishIngress},
			{Protocol: api.TCP, PublishedPort: 81, TargetPort: 8081, PublishMode: api.PublishHost},
		}}
		ingress := &api.Network{ID: "in", Spec: api.NetworkSpec{Annotations: api.Annotations{Name: "ingress"}, Ingress: true}, Subnet: netip.MustParsePrefix("10.10.0.0/24"), VNI: 2}
		up, down := task("p1", "b"), task("p2", "c")
		up.ServiceID, down.ServiceID = "public", "public"
		up.Status.State, down.Status.State = api.TaskRunning, api.TaskStarting
		b := start(t, append(objects, public, ingress, up, down)...)
		defer b.stop(t)
		network, endpoint := b.told(t, "a")
		if network == nil || !network.Ingress || endpoint == nil {
			t.Fatalf("a board without tasks of it is told %+v, %+v", network, endpoint)
		}
		if len(endpoint.Ports) != 1 || endpoint.Ports[0].PublishedPort != 80 || !slices.Equal(backendIDs(endpoint), []api.TaskID{"p1"}) || endpoint.Backends[0].Node != "b" {
			t.Errorf("it is told %+v", endpoint)
		}
		b.Change(t, func(tx *store.Tx) {
			next := *tx.Service("public")
			next.Spec.EndpointSpec = nil
			tx.Put(&next)
		})
		if network, endpoint := b.told(t, "a"); network != nil || endpoint != nil {
			t.Errorf("nothing is published, and it is told %+v, %+v", network, endpoint)
		}
	})
}

package control

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

func (b *bench) network(name, subnet string) (*api.Network, error) {
	spec := api.NetworkSpec{Annotations: api.Annotations{Name: name}, Driver: api.DriverVXLAN}
	if subnet != "" {
		spec.Subnet = netip.MustParsePrefix(subnet)
	}
	resp, err := b.server.CreateNetwork(b.ctx, &api.CreateNetworkRequest{Spec: spec})
	if err != nil {
		return nil, err
	}
	return resp.Network, nil
}

func TestNetworksCollideWithNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.Change(t, func(tx *store.Tx) {
			next := *tx.Node("b")
			next.Description.Subnets = []netip.Prefix{netip.MustParsePrefix("10.224.0.0/16"), netip.MustParsePrefix("192.168.1.0/24")}
			tx.Put(&next)
		})
		first, err := b.network("first", "")
		if err != nil || first.Subnet.String() != "10.225.0.0/20" || first.VNI != 1 {
			t.Fatalf("picked %+v, %v; want the first beside the board's own", first, err)
		}
		own, err := b.network("own", "172.20.0.0/16")
		if err != nil || own.Subnet.String() != "172.20.0.0/16" || own.VNI != 2 {
			t.Fatalf("%+v, %v", own, err)
		}
		second, err := b.network("second", "")
		if err != nil || second.Subnet.String() != "10.225.16.0/20" {
			t.Fatalf("%+v, %v", second, err)
		}
		before := b.View().Index
		for _, c := range []struct {
			name, subnet string
			words        []string
		}{
			{"own", "", []string{"name own is in use"}},
			{"x", "172.20.7.0/24", []string{"172.20.7.0/24", "172.20.0.0/16", "network own"}},
			{"x", "192.168.0.0/16", []string{"192.168.1.0/24", "board two"}},
		} {
			_, err := b.network(c.name, c.subnet)
			refused(t, err, api.Conflict, c.words...)
		}
		_, err = b.server.CreateNetwork(b.ctx, &api.CreateNetworkRequest{Spec: api.NetworkSpec{Annotations: api.Annotations{Name: "x"}, Driver: "overlay"}})
		refused(t, err, api.Invalid, "overlay", "mesh", "vxlan")
		if b.View().Index != before {
			t.Error("a refusal changed the state")
		}
		if _, err := b.server.RemoveNetwork(b.ctx, &api.RemoveNetworkRequest{Network: "first"}); err != nil {
			t.Fatal(err)
		}
		if third, err := b.network("third", ""); err != nil || third.VNI != 4 {
			t.Errorf("%+v, %v: a number just given back is used again", third, err)
		}
		list, err := b.server.ListNetworks(b.ctx, &api.ListNetworksRequest{})
		if err != nil || len(list.Networks) != 3 || list.Networks[0].Spec.Name != "own" {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

func TestAServiceNamesNetworksThatAreThere(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		back, err := b.network("back", "")
		if err != nil {
			t.Fatal(err)
		}
		s := spec("db", "nowhere:1", 1)
		s.TaskTemplate.Networks = []api.NetworkAttachment{{Target: "nope"}}
		_, err = b.server.CreateService(b.ctx, &api.CreateServiceRequest{Spec: s})
		refused(t, err, api.NotFound, "nope", "edgectl network ls")
		s.TaskTemplate.Networks = []api.NetworkAttachment{{Target: "back"}, {Target: string(back.ID)}}
		_, err = b.server.CreateService(b.ctx, &api.CreateServiceRequest{Spec: s})
		refused(t, err, api.Invalid, "back is named twice")
		if b.images.pulls > 0 {
			t.Error("an image was pulled for it")
		}
		s = spec("db", "web:1", 1)
		s.TaskTemplate.Networks = []api.NetworkAttachment{{Target: string(back.ID), Aliases: []string{"store"}}}
		made, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{Spec: s})
		if err != nil {
			t.Fatal(err)
		}
		if n := made.Service.Spec.TaskTemplate.Networks[0]; n.ID != back.ID || n.Target != "back" {
			t.Errorf("attached to %+v", n)
		}
		// The same said again changes nothing; something else does.
		for _, c := range []struct {
			patch   api.ServicePatch
			version uint64
		}{
			{api.ServicePatch{NetworkAdd: []api.NetworkAttachment{{Target: "back", Aliases: []string{"store"}}}}, 1},
			{api.ServicePatch{NetworkAdd: []api.NetworkAttachment{{Target: "back"}}}, 2},
			{api.ServicePatch{NetworkRemove: []string{string(back.ID)}}, 3},
		} {
			resp, err := b.server.UpdateService(b.ctx, &api.UpdateServiceRequest{Service: "db", Patch: c.patch})
			if err != nil || resp.Service.SpecVersion != c.version {
				t.Errorf("%+v: version %d, %v; want %d", c.patch, resp.Service.SpecVersion, err, c.version)
			}
		}
		if _, err := b.server.RemoveNetwork(b.ctx, &api.RemoveNetworkRequest{Network: "back"}); err != nil {
			t.Errorf("a network that only a past spec names: %v", err)
		}
		_, err = b.server.RollbackService(b.ctx, &api.RollbackServiceRequest{Service: "db"})
		refused(t, err, api.NotFound, "network")
	})
}

// TestANetworkLastsAsLongAsATaskSpeaksOnIt: also one that nobody wants any more.
func TestANetworkLastsAsLongAsATaskSpeaksOnIt(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		back, err := b.network("back", "")
		if err != nil {
			t.Fatal(err)
		}
		task := &api.Task{ID: "t", ServiceID: "gone", ServiceName: "gone", NodeID: "a", DesiredState: api.TaskShutdown,
			Status: api.TaskStatus{State: api.TaskRunning, Attempt: 1}, Addresses: []api.NetworkAddr{{Network: back.ID, Addr: netip.MustParseAddr("10.224.0.1")}}}
		b.Put(t, task)
		_, err = b.server.RemoveNetwork(b.ctx, &api.RemoveNetworkRequest{Network: "back"})
		if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "tasks of gone") {
			t.Errorf("got %v", err)
		}
		b.Change(t, func(tx *store.Tx) {
			over := *tx.Task("t")
			over.Status.State = api.TaskShutdown
			tx.Put(&over)
		})
		if _, err := b.server.RemoveNetwork(b.ctx, &api.RemoveNetworkRequest{Network: "back"}); err != nil {
			t.Error(err)
		}
	})
}

func TestRotateKeysCounts(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		for i, id := range []api.RequestID{"one", "two", "two"} {
			if _, err := b.server.RotateKeys(b.ctx, &api.RotateKeysRequest{RequestID: id}); err != nil {
				t.Fatal(err)
			}
			if got, want := b.View().Cluster().MeshTurns, uint64(min(i+1, 2)); got != want {
				t.Errorf("after request %s keys were to be turned %d times, want %d", id, got, want)
			}
		}
	})
}

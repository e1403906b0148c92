package control

import (
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/store"
)

func TestNodesAreFoundByNameAndPrefix(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		long := b.View().Node("a")
		twin := *long
		twin.ID, twin.Meta, twin.Spec.Name = "abcd1111", api.Meta{}, "x"
		other := twin
		other.ID, other.Spec.Name = "abcd2222", "y"
		b.Put(t, &twin, &other)
		get := func(ref string) (api.NodeID, error) {
			resp, err := b.server.GetNode(b.ctx, &api.GetNodeRequest{Node: ref})
			if err != nil {
				return "", err
			}
			return resp.Node.ID, nil
		}
		for ref, want := range map[string]api.NodeID{"a": "a", "one": "a", "self": "a", "abcd1": "abcd1111", "y": "abcd2222"} {
			if id, err := get(ref); id != want {
				t.Errorf("%s is %s, %v", ref, id, err)
			}
		}
		if resp, err := b.server.GetNode(managertest.As(b.ctx, "c"), &api.GetNodeRequest{Node: "self"}); err != nil || resp.Node.ID != "c" {
			t.Errorf("self, as passed on by c, is %+v, %v", resp, err)
		}
		_, err := get("two")
		refused(t, err, api.Conflict, "ambiguous", "b, c")
		_, err = get("abcd")
		refused(t, err, api.Conflict, "abcd1111, abcd2222")
		_, err = get("abc")
		refused(t, err, api.NotFound, "abc", "edgectl node ls")
		_, err = get("")
		refused(t, err, api.Invalid)
	})
}

func TestUpdateNode(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		update := func(r api.UpdateNodeRequest) (*api.Node, error) {
			r.RequestID = api.NewID[api.RequestID]()
			resp, err := b.server.UpdateNode(b.ctx, &r)
			if err != nil {
				return nil, err
			}
			return resp.Node, nil
		}
		node, err := update(api.UpdateNodeRequest{Node: "one", Availability: new(api.AvailabilityDrain), LabelAdd: map[string]string{"zone": "attic"}})
		if err != nil || node.Spec.Availability != api.AvailabilityDrain || node.Spec.Labels["zone"] != "attic" || node.Spec.Role != api.RoleAuto {
			t.Fatalf("%+v %v", node, err)
		}
		if m := node.ManagerStatus; m == nil || !m.Leader || !m.Voter || m.Reachability != api.Reachable {
			t.Errorf("manager status %+v", m)
		}
		if b.View().Node("a").ManagerStatus != nil {
			t.Error("raft's part in a node was stored")
		}
		node, err = update(api.UpdateNodeRequest{Node: "one", LabelRemove: []string{"zone"}})
		if err != nil || len(node.Spec.Labels) != 0 || node.Spec.Availability != api.AvailabilityDrain {
			t.Errorf("%+v %v", node, err)
		}
		_, err = update(api.UpdateNodeRequest{Node: "one", Availability: new(api.Availability("gone"))})
		refused(t, err, api.Invalid, "gone")

		for _, id := range []string{"b", "c"} {
			if _, err := update(api.UpdateNodeRequest{Node: id, Role: new(api.RoleWorker)}); err != nil {
				t.Fatal(err)
			}
		}
		_, err = update(api.UpdateNodeRequest{Node: "a", Role: new(api.RoleWorker)})
		refused(t, err, api.Conflict, "one", "promote another")
	})
}

func TestRemoveNode(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		remove := func(node string, force bool) error {
			_, err := b.server.RemoveNode(b.ctx, &api.RemoveNodeRequest{RequestID: api.NewID[api.RequestID](), Node: node, Force: force})
			return err
		}
		refused(t, remove("c", false), api.Conflict, "not down", "--force")
		b.Change(t, func(tx *store.Tx) {
			down := *tx.Node("c")
			down.Status.State = api.NodeDown
			tx.Put(&down)
		})
		if err := remove("c", false); err != nil || b.View().Node("c") != nil {
			t.Errorf("a node that is down: %v", err)
		}
		refused(t, remove("c", false), api.NotFound)
		if err := remove("b", true); err != nil || b.View().Node("b") != nil {
			t.Errorf("one of two managers by force: %v", err)
		}
		refused(t, remove("a", true), api.Conflict, "only manager")
		b.raft.Set(consensus.Server{ID: "x", Voter: true})
		b.raft.Set(consensus.Server{ID: "y", Voter: true})
		refused(t, remove("a", true), api.Conflict, "too few")
	})
}

func TestJoinTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ask := func(r api.GetJoinTokenRequest) (*api.GetJoinTokenResponse, error) {
			r.RequestID = api.NewID[api.RequestID]()
			return b.server.GetJoinToken(b.ctx, &r)
		}
		first, err := ask(api.GetJoinTokenRequest{Role: api.RoleWorker})
		if err != nil {
			t.Fatal(err)
		}
		token, err := identity.ParseToken(first.Token)
		if err != nil || !token.PinsCA(b.View().Cluster().RootCA.CertPEM) {
			t.Fatalf("token %v, %v", token, err)
		}
		if same, err := ask(api.GetJoinTokenRequest{Role: api.RoleWorker}); err != nil || same.Token != first.Token {
			t.Errorf("asked again: another token, %v", err)
		}
		if manager, err := ask(api.GetJoinTokenRequest{Role: api.RoleManager}); err != nil || manager.Token == first.Token {
			t.Errorf("a manager's token is a worker's, %v", err)
		}
		short, err := ask(api.GetJoinTokenRequest{Role: api.RoleWorker, Rotate: true, TTL: time.Hour})
		if err != nil || short.Token == first.Token || short.Expires.Sub(time.Now()) != time.Hour {
			t.Errorf("rotated to %+v, %v", short, err)
		}
		time.Sleep(time.Hour)
		_, err = ask(api.GetJoinTokenRequest{Role: api.RoleWorker})
		refused(t, err, api.Conflict, "expired", "--rotate")
		_, err = ask(api.GetJoinTokenRequest{Role: "king"})
		refused(t, err, api.Invalid, "king")

		resp, err := b.server.GetCluster(b.ctx, &api.GetClusterRequest{})
		if err != nil {
			t.Fatal(err)
		}
		c := resp.Cluster
		if c.RootCA.KeyPEM != nil || c.JoinTokens != (api.JoinTokens{}) || c.FleetKey != "" {
			t.Error("the fleet's object was answered with its secrets")
		}
		if resp.Voters != 2 || resp.ReachableVoters != 2 || resp.Leader != "a" {
			t.Errorf("%+v", resp)
		}
	})
}

func TestFoldedFleetTakesNoWrites(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.Change(t, func(tx *store.Tx) {
			c := *tx.Cluster()
			c.FoldedInto = "other"
			tx.Put(&c)
		})
		_, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: "r", Spec: spec("web", "web:1", 1)})
		refused(t, err, api.Conflict, "other")
		_, err = b.server.UpdateNode(b.ctx, &api.UpdateNodeRequest{RequestID: "r", Node: "a", Name: new("x")})
		refused(t, err, api.Conflict, "other")
	})
}

func TestRequestIDsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		long := api.RequestID(strings.Repeat("x", maxRequestID+1))
		_, err := b.server.RemoveNode(b.ctx, &api.RemoveNodeRequest{RequestID: long, Node: "c", Force: true})
		refused(t, err, api.Invalid, "request ID")
		_, err = b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: long, Spec: spec("web", "web:1", 1)})
		refused(t, err, api.Invalid, "request ID")
		if _, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: long[1:], Spec: spec("web", "web:1", 1)}); err != nil {
			t.Error(err)
		}
	})
}

package dispatch

import (
	"testing"
	"testing/synctest"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
)

// TestSecretsGoOnlyWhereATaskNeedsThem: every other node's set is without.
func TestSecretsGoOnlyWhereATaskNeedsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := &api.Secret{ID: "s1", Spec: api.DataSpec{Annotations: api.Annotations{Name: "pw"}, Data: []byte("hunter2")}}
		other := &api.Secret{ID: "s2", Spec: api.DataSpec{Annotations: api.Annotations{Name: "other"}, Data: []byte("x")}}
		config := &api.Config{ID: "c1", Spec: api.DataSpec{Annotations: api.Annotations{Name: "conf"}, Data: []byte("y")}}
		user := task("t1", "b")
		user.Spec.ContainerSpec.Secrets = []api.SecretReference{{SecretID: "s1", SecretName: "pw"}}
		user.Spec.ContainerSpec.Configs = []api.ConfigReference{{ConfigID: "c1", ConfigName: "conf"}}
		b := start(t, managertest.Node("a", "one"), managertest.Node("b", "two"), user, task("t2", "a"), secret, other, config)
		defer b.stop(t)
		for node, want := range map[api.NodeID]int{"a": 0, "b": 2} {
			s := managertest.Open(t.Context(), b.server, node)
			s.Report(hello(api.SetID{}))
			got := 0
			for _, message := range drain(s) {
				for _, item := range message.Set {
					switch {
					case item.Secret != nil && item.Secret.ID == "s1", item.Config != nil:
						got++
					case item.Secret != nil:
						t.Errorf("node %s is sent a secret that no task names", node)
					}
				}
			}
			if got != want {
				t.Errorf("node %s is sent %d of 2", node, got)
			}
		}
	})
}

package control

import (
	"slices"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

func port(published, target uint16, mode api.PublishMode) api.PortConfig {
	return api.PortConfig{Protocol: api.TCP, PublishedPort: published, TargetPort: target, PublishMode: mode}
}

func publishing(name string, ports ...api.PortConfig) api.ServiceSpec {
	spec := spec(name, "web:1", 1)
	spec.EndpointSpec = &api.EndpointSpec{Ports: ports}
	return spec
}

func (b *bench) portsOf(t *testing.T, service string) []uint16 {
	t.Helper()
	var numbers []uint16
	for _, p := range b.View().ServiceByName(service).Spec.EndpointSpec.Ports {
		numbers = append(numbers, p.PublishedPort)
	}
	return numbers
}

func TestPortsOfEveryBoardAreOneServicesOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		create := func(name string, ports ...api.PortConfig) error {
			_, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{Spec: publishing(name, ports...)})
			return err
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(create("web", port(80, 8080, api.PublishIngress), port(0, 9090, api.PublishIngress)))
		ingress := b.View().IngressNetwork()
		if ingress == nil || ingress.Spec.Name != api.IngressName || ingress.Spec.Driver == "" || !ingress.Subnet.IsValid() {
			t.Fatalf("the first published port made the network %+v", ingress)
		}
		if got := b.portsOf(t, "web"); !slices.Equal(got, []uint16{80, api.DynamicPortLast}) {
			t.Errorf("it publishes %v", got)
		}
		must(create("picks", port(0, 80, api.PublishIngress)))
		if got := b.portsOf(t, "picks"); !slices.Equal(got, []uint16{api.DynamicPortLast - 1}) {
			t.Errorf("the next picks %v", got)
		}
		must(create("host", port(443, 443, api.PublishHost)))
		must(create("hosttoo", port(443, 443, api.PublishHost))) // on another board
		must(create("udp", api.PortConfig{Protocol: api.UDP, PublishedPort: 80, TargetPort: 80}))

		before := b.View().Index
		refused(t, create("x", port(80, 1, api.PublishIngress)), api.Conflict, "80/tcp", "published by service web")
		refused(t, create("x", port(80, 1, api.PublishHost)), api.Conflict, "80/tcp", "published by service web")
		refused(t, create("x", port(443, 1, api.PublishIngress)), api.Conflict, "443/tcp", "service host")
		refused(t, create("x", port(81, 1, api.PublishIngress), port(81, 2, api.PublishIngress)), api.Invalid, "81/tcp", "twice")
		_, err := b.server.UpdateService(b.ctx, &api.UpdateServiceRequest{Service: "picks", Patch: api.ServicePatch{PublishAdd: []api.PortConfig{port(80, 7, api.PublishIngress)}}})
		refused(t, err, api.Conflict, "service web")
		_, err = b.server.RemoveNetwork(b.ctx, &api.RemoveNetworkRequest{Network: api.IngressName})
		refused(t, err, api.Conflict, "unpublish")
		_, err = b.server.CreateNetwork(b.ctx, &api.CreateNetworkRequest{Spec: api.NetworkSpec{Annotations: api.Annotations{Name: "more"}, Driver: api.DriverVXLAN, Ingress: true}})
		refused(t, err, api.Conflict, "there is one")
		attached := publishing("x")
		attached.TaskTemplate.Networks = []api.NetworkAttachment{{Target: api.IngressName}}
		_, err = b.server.CreateService(b.ctx, &api.CreateServiceRequest{Spec: attached})
		refused(t, err, api.Invalid, "has no tasks")
		if b.View().Index != before {
			t.Error("a refusal changed the state")
		}

		// A port that is given up is kept until the update can no longer go back.
		patch := api.ServicePatch{PublishRemove: []api.PortConfig{{TargetPort: 8080}}, PublishAdd: []api.PortConfig{port(8000, 8080, api.PublishIngress)}}
		_, err = b.server.UpdateService(b.ctx, &api.UpdateServiceRequest{Service: "web", Patch: patch})
		must(err)
		if got := b.portsOf(t, "web"); !slices.Contains(got, 8000) || !slices.Contains(got, api.DynamicPortLast) {
			t.Errorf("after the update it publishes %v", got)
		}
		refused(t, create("x", port(80, 1, api.PublishIngress)), api.Conflict, "service web")
		b.Change(t, func(tx *store.Tx) {
			next := *tx.ServiceByName("web")
			next.Rollout = &api.Rollout{State: api.UpdateCompleted}
			tx.Put(&next)
		})
		must(create("x", port(80, 1, api.PublishIngress)))
		_, err = b.server.RollbackService(b.ctx, &api.RollbackServiceRequest{Service: "web"})
		refused(t, err, api.Conflict, "80/tcp", "service x")
	})
}

// TestATaskOfInternalNetworksPublishesNothing: nothing from outside reaches it.
func TestATaskOfInternalNetworksPublishesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		if _, err := b.server.CreateNetwork(b.ctx, &api.CreateNetworkRequest{Spec: api.NetworkSpec{Annotations: api.Annotations{Name: "db"}, Driver: api.DriverVXLAN, Internal: true}}); err != nil {
			t.Fatal(err)
		}
		spec := publishing("web", port(80, 8080, api.PublishIngress))
		spec.TaskTemplate.Networks = []api.NetworkAttachment{{Target: "db"}}
		_, err := b.server.CreateService(b.ctx, &api.CreateServiceRequest{Spec: spec})
		refused(t, err, api.Invalid, "internal")
	})
}

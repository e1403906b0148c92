package control

import (
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestForecastChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		created := spec("new", "web:1", 2)
		commits := b.Log.Commits()
		plan, err := b.server.ForecastService(b.ctx, &api.ForecastServiceRequest{Create: &created})
		if err != nil || len(plan.Steps) != 2 || plan.Steps[0].Action != api.ForecastStart || len(plan.Notes) != 0 {
			t.Errorf("create: %+v, %v", plan, err)
		}
		created.TaskTemplate.ContainerSpec.Image = "unknown:7"
		plan, err = b.server.ForecastService(b.ctx, &api.ForecastServiceRequest{Create: &created})
		if err != nil || len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "unknown:7 is not in the fleet") || b.images.pulls != 0 {
			t.Errorf("unknown image: %+v, %v, %d pulls", plan, err, b.images.pulls)
		}
		if b.Log.Commits() != commits || b.View().Services.Len() != 0 {
			t.Error("a forecast was committed")
		}
		b.create(t, "web")
		commits = b.Log.Commits()
		plan, err = b.server.ForecastService(b.ctx, &api.ForecastServiceRequest{Service: "web", Patch: &api.ServicePatch{Replicas: new(uint64(5))}})
		if err != nil || len(plan.Steps) != 5 {
			t.Errorf("update: %+v, %v", plan, err)
		}
		plan, err = b.server.ForecastService(b.ctx, &api.ForecastServiceRequest{Service: "web", Patch: &api.ServicePatch{Replicas: new(uint64(2))}})
		if err != nil || len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "so already") {
			t.Errorf("no change: %+v, %v", plan, err)
		}
		_, err = b.server.ForecastService(b.ctx, &api.ForecastServiceRequest{Service: "web", Patch: &api.ServicePatch{ConstraintAdd: []string{"zone==x"}}})
		refused(t, err, api.Invalid, "zone")
		_, err = b.server.ForecastService(b.ctx, &api.ForecastServiceRequest{Service: "web"})
		refused(t, err, api.Invalid, "no change")
		if b.Log.Commits() != commits {
			t.Error("a forecast was committed")
		}
	})
}

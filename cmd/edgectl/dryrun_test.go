package main

import (
	"context"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func (f *fleet) ForecastService(_ context.Context, r *api.ForecastServiceRequest) (*api.ForecastServiceResponse, error) {
	f.mu.Lock()
	f.asked = append(f.asked, r)
	f.mu.Unlock()
	return &api.ForecastServiceResponse{
		Steps: []api.ForecastStep{
			{Task: "web.3", Action: api.ForecastStart, To: "board1", Why: "the service is to have 3 tasks"},
			{Wave: 1, Task: "web.1", Action: api.ForecastReplace, From: "board1", To: "board1", Why: "its image changes from web:1 to web:2"},
		},
		Replaced: 2, Waves: 2, Config: api.UpdateConfig{Parallelism: 1, Delay: 10 * time.Second, Order: api.StopFirst},
	}, nil
}

func TestADryRunPrintsThePlanAndChangesNothing(t *testing.T) {
	f := newFleet()
	r := f.edgectl(t, "service", "update", "--dry-run", "--replicas", "3", "--image", "web:2", "web")
	if r.code != 0 {
		t.Fatal(r.err)
	}
	golden(t, "service-dry-run", r.out)
	if r := f.edgectl(t, "service", "create", "--dry-run", "nginx"); r.code != 0 {
		t.Fatal(r.err)
	}
	asked := requests[*api.ForecastServiceRequest](f)
	if len(asked) != 2 || len(f.asked) != 2 {
		t.Fatalf("asked %+v", f.asked)
	}
	if p := asked[0]; p.Service != "web" || *p.Patch.Replicas != 3 || *p.Patch.Image != "web:2" || p.Create != nil {
		t.Errorf("update asked %+v", p)
	}
	if p := asked[1]; p.Create == nil || p.Create.Name == "" || p.Create.TaskTemplate.ContainerSpec.Image != "nginx" {
		t.Errorf("create asked %+v", p)
	}
}

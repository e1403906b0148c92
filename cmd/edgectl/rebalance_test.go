package main

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

func (f *fleet) RebalanceServices(_ context.Context, r *api.RebalanceServicesRequest) (*api.RebalanceServicesResponse, error) {
	f.mu.Lock()
	f.asked = append(f.asked, r)
	f.mu.Unlock()
	switch {
	case r.All:
		return &api.RebalanceServicesResponse{Notes: []string{"the update of service api is paused; it is left as it is"}}, nil
	case r.Service != "web":
		return nil, api.Errorf(api.Invalid, "rebalance service", "service %s is global", r.Service)
	}
	s := *f.services[0].Service
	s.Spec.Name = "web"
	s.StartRebalance(api.UpdateStatus{State: api.UpdateUpdating, Message: "rebalance in progress"})
	return &api.RebalanceServicesResponse{Services: []*api.Service{&s}}, nil
}

func TestRebalanceWaitsForTheMoves(t *testing.T) {
	f := newFleet()
	moment := func(state api.UpdateState, message string) *api.ServiceProgress {
		s := *f.services[0].Service
		s.Version.Index++
		s.Spec.Name = "web"
		s.StartRebalance(api.UpdateStatus{State: state, Message: message})
		s.Rollout.State = state
		return &api.ServiceProgress{Service: &s, Converged: state == api.UpdateCompleted}
	}
	end := moment(api.UpdateCompleted, "rebalance completed")
	f.watch = func(_ int, stream grpc.ServerStreamingServer[api.ServiceProgress]) error {
		for _, p := range []*api.ServiceProgress{moment(api.UpdateUpdating, "rebalance in progress"), end} {
			if err := stream.Send(p); err != nil {
				return err
			}
		}
		<-stream.Context().Done()
		return nil
	}
	if r := f.edgectl(t, "service", "rebalance", "web"); r.code != 0 || !strings.Contains(r.out, "converged") {
		t.Errorf("ends with %d: %s%s", r.code, r.out, r.err)
	}
	end = moment(api.UpdatePaused, "rebalance paused due to failure of task x")
	if r := f.edgectl(t, "service", "rebalance", "web"); r.code == 0 || !strings.Contains(r.err, "rebalance it again") {
		t.Errorf("paused, and ends with %d: %s%s", r.code, r.out, r.err)
	}
}

func TestRebalanceOfNothingAndOfAll(t *testing.T) {
	f := newFleet()
	if r := f.edgectl(t, "service", "rebalance", "--all"); r.code != 0 || !strings.Contains(r.out, "nothing to move") || !strings.Contains(r.err, "left as it is") {
		t.Errorf("ends with %d: %s%s", r.code, r.out, r.err)
	}
	if r := f.edgectl(t, "service", "rebalance", "cam"); r.code == 0 || !strings.Contains(r.err, "is global") {
		t.Errorf("ends with %d: %s%s", r.code, r.out, r.err)
	}
	if r := f.edgectl(t, "service", "rebalance", "--dry-run", "web"); r.code != 0 || !strings.Contains(r.out, "nothing was changed") {
		t.Errorf("ends with %d: %s%s", r.code, r.out, r.err)
	}
	if r := f.edgectl(t, "service", "rebalance", "--dry-run", "--all"); r.code != 0 {
		t.Errorf("ends with %d: %s%s", r.code, r.out, r.err)
	}
	asked := requests[*api.ForecastServiceRequest](f)
	if len(asked) != 2 || !asked[0].Rebalance || asked[0].Service != "web" || !asked[1].Rebalance || asked[1].Service != "" {
		t.Errorf("asked %+v", asked)
	}
}

package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

// onOneBoard gives a service so many tasks that run on node a.
func (b *bench) onOneBoard(t *testing.T, s *api.Service, tasks int) {
	t.Helper()
	for slot := range tasks {
		b.Put(t, &api.Task{
			ID: api.TaskID(fmt.Sprintf("%s-%d", s.Spec.Name, slot+1)), ServiceID: s.ID, ServiceName: s.Spec.Name, Slot: slot + 1, NodeID: "a", SpecVersion: s.SpecVersion,
			Spec: s.Spec.TaskTemplate, DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskRunning, Attempt: 1},
		})
	}
}

// alter changes a service as no user could.
func (b *bench) alter(t *testing.T, id api.ServiceID, edit func(*api.Service)) {
	t.Helper()
	next := api.Clone(*b.View().Service(id))
	edit(&next)
	b.Put(t, &next)
}

func TestRebalance(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		web, cam := b.create(t, "web"), b.create(t, "cam")
		b.create(t, "even") // as nothing is
		b.onOneBoard(t, web, 4)
		b.alter(t, cam.ID, func(s *api.Service) { s.Spec.Mode = api.ServiceMode{Global: &api.GlobalService{}} })

		commits := b.Log.Commits()
		plan, err := b.server.ForecastService(b.ctx, &api.ForecastServiceRequest{Rebalance: true, Service: "web"})
		if err != nil || len(plan.Steps) != 2 || plan.Waves != 2 || plan.Steps[1].Wave != 2 || plan.Steps[0].Action != api.ForecastMove || !strings.Contains(plan.Steps[0].Why, "one has 4") {
			t.Errorf("plan %+v, %v", plan, err)
		}
		for ref, want := range map[string]struct {
			kind api.Kind
			word string
		}{"cam": {api.Invalid, "global"}, "nobody": {api.NotFound, "nobody"}, "": {api.Invalid, "name one"}} {
			_, err := b.server.RebalanceServices(b.ctx, &api.RebalanceServicesRequest{RequestID: api.NewID[api.RequestID](), Service: ref})
			refused(t, err, want.kind, want.word)
			if ref != "" {
				_, err = b.server.ForecastService(b.ctx, &api.ForecastServiceRequest{Rebalance: true, Service: ref})
				refused(t, err, want.kind, want.word)
			}
		}
		_, err = b.server.RebalanceServices(b.ctx, &api.RebalanceServicesRequest{RequestID: "both", Service: "web", All: true})
		refused(t, err, api.Invalid, "name one")
		resp, err := b.server.RebalanceServices(b.ctx, &api.RebalanceServicesRequest{RequestID: "even", Service: "even"})
		if err != nil || len(resp.Services) != 0 || b.Log.Commits() != commits {
			t.Errorf("an even service: %+v, %v, %d commits", resp, err, b.Log.Commits()-commits)
		}

		for range 2 { // the second is the first one's retry
			resp, err = b.server.RebalanceServices(b.ctx, &api.RebalanceServicesRequest{RequestID: "web", Service: "web"})
			if err != nil || len(resp.Services) != 1 || !resp.Services[0].Rebalancing() || b.Log.Commits() != commits+1 {
				t.Fatalf("%+v, %v", resp, err)
			}
		}
		if s := b.View().Service(web.ID); s.UpdateStatus.State != api.UpdateUpdating || s.UpdateStatus.Message != "rebalance in progress" || s.SpecVersion != web.SpecVersion {
			t.Errorf("became %+v", s)
		}
	})
}

func TestRebalanceOfAllLeavesWhatIsBeingUpdated(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		web, other, db := b.create(t, "web"), b.create(t, "api"), b.create(t, "db")
		for _, s := range []*api.Service{web, other, db} {
			b.onOneBoard(t, s, 3)
		}
		b.alter(t, other.ID, func(s *api.Service) { s.Rollout = &api.Rollout{Target: s.SpecVersion, State: api.UpdatePaused} })
		_, err := b.server.RebalanceServices(b.ctx, &api.RebalanceServicesRequest{RequestID: "1", Service: "api"})
		refused(t, err, api.Conflict, "paused", "roll it back")
		b.alter(t, other.ID, func(s *api.Service) { s.Rollout.State = api.UpdateRollbackStarted })
		_, err = b.server.RebalanceServices(b.ctx, &api.RebalanceServicesRequest{RequestID: "2", Service: "api"})
		refused(t, err, api.Conflict, "being updated")
		commits := b.Log.Commits()
		resp, err := b.server.RebalanceServices(b.ctx, &api.RebalanceServicesRequest{RequestID: "3", All: true})
		if err != nil || len(resp.Services) != 2 || resp.Services[0].Spec.Name != "db" || len(resp.Notes) != 1 || !strings.Contains(resp.Notes[0], "api is being updated") || b.Log.Commits() != commits+1 {
			t.Errorf("%+v, %v", resp, err)
		}
	})
}

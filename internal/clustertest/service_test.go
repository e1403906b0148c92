package clustertest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

// soon bounds one call.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	time.AfterFunc(20*time.Second, cancel)
	return ctx
}

// create makes a service and waits for nothing.
func create(t *testing.T, b *clustertest.Board, name string, replicas uint64, edit ...func(*api.ServiceSpec)) *api.Service {
	t.Helper()
	spec := clustertest.Spec(name, replicas)
	for _, e := range edit {
		e(&spec)
	}
	resp, err := b.Control().CreateService(soon(t), &api.CreateServiceRequest{RequestID: api.NewID[api.RequestID](), Spec: spec})
	if err != nil {
		t.Fatalf("create %s at %s: %v", name, b.Name, err)
	}
	return resp.Service
}

// patch changes a service at a board, once.
func patch(b *clustertest.Board, id api.RequestID, name string, p api.ServicePatch) (*api.Service, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := b.Control().UpdateService(ctx, &api.UpdateServiceRequest{RequestID: id, Service: name, Patch: p})
	if err != nil {
		return nil, err
	}
	return resp.Service, nil
}

// change changes a service at a board, which must work at the first try.
func change(t *testing.T, b *clustertest.Board, name string, p api.ServicePatch) *api.Service {
	t.Helper()
	service, err := patch(b, api.NewID[api.RequestID](), name, p)
	if err != nil {
		t.Fatalf("change %s at %s: %v", name, b.Name, err)
	}
	return service
}

func image(name string) api.ServicePatch { return api.ServicePatch{Image: &name} }
func scale(n uint64) api.ServicePatch    { return api.ServicePatch{Replicas: &n} }

// Every board takes every command, whoever leads.
func TestAnyBoardTakesAnyCommand(t *testing.T) {
	formed(t, 5, 10, func(t *testing.T, f *clustertest.Fleet) {
		for i, b := range f.Boards {
			name := fmt.Sprint("web", i)
			create(t, b, name, 3)
			f.Within(20*time.Second, "running", f.Converged(b, name, 3))
			change(t, f.Boards[(i+1)%5], name, scale(5))
			f.Within(20*time.Second, "scaled up", f.Converged(b, name, 5))
			change(t, f.Boards[(i+2)%5], name, image("web:2"))
			f.Within(time.Minute, "updated", f.Converged(b, name, 5))
			change(t, f.Boards[(i+3)%5], name, scale(1))
			f.Within(30*time.Second, "scaled down", f.Converged(b, name, 1))
		}
	})
}

// A request whose leader dies under it is repeated at another board. However
// far it had come, it counts once.
func TestARetriedRequestCountsOnce(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			formed(t, 4, seed, func(t *testing.T, f *clustertest.Fleet) {
				before := create(t, f.Boards[0], "web", 2)
				f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 2))
				leader := f.Leader()
				other := f.Others(leader)
				request := api.NewID[api.RequestID]()
				first := make(chan error, 1)
				go func() {
					_, err := patch(other[0], request, "web", image("web:2"))
					first <- err
				}()
				time.Sleep(time.Duration(f.Rand.Int64N(int64(3 * time.Millisecond))))
				leader.Cut()
				var after *api.Service
				took := f.Within(10*time.Second, "accepted", func() (err error) {
					after, err = patch(other[1+f.Rand.IntN(2)], request, "web", image("web:2"))
					return err
				})
				err := <-first
				t.Logf("first try: %v; accepted after %v", err, took)
				if after.SpecVersion != before.SpecVersion+1 {
					t.Errorf("the version went from %d to %d", before.SpecVersion, after.SpecVersion)
				}
				f.Within(2*time.Minute, "updated", f.Converged(other[0], "web", 2))
				now, err := other[0].Control().GetService(t.Context(), &api.GetServiceRequest{Service: "web"})
				if err != nil || now.Service.SpecVersion != before.SpecVersion+1 {
					t.Errorf("in the end the version is %d: %v", now.Service.SpecVersion, err)
				}
			})
		})
	}
}

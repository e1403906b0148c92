package clustertest_test

import (
	"context"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

// call is a context for one call.
func call(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// create makes a service and waits for nothing.
func create(t *testing.T, b *clustertest.Board, name string, replicas uint64, edit ...func(*api.ServiceSpec)) *api.Service {
	t.Helper()
	spec := clustertest.Spec(name, replicas)
	for _, e := range edit {
		e(&spec)
	}
	resp, err := b.Control().CreateService(call(t), &api.CreateServiceRequest{RequestID: api.NewID[api.RequestID](), Spec: spec})
	if err != nil {
		t.Fatalf("create %s at %s: %v", name, b.Name, err)
	}
	return resp.Service
}

package managertest

import (
	"context"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/store"
)

// State is a fleet's replicated state and the log that drives it.
type State struct {
	*store.Store
	Log    *Log
	Writer *store.Writer
}

// Found returns the state of a fleet with the given objects beside its Cluster.
func Found(t testing.TB, clock func() time.Time, objects ...api.Object) *State {
	t.Helper()
	st := store.New(store.Config{})
	log := NewLog(st)
	s := &State{Store: st, Log: log, Writer: store.NewWriter(st, log, clock)}
	fleet := api.NewID[api.FleetID]()
	ca, err := identity.NewCA(fleet, clock())
	if err != nil {
		t.Fatal(err)
	}
	cluster := &api.Cluster{ID: fleet, Spec: api.ClusterSpec{Annotations: api.Annotations{Name: "test"}}, Epoch: 1, Level: api.FeatureLevel, RootCA: ca.Root()}
	s.Put(t, append([]api.Object{cluster}, objects...)...)
	return s
}

// Put stores objects in one entry.
func (s *State) Put(t testing.TB, objects ...api.Object) {
	t.Helper()
	s.Change(t, func(tx *store.Tx) {
		for _, obj := range objects {
			tx.Put(obj)
		}
	})
}

// Change makes a change that is of no user.
func (s *State) Change(t testing.TB, change func(*store.Tx)) {
	t.Helper()
	if _, err := s.Writer.Update(context.Background(), store.Op{}, func(tx *store.Tx) error { change(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

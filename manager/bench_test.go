package manager

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/manager/dispatch"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/store"
)

// BenchmarkPass is a pass that finds nothing to do, in a fleet of 100 boards
// and 50 services of 100 tasks.
func BenchmarkPass(b *testing.B) {
	objects := []api.Object{&api.Cluster{ID: "fleet"}}
	for n := range 100 {
		objects = append(objects, managertest.Node(api.NodeID(fmt.Sprint("node", n)), fmt.Sprint("board", n)))
	}
	for s := range 50 {
		name := fmt.Sprint("service", s)
		spec := serviceSpec(100, nil).Defaults()
		spec.Name = name
		objects = append(objects, &api.Service{ID: api.ServiceID(name), Spec: spec, SpecVersion: 1})
		for slot := range 100 {
			objects = append(objects, &api.Task{
				ID: api.TaskID(fmt.Sprint(name, "-", slot)), ServiceID: api.ServiceID(name), ServiceName: name, Slot: slot + 1,
				NodeID: api.NodeID(fmt.Sprint("node", slot)), Spec: spec.TaskTemplate, SpecVersion: 1,
				DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskRunning, Attempt: 1},
			})
		}
	}
	v := store.NewView(objects...)
	l := &loop{
		servers: func() []consensus.Server { return nil }, clock: time.Now, logger: slog.New(slog.DiscardHandler), watches: newStopwatches(),
		dispatch: dispatch.New(dispatch.Config{}),
	}
	for b.Loop() {
		if out := l.decide(v); len(out.puts[1])+len(out.deletes) > 0 {
			b.Fatal("there was something to do")
		}
	}
}

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

// benchFleet has so many boards, and services of so many tasks, that all run.
func benchFleet(boards, services, tasks int) *store.View {
	objects := []api.Object{&api.Cluster{ID: "fleet", Spec: api.ClusterSpec{HeartbeatPeriod: time.Minute}}} // nobody reports, and nobody is missed
	for n := range boards {
		objects = append(objects, managertest.Node(api.NodeID(fmt.Sprint("node", n)), fmt.Sprint("board", n)))
	}
	for s := range services {
		name := fmt.Sprint("service", s)
		spec := serviceSpec(uint64(tasks), nil).Defaults()
		spec.Name = name
		objects = append(objects, &api.Service{ID: api.ServiceID(name), Spec: spec, SpecVersion: 1})
		for slot := range tasks {
			objects = append(objects, &api.Task{
				ID: api.TaskID(fmt.Sprint(name, "-", slot)), ServiceID: api.ServiceID(name), ServiceName: name, Slot: slot + 1,
				NodeID: api.NodeID(fmt.Sprint("node", (s*tasks+slot)%boards)), Spec: spec.TaskTemplate, SpecVersion: 1,
				DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskRunning, Attempt: 1},
			})
		}
	}
	return store.NewView(objects...)
}

func benchLoop() *loop {
	return &loop{
		servers: func() []consensus.Server { return nil }, clock: time.Now, logger: slog.New(slog.DiscardHandler), watches: newStopwatches(),
		dispatch: dispatch.New(dispatch.Config{}),
	}
}

// BenchmarkPass is a pass that looks at everything and finds nothing to do: the
// first of a leader.
func BenchmarkPass(b *testing.B) {
	for _, size := range []struct{ boards, services, tasks int }{{1000, 100, 100}, {100, 50, 100}, {100, 1, 10000}} {
		b.Run(fmt.Sprintf("%d boards, %d x %d tasks", size.boards, size.services, size.tasks), func(b *testing.B) {
			v := benchFleet(size.boards, size.services, size.tasks)
			l := benchLoop()
			b.ReportAllocs()
			for b.Loop() {
				if out := l.decide(v, nil, false); len(out.puts[1])+len(out.deletes) > 0 {
					b.Fatal("there was something to do")
				}
			}
		})
	}
}

// BenchmarkReplan is the pass after one task has ended for good: it is replaced,
// and the new one placed.
func BenchmarkReplan(b *testing.B) {
	for _, size := range []struct{ boards, services, tasks int }{{1000, 100, 100}, {100, 100, 100}, {1000, 1, 10000}} {
		b.Run(fmt.Sprintf("%d boards, %d x %d tasks", size.boards, size.services, size.tasks), func(b *testing.B) {
			v := benchFleet(size.boards, size.services, size.tasks)
			l := benchLoop()
			out := l.decide(v, nil, false)
			known := l.memory.after(out, true)
			ended := *v.Task("service0-7")
			ended.Spec.RestartPolicy = &api.RestartPolicy{Delay: new(time.Duration)}
			ended.Status = api.TaskStatus{State: api.TaskFailed, Attempt: 1, Exhausted: true}
			changes := v.Diff([]api.Object{&ended}, nil)
			v = v.With([]api.Object{&ended}, nil)
			b.ReportAllocs()
			for b.Loop() {
				l.memory = known
				out := l.decide(v, changes, true)
				if len(out.puts[2]) != 1 || len(out.dirty) != 1 {
					b.Fatalf("%d tasks placed, %d services planned", len(out.puts[2]), len(out.dirty))
				}
			}
		})
	}
}

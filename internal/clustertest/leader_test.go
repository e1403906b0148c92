package clustertest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
	"github.com/edgeswarm/edgeswarm/runtime/sim"
)

// Losing the leader is a non-event: no task of another board is touched, no
// worker goes down, and the fleet takes commands again within moments.
func TestLosingTheLeader(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			formed(t, 5, seed, func(t *testing.T, f *clustertest.Fleet) {
				leader := f.Leader()
				create(t, leader, "web", 8, func(s *api.ServiceSpec) {
					s.TaskTemplate.Placement = &api.Placement{Constraints: []string{"node.hostname!=" + leader.Name}}
				})
				f.Within(20*time.Second, "running", f.Converged(leader, "web", 8))
				f.Pass(10 * time.Second)
				others := f.Others(leader)
				before := events(others)
				if seed%2 == 0 {
					leader.Cut()
				} else {
					leader.Kill()
				}
				id := api.NewID[api.RequestID]()
				took := f.Within(10*time.Second, "accepted", func() error {
					_, err := patch(others[f.Rand.IntN(len(others))], id, "web", api.ServicePatch{LabelAdd: map[string]string{"a": "b"}})
					return err
				})
				if t.Log("first write after", took); took > 3*time.Second {
					t.Errorf("the first write was accepted after %v", took)
				}
				for began := time.Now(); time.Since(began) < 20*time.Second; f.Pass(250 * time.Millisecond) {
					nodes, err := others[0].Control().ListNodes(t.Context(), &api.ListNodesRequest{})
					if err != nil {
						continue
					}
					for _, n := range nodes.Nodes {
						if n.ID != leader.ID() && n.Status.State != api.NodeReady {
							t.Fatalf("%s went %s %v after the leader", n.Name(), n.Status.State, time.Since(began))
						}
					}
				}
				if after := events(others); len(after) != len(before) {
					t.Errorf("tasks of boards that live were touched: %v", after[len(before):])
				}
				f.Within(10*time.Second, "at rest", f.Converged(others[0], "web", 8))
			})
		})
	}
}

// events are what happened to the containers of boards.
func events(boards []*clustertest.Board) []sim.Event {
	var out []sim.Event
	for _, b := range boards {
		out = append(out, b.Containers.Journal()...)
	}
	return out
}

// A leader is killed 5 s into the 10 s between two waves of an update, and
// its successor's clock says 1970. The next wave starts no sooner than 10 s
// after the last and not much later than 20 s.
func TestASuccessorWithoutAClockWaitsNoLess(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, 4, seed, func(t *testing.T, f *clustertest.Fleet) {
				for _, b := range f.Boards[1:] {
					b.SetWall(time.Unix(0, 0))
				}
				f.Boards[0].Start()
				f.Within(20*time.Second, "formed", f.Formed(1))
				for _, b := range f.Boards[1:] {
					b.Start()
				}
				f.AwaitFormed(30 * time.Second)
				leader := f.Boards[0]
				if f.Leader() != leader {
					t.Fatal("the first board does not lead")
				}
				create(t, leader, "web", 3, func(s *api.ServiceSpec) {
					s.UpdateConfig = &api.UpdateConfig{Parallelism: 1, Delay: 10 * time.Second, Monitor: time.Second}
					s.TaskTemplate.Placement = &api.Placement{Constraints: []string{"node.hostname!=" + leader.Name}}
				})
				f.Within(20*time.Second, "running", f.Converged(leader, "web", 3))
				f.Pass(time.Duration(seed) * time.Second)
				began := time.Now()
				change(t, leader, "web", image("web:2"))
				var first time.Time
				f.Within(10*time.Second, "in its first wave", func() error {
					if starts := startsAfter(f.Boards, began); len(starts) == 1 {
						first = starts[0]
						return nil
					}
					return fmt.Errorf("no task has started")
				})
				f.Pass(5*time.Second - time.Since(first))
				leader.Kill()
				f.Within(time.Minute, "in its second wave", func() error {
					if n := len(startsAfter(f.Boards, began)); n < 2 {
						return fmt.Errorf("%d tasks have started", n)
					}
					return nil
				})
				second := startsAfter(f.Boards, began)[1]
				if gap := second.Sub(first); gap < 10*time.Second || gap > 20*time.Second {
					t.Errorf("%v lie between the waves", gap)
				} else {
					t.Log(gap)
				}
				f.Within(time.Minute, "updated", f.Converged(f.Others()[0], "web", 3))
			})
		})
	}
}

// startsAfter are the starts of containers after a time, in order.
func startsAfter(boards []*clustertest.Board, since time.Time) []time.Time {
	var out []time.Time
	for _, e := range events(boards) {
		if e.Op == sim.OpStart && e.At.After(since) {
			out = append(out, e.At)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

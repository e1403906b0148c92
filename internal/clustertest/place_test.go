package clustertest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

func zone(t *testing.T, at, b *clustertest.Board, zone string) {
	t.Helper()
	r := &api.UpdateNodeRequest{RequestID: api.NewID[api.RequestID](), Node: b.Name, LabelAdd: map[string]string{"zone": zone}}
	if _, err := at.Control().UpdateNode(soon(t), r); err != nil {
		t.Fatal(err)
	}
}

// where is the board that runs each task of a service.
func where(f *clustertest.Fleet, name string) map[api.TaskID]*clustertest.Board {
	at := map[api.TaskID]*clustertest.Board{}
	for id, node := range f.Running(name) {
		for _, b := range f.Boards {
			if b.ID() == node {
				at[id] = b
			}
		}
	}
	return at
}

// left checks that a service runs so many tasks, and none on the board.
func left(f *clustertest.Fleet, name string, n int, not *clustertest.Board) func() error {
	return func() error {
		at := where(f, name)
		for id, b := range at {
			if b == not {
				return fmt.Errorf("%s is still on %s", id, b.Name)
			}
		}
		if len(at) != n {
			return fmt.Errorf("%d tasks run, not %d", len(at), n)
		}
		return nil
	}
}

// TestAConstraintThatStopsHoldingMovesTheTask: also one that the spec has now and
// the task's own, of before an update that has yet to come to it, had not.
func TestAConstraintThatStopsHoldingMovesTheTask(t *testing.T) {
	formed(t, 3, 33, func(t *testing.T, f *clustertest.Fleet) {
		at := f.Boards[0]
		for _, b := range f.Boards {
			zone(t, at, b, "attic")
		}
		create(t, at, "web", 1, func(s *api.ServiceSpec) {
			s.TaskTemplate.Placement = &api.Placement{Constraints: []string{"node.labels.zone==attic"}}
		})
		f.Within(20*time.Second, "running", f.Converged(at, "web", 1))
		for _, home := range where(f, "web") {
			zone(t, at, home, "cellar")
			f.Within(30*time.Second, "moved", left(f, "web", 1, home))
			zone(t, at, home, "attic")
		}

		create(t, at, "two", 2, func(s *api.ServiceSpec) { s.UpdateConfig = &api.UpdateConfig{Parallelism: 1, Delay: time.Hour} })
		f.Within(20*time.Second, "running", f.Converged(at, "two", 2))
		before := where(f, "two")
		change(t, at, "two", api.ServicePatch{EnvAdd: []string{"A=1"}, ConstraintAdd: []string{"node.labels.zone!=cellar"}})
		var old *clustertest.Board
		f.Within(30*time.Second, "one of two changed", func() error {
			now, same := where(f, "two"), 0
			for id, b := range before {
				if now[id] != nil {
					same, old = same+1, b
				}
			}
			if len(now) != 2 || same != 1 {
				return fmt.Errorf("%d run, %d of them as they were", len(now), same)
			}
			return nil
		})
		zone(t, at, old, "cellar")
		f.Within(30*time.Second, "moved by the spec of now", left(f, "two", 2, old))
	})
}

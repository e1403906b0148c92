package clustertest_test

import (
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

func usage(t *testing.T, b *clustertest.Board, r api.UsageRequest) *api.UsageResponse {
	t.Helper()
	resp, err := b.Board().Usage(soon(t), &r)
	if err != nil {
		t.Fatalf("usage at %s: %v", b.Name, err)
	}
	return resp
}

// Any board tells what the tasks of all use, also of those that are gone.
func TestAnyBoardTellsWhatTasksUse(t *testing.T) {
	formed(t, 4, 11, func(t *testing.T, f *clustertest.Fleet) {
		create(t, f.Boards[0], "web", 4)
		create(t, f.Boards[0], "db", 1)
		f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 4))
		f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "db", 1))
		for _, b := range f.Boards {
			all := usage(t, b, api.UsageRequest{})
			if len(all.Tasks) != 5 || len(all.Silent) != 0 || all.Tasks[0].ServiceName != "db" || all.Tasks[4].Slot != 4 {
				t.Errorf("%s tells of %+v", b.Name, all)
			}
			for _, u := range all.Tasks {
				if u.Usage == nil || u.Usage.Memory != 1<<20 || u.NodeName == "" || f.Running(u.ServiceName)[u.ID] != u.NodeID {
					t.Errorf("%s tells %+v", b.Name, u)
				}
			}
			if some := usage(t, b, api.UsageRequest{Of: []string{"db", "web.2", "db.1"}}); len(some.Tasks) != 2 || some.Tasks[1].Slot != 2 {
				t.Errorf("%s tells of db and web.2: %+v", b.Name, some.Tasks)
			}
		}
		before := usage(t, f.Boards[0], api.UsageRequest{Of: []string{"db"}}).Tasks[0].Usage
		f.Pass(5 * time.Second)
		after := usage(t, f.Boards[0], api.UsageRequest{Of: []string{"db"}}).Tasks[0].Usage
		if percent, known := api.CPUPercent(*before, *after); !known || percent < 9.9 || percent > 10.1 {
			t.Errorf("%v %% of a core, %v", percent, known)
		}
		if _, err := f.Boards[1].Board().Usage(soon(t), &api.UsageRequest{Of: []string{"nope"}}); api.KindOf(err) != api.NotFound {
			t.Errorf("usage of nothing: %v", err)
		}
		if down := f.Boards[3].Containers.Containers(); len(down) == 0 {
			t.Fatal("nothing runs on board4")
		}
		f.Boards[3].Containers.SetDown(true) // its containers go on, but can't be asked
		if resp := usage(t, f.Boards[0], api.UsageRequest{All: true}); len(resp.Tasks) != 5 {
			t.Errorf("with all: %+v", resp)
		}
		f.Boards[3].Containers.SetDown(false)
	})
}

// A board that is gone is named, whether the leader has noticed or not, and
// holds nobody up for long. Without a leader the boards that are left tell.
func TestUsageNamesSilentBoards(t *testing.T) {
	formed(t, 3, 12, func(t *testing.T, f *clustertest.Fleet) {
		create(t, f.Boards[0], "web", 3)
		f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 3))
		asked, gone := f.Boards[0], f.Others(f.Boards[0], f.Leader())[0]
		if f.Leader() == asked {
			asked = f.Others(asked, gone)[0]
		}
		silent := func(what string, boards int) {
			t.Helper()
			began := time.Now()
			resp := usage(t, asked, api.UsageRequest{})
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("%s: the answer took %v", what, took)
			}
			for _, u := range resp.Tasks {
				if u.NodeName == gone.Name {
					t.Errorf("%s: %+v", what, u)
				}
			}
			if len(resp.Silent) != boards || resp.Silent[0].NodeName == "" || resp.Silent[0].Err == "" {
				t.Errorf("%s: silent are %+v", what, resp.Silent)
			}
		}
		name := gone.Name
		gone.Cut()
		silent("a board has just gone", 1)
		f.Within(20*time.Second, name+" down", func() error {
			return f.Converged(asked, "web", 3)()
		})
		silent("a board is down", 1)
		for _, b := range f.Others(asked) {
			b.Cut()
		}
		f.Pass(10 * time.Second)
		silent("without a leader", 2)
	})
}

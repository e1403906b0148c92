package clustertest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

func volume(source string) func(*api.ServiceSpec) {
	return func(s *api.ServiceSpec) {
		s.TaskTemplate.ContainerSpec.Mounts = []api.Mount{{Type: api.MountVolume, Source: source, Target: "/data"}}
	}
}

// holders waits until the boards that hold a volume are known, and names them.
func holders(t *testing.T, f *clustertest.Fleet, at *clustertest.Board, name string, n int) []api.Volume {
	t.Helper()
	var found []api.Volume
	f.Within(20*time.Second, fmt.Sprintf("%d boards hold %s", n, name), func() error {
		resp, err := at.Board().Volumes(soon(t), &api.VolumesRequest{Names: []string{name}, Detail: true})
		if err == nil && len(resp.Volumes) != n {
			err = fmt.Errorf("%+v", resp.Volumes)
		}
		if err == nil {
			found = resp.Volumes
		}
		return err
	})
	return found
}

func avail(t *testing.T, at, b *clustertest.Board, a api.Availability) {
	t.Helper()
	if _, err := at.Control().UpdateNode(soon(t), &api.UpdateNodeRequest{RequestID: api.NewID[api.RequestID](), Node: b.Name, Availability: &a}); err != nil {
		t.Fatal(err)
	}
}

// TestATaskStaysWithItsData: a task goes back to the board that holds its
// volume, however full that is, and leaves it only if that is drained or down.
func TestATaskStaysWithItsData(t *testing.T) {
	formed(t, 4, 13, func(t *testing.T, f *clustertest.Fleet) {
		at := f.Boards[0]
		create(t, at, "db", 1, volume("data"))
		f.Within(20*time.Second, "running", f.Converged(at, "db", 1))
		held := holders(t, f, at, "data", 1)[0]
		if held.Here == nil || !strings.HasSuffix(held.Here.Mountpoint, "/volumes/data") || len(held.Here.Tasks) != 1 || len(held.Services) != 1 || held.Services[0] != "db" {
			t.Errorf("the volume is %+v", held)
		}
		var home *clustertest.Board
		for _, b := range f.Boards {
			if b.ID() == held.NodeID {
				home = b
			}
		}
		if home == at || home == f.Leader() {
			at = f.Others(home)[0]
		}
		create(t, at, "crowd", 6, func(s *api.ServiceSpec) {
			s.TaskTemplate.Placement = &api.Placement{Constraints: []string{"node.hostname==" + home.Name}}
		})
		f.Within(20*time.Second, "crowded", f.Converged(at, "crowd", 6))
		where := func() *clustertest.Board {
			for _, node := range f.Running("db") {
				for _, b := range f.Boards {
					if b.ID() == node {
						return b
					}
				}
			}
			return nil
		}
		for range 3 {
			change(t, at, "db", scale(0))
			f.Within(30*time.Second, "scaled down", f.Converged(at, "db", 0))
			change(t, at, "db", scale(1))
			f.Within(30*time.Second, "scaled up", f.Converged(at, "db", 1))
			if where() != home {
				t.Fatalf("it runs on %s, and its data is on %s", where().Name, home.Name)
			}
		}
		f.Pass(20 * time.Second)
		before := f.Files()
		if f.Pass(time.Minute); f.Files() != before {
			t.Error("an idle fleet with a volume wrote something")
		}

		avail(t, at, home, api.AvailabilityDrain)
		f.Within(30*time.Second, "moved away", func() error {
			if now := where(); now == nil || now == home {
				return fmt.Errorf("it runs on %v", now)
			}
			return f.Converged(at, "db", 1)()
		})
		if both := holders(t, f, at, "data", 2); both[0].NodeID == both[1].NodeID {
			t.Errorf("%+v", both)
		}
		away := where()
		avail(t, at, home, api.AvailabilityActive)
		f.Pass(20 * time.Second)
		if where() != away {
			t.Error("it moved back by itself")
		}
	})
}

// TestAVolumeIsRemoved only if nothing uses it, and from one board.
func TestAVolumeIsRemoved(t *testing.T) {
	formed(t, 3, 14, func(t *testing.T, f *clustertest.Fleet) {
		at := f.Boards[0]
		create(t, at, "db", 3, volume("data"))
		create(t, at, "one", 1, volume("own-{{.Task.Slot}}"))
		f.Within(20*time.Second, "running", f.Converged(at, "db", 3))
		f.Within(20*time.Second, "running", f.Converged(at, "one", 1))
		all := holders(t, f, at, "data", 3)
		own := holders(t, f, at, "own-1", 1)[0]
		if len(own.Services) != 1 || own.Services[0] != "one" {
			t.Errorf("a volume of a template is %+v", own)
		}
		remove := func(r api.RemoveVolumeRequest) error {
			_, err := at.Board().RemoveVolume(soon(t), &r)
			return err
		}
		refused := func(what string, r api.RemoveVolumeRequest, kind api.Kind, words ...string) {
			t.Helper()
			err := remove(r)
			if api.KindOf(err) != kind {
				t.Errorf("%s: %v", what, err)
				return
			}
			for _, w := range words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s: %v does not say %q", what, err, w)
				}
			}
		}
		for i, v := range all { // whoever is asked, and wherever it is
			at = f.Boards[i]
			refused("no such volume", api.RemoveVolumeRequest{Volume: "nope"}, api.NotFound, "volume ls")
			refused("three of a name", api.RemoveVolumeRequest{Volume: "data"}, api.Conflict, "board1", "board2", "board3", "--node")
			refused("not there", api.RemoveVolumeRequest{Volume: "own-1", Node: "board9"}, api.NotFound, own.NodeName)
			refused("named by a service", api.RemoveVolumeRequest{Volume: "data", Node: v.NodeName}, api.Conflict, "db", "--force")
			refused("used by a task", api.RemoveVolumeRequest{Volume: "data", Node: v.NodeName, Force: true}, api.Conflict, "db.")
			refused("used by a task", api.RemoveVolumeRequest{Volume: "own-1", Force: true}, api.Conflict, "one.1")
		}
		change(t, at, "db", scale(0))
		f.Within(30*time.Second, "scaled down", f.Converged(at, "db", 0))
		f.Pass(5 * time.Second)
		refused("named by a service without tasks", api.RemoveVolumeRequest{Volume: "data", Node: "board2"}, api.Conflict, "db")
		if err := remove(api.RemoveVolumeRequest{Volume: "data", Node: "board2", Force: true}); err != nil {
			t.Fatal(err)
		}
		holders(t, f, at, "data", 2)
		gone := f.Others(f.Leader(), at)[0]
		if gone.Name == "board2" {
			return // it has none any more
		}
		gone.Cut()
		f.Within(20*time.Second, "down", func() error {
			resp, err := at.Control().GetNode(soon(t), &api.GetNodeRequest{Node: gone.Name})
			if err == nil && resp.Node.Status.State != api.NodeDown {
				err = fmt.Errorf("%s", resp.Node.Status.State)
			}
			return err
		})
		refused("on a board that is down", api.RemoveVolumeRequest{Volume: "data", Node: gone.Name, Force: true}, api.Unavailable, gone.Name, "down")
		if left := holders(t, f, at, "data", 2); left[0].Here == nil && left[1].Here == nil {
			t.Errorf("the board that is up says nothing: %+v", left)
		}
	})
}

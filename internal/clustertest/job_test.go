package clustertest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
	"github.com/edgeswarm/edgeswarm/runtime/sim"
)

// job makes tasks that end by themselves after a while.
func job(mode api.ServiceMode, lasts time.Duration) func(*api.ServiceSpec) {
	return func(s *api.ServiceSpec) {
		s.Mode = mode
		s.TaskTemplate.RestartPolicy = &api.RestartPolicy{Condition: api.RestartOnFailure}
		s.TaskTemplate.ContainerSpec.Command = sim.Program("sleep "+lasts.String(), "exit 0")
	}
}

// begun counts the processes that were started on all boards, whatever the
// fleet says of them.
func begun(f *clustertest.Fleet) (n int) {
	for _, b := range f.Boards {
		for _, e := range b.Containers.Journal() {
			if e.Op == sim.OpStart {
				n++
			}
		}
	}
	return n
}

// completed checks that so many tasks of a job have completed.
func completed(t *testing.T, at *clustertest.Board, name string, n int) func() error {
	return func() error {
		resp, err := at.Control().ListTasks(soon(t), &api.ListTasksRequest{Service: name})
		if err != nil {
			return err
		}
		done := 0
		for _, task := range resp.Tasks {
			if task.Status.State == api.TaskComplete {
				done++
			}
		}
		if done != n {
			return fmt.Errorf("%d of %d have completed", done, n)
		}
		return nil
	}
}

// TestAGlobalJobRunsOnceOnEveryBoard: what completed is not run again when its
// leader dies, its edged starts anew, its board loses power or is drained; a
// board that comes later has its turn, and by force all run once more.
func TestAGlobalJobRunsOnceOnEveryBoard(t *testing.T) {
	inBubble(t, 4, 31, func(t *testing.T, f *clustertest.Fleet) {
		first := f.Boards[:3]
		for _, b := range first {
			b.Start()
		}
		f.Within(30*time.Second, "formed", f.Formed(3, first...))
		at := first[0]
		create(t, at, "once", 0, job(api.ServiceMode{GlobalJob: &api.GlobalJob{}}, 3*time.Second))
		f.Within(30*time.Second, "complete", completed(t, at, "once", 3))
		if n := begun(f); n != 3 {
			t.Fatalf("%d tasks began on 3 boards", n)
		}
		leader := f.Leader(first...)
		leader.Kill()
		f.Pass(10 * time.Second)
		leader.Start()
		f.Within(time.Minute, "formed again", f.Formed(3, first...))
		for _, b := range first {
			b.Reboot()
			f.Within(time.Minute, "formed again", f.Formed(3, first...))
			avail(t, at, b, api.AvailabilityDrain)
			f.Pass(5 * time.Second)
			avail(t, at, b, api.AvailabilityActive)
			f.Pass(5 * time.Second)
		}
		if n := begun(f); n != 3 {
			t.Fatalf("%d tasks began on 3 boards, each of which had completed its own", n)
		}
		f.Boards[3].Start()
		f.Within(time.Minute, "complete on the board that came later", completed(t, at, "once", 4))
		if n := begun(f); n != 4 {
			t.Fatalf("%d tasks began on 4 boards", n)
		}
		change(t, at, "once", api.ServicePatch{Force: true})
		f.Within(time.Minute, "run once more", func() error {
			if n := begun(f); n != 8 {
				return fmt.Errorf("%d tasks began on 4 boards in two runs", n)
			}
			return nil
		})
	})
}

// TestAReplicatedJobRunsAFewAtATime: no more at once than may, and each slot
// once, with a leader that dies in its middle.
func TestAReplicatedJobRunsAFewAtATime(t *testing.T) {
	formed(t, 3, 32, func(t *testing.T, f *clustertest.Fleet) {
		at := f.Boards[0]
		mode := api.ServiceMode{ReplicatedJob: &api.ReplicatedJob{TotalCompletions: new(uint64(8)), MaxConcurrent: new(uint64(2))}}
		create(t, at, "few", 0, job(mode, 4*time.Second))
		most := 0
		within := func(what string, holds func() error) {
			f.Within(2*time.Minute, what, func() error {
				most = max(most, len(f.Running("few")))
				return holds()
			})
		}
		for _, done := range []int{2, 4} {
			within("some have completed", completed(t, at, "few", done))
			leader := f.Leader()
			if leader == at {
				continue
			}
			leader.Kill()
			f.Pass(2 * time.Second)
			leader.Start()
		}
		at = f.Boards[0]
		within("complete", completed(t, at, "few", 8))
		if n := begun(f); n != 8 || most != 2 {
			t.Errorf("%d tasks began for 8, %d at once and not 2", n, most)
		}
	})
}

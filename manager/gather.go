package manager

import (
	"context"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// How long reports wait for each other before planners see them. Nothing is
// lost by it: what is not committed the agents say again to a successor, and
// reads see it at once.
const (
	// gatherQuiet is how long after a report no other has come when a pass
	// begins, and gatherLast how long after the first it begins at the latest.
	gatherQuiet = 100 * time.Millisecond
	gatherLast  = 500 * time.Millisecond
	// gatherWave is the longest that tasks of an update's wave wait for the
	// others to come as far, so that each step of the wave is one commit.
	gatherWave = 2 * time.Second
)

// gather waits for the reports that come with the first, as patience says,
// unless somebody wants something new.
func gather(ctx context.Context, heard, changed <-chan struct{}, patience func() (quiet, last time.Duration)) {
	for began := time.Now(); ; {
		quiet, last := patience()
		pause := min(quiet, last-time.Since(began))
		if pause <= 0 {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-heard:
			timer.Stop()
			continue
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		return
	}
}

// waveExpects reports whether tasks of an update's wave, in a view with the
// reports laid over it, have yet to come where the reported ones have come: to
// be ready, so that others may end, to their end, so that others may begin, or to
// run.
func waveExpects(v *store.View, reported []api.Object) bool {
	var ready, ends, starts bool
	services := map[api.ServiceID]bool{}
	for _, obj := range reported {
		task := obj.(*api.Task)
		services[task.ServiceID] = true
		ready = ready || task.Status.State == api.TaskReady
		ends = ends || task.Over()
		starts = starts || task.Status.State == api.TaskRunning
	}
	for id := range services {
		service := v.Service(id)
		if service == nil || service.Rollout == nil {
			continue
		}
		for _, id := range service.Rollout.Tasks {
			task := v.Task(id)
			if task == nil || !task.Live() || !reachable(v, task.NodeID) {
				continue
			}
			before := v.Task(task.Replaces)
			switch task.DesiredState {
			case api.TaskReady:
				if ready && task.Status.State.Before(api.TaskReady) {
					return true
				}
				if ends && before != nil && !before.Over() && reachable(v, before.NodeID) {
					return true
				}
			case api.TaskRunning:
				if starts && task.Status.State.Before(api.TaskRunning) {
					return true
				}
			}
		}
	}
	return false
}

func reachable(v *store.View, id api.NodeID) bool {
	node := v.Node(id)
	return node != nil && node.Status.State == api.NodeReady
}

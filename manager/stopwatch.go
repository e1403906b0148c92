package manager

import (
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/orchestrator"
)

// stopwatches measure how long planners have wanted to wait for something, by
// this board's monotonic clock, since it was first wanted in this term. What is
// stored are durations and never instants, because a successor's wall clock may
// say 1970: it waits anew, no less than was asked.
type stopwatches struct {
	running map[orchestrator.TimerKey]stopwatch
	now     func() time.Time
}

// stopwatch is one of them, and what it was last wanted for.
type stopwatch struct {
	began time.Time
	timer orchestrator.Timer
}

func newStopwatches() *stopwatches {
	return &stopwatches{running: map[orchestrator.TimerKey]stopwatch{}, now: time.Now}
}

// elapsed implements orchestrator.Input.Elapsed.
func (s *stopwatches) elapsed(key orchestrator.TimerKey) (time.Duration, bool) {
	w, running := s.running[key]
	if !running {
		return 0, false
	}
	return s.now().Sub(w.began), true
}

// keep starts the watches that are newly wanted by the services that were
// planned, nil for all, and drops those of theirs that no longer are.
func (s *stopwatches) keep(planned map[api.ServiceID]bool, wanted []orchestrator.Timer) {
	now := s.now()
	kept := make(map[orchestrator.TimerKey]stopwatch, len(s.running))
	for key, w := range s.running {
		if planned != nil && !planned[key.Service] {
			kept[key] = w
		}
	}
	for _, timer := range wanted {
		w, running := s.running[timer.Key]
		if !running {
			w.began = now
		}
		w.timer = timer
		kept[timer.Key] = w
	}
	s.running = kept
}

// left is how long the watch has yet to run; false if nothing comes of it by
// itself any more.
func (w stopwatch) left(now time.Time) (time.Duration, bool) {
	return max(0, w.timer.After-now.Sub(w.began)), !w.timer.Over
}

// next tells how long it is until the first is due; false if none is.
func (s *stopwatches) next() (next time.Duration, any bool) {
	now := s.now()
	for _, w := range s.running {
		if left, counts := w.left(now); counts && (!any || left < next) {
			next, any = left, true
		}
	}
	return next, any
}

// due adds the services that have one whose time has passed.
func (s *stopwatches) due(services map[api.ServiceID]bool) {
	now := s.now()
	for key, w := range s.running {
		if left, counts := w.left(now); counts && left == 0 {
			services[key.Service] = true
		}
	}
}

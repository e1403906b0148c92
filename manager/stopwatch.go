package manager

import (
	"time"

	"github.com/edgeswarm/edgeswarm/manager/orchestrator"
)

// stopwatches measure how long planners have wanted to wait for something, by
// this board's monotonic clock, since it was first wanted in this term. What is
// stored are durations and never instants, because a successor's wall clock may
// say 1970: it waits anew, no less than was asked.
type stopwatches struct {
	since map[orchestrator.TimerKey]time.Time
	now   func() time.Time
}

func newStopwatches() *stopwatches {
	return &stopwatches{since: map[orchestrator.TimerKey]time.Time{}, now: time.Now}
}

// elapsed implements orchestrator.Input.Elapsed.
func (s *stopwatches) elapsed(key orchestrator.TimerKey) (time.Duration, bool) {
	began, running := s.since[key]
	if !running {
		return 0, false
	}
	return s.now().Sub(began), true
}

// keep starts the watches that are newly wanted, drops those that no longer
// are, and tells how long it is until the first is due; false if none is.
func (s *stopwatches) keep(wanted []orchestrator.Timer) (next time.Duration, any bool) {
	now := s.now()
	kept := make(map[orchestrator.TimerKey]time.Time, len(wanted))
	for _, timer := range wanted {
		began, running := s.since[timer.Key]
		if !running {
			began = now
		}
		kept[timer.Key] = began
		if timer.Over {
			continue // nothing comes of it by itself any more
		}
		left := max(0, timer.After-now.Sub(began))
		if !any || left < next {
			next, any = left, true
		}
	}
	s.since = kept
	return next, any
}

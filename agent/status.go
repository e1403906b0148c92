package agent

import (
	"context"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// save puts the record on disk, however long that takes.
func (w *worker) save(ctx context.Context) {
	w.tidy(ctx, "remember progress", func(context.Context) error { return w.trySave() })
}

func (w *worker) trySave() error {
	w.rec.Streak, w.rec.Restarts = w.hist.streak, len(w.hist.restarts)
	return w.a.disk.saveRecord(w.id, w.rec)
}

// publish makes a status of the present attempt the task's latest.
func (w *worker) publish(s api.TaskStatus, urgent bool) { w.tell(w.complete(s), urgent) }

// complete fills in what is the same for all statuses of an attempt.
func (w *worker) complete(s api.TaskStatus) api.TaskStatus {
	s.Attempt, s.Timestamp = w.rec.Attempt, w.a.cfg.Now()
	s.RecentFailures = w.recentFailures(time.Now())
	if w.held != 0 && w.held == w.rec.Attempt {
		s.ContainerID = runtime.ContainerID(w.id, w.held)
	}
	return s
}

// recentFailures counts the attempts that failed lately, as far as this process
// has seen them.
func (w *worker) recentFailures(now time.Time) int {
	w.failedAt = slices.DeleteFunc(w.failedAt, func(at time.Time) bool { return now.Sub(at) > api.RecentFailurePeriod })
	return len(w.failedAt)
}

func (w *worker) tell(s api.TaskStatus, urgent bool) {
	if !w.a.outbox.put(w.id, s, urgent) {
		w.a.log.Warn("task would have gone back to an earlier state", "task", w.id, "state", s.State, "attempt", s.Attempt)
	}
}

// note changes what the task's latest status says in words. A task that nothing
// was said of yet is told as it is only if it is new: of another the leader
// knows more.
func (w *worker) note(message string) {
	s, ok := w.a.outbox.get(w.id)
	switch {
	case !ok && !w.fresh, ok && s.Message == message:
		return
	case !ok:
		s = api.TaskStatus{State: api.TaskAssigned, Timestamp: w.a.cfg.Now()}
	}
	s.Message = message
	w.a.outbox.put(w.id, s, false)
}

package manager

import (
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Reports that decide nothing are committed once none has come for settleQuiet,
// or settleLast after the first: a wave of tasks that start one by one is one
// commit and not many.
const (
	settleQuiet = time.Second
	settleLast  = 5 * time.Second
)

// hold tells how long reports that decide nothing may still wait to be
// committed. The zero hold has none.
type hold struct {
	reports     []report
	first, last time.Time
}

// report is what tells one status of a task from another.
type report struct {
	task    string
	state   api.TaskState
	attempt int
}

// note takes in what waits now.
func (h *hold) note(tasks []api.Object) {
	reports := make([]report, 0, len(tasks))
	for _, obj := range tasks {
		status := obj.(*api.Task).Status
		reports = append(reports, report{obj.Key(), status.State, status.Attempt})
	}
	if slices.Equal(reports, h.reports) {
		return
	}
	h.reports, h.last = reports, time.Now()
	if h.first.IsZero() {
		h.first = h.last
	}
}

// left is how long they may wait yet.
func (h *hold) left() time.Duration {
	return max(0, min(settleQuiet-time.Since(h.last), settleLast-time.Since(h.first)))
}

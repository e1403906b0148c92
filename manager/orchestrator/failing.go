package orchestrator

import (
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/scheduler"
)

// minStay is how long a task stays on the first node that it was moved to, though
// it keeps failing there too; maxStay bounds the doubling from node to node, so
// that one that fails everywhere costs a few commits an hour.
const (
	minStay = time.Minute
	maxStay = time.Hour
)

// failing reports whether a task failed so often lately that its node counts as
// faulty for it, and waits there for its next attempt. A global one belongs
// nowhere else.
func (p *pass) failing(s *slot, t *api.Task) bool {
	return t.Slot != 0 && t.DesiredState == api.TaskRunning && t.Status.State == api.TaskFailed && t.Status.Faulty(p.v.Time) &&
		t.Status.Timestamp.Sub(t.CreatedAt) >= stay(t.Failures) && s.predecessor(t) == nil && !p.unfinished(s, t, "")
}

func stay(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	d := minStay
	for range failures - 1 {
		if d *= 2; d >= maxStay {
			return maxStay
		}
	}
	return d
}

// moveAway has a task that keeps failing tried on another node, if there is a
// better one; it goes on where it is until all is fetched there.
func (p *pass) moveAway(s *slot, t *api.Task) {
	made := func(next *api.Task) {
		next.Spec, next.SpecVersion, next.Ports = p.s.Spec.TaskTemplate, p.s.SpecVersion, specPorts(p.s.Spec.EndpointSpec)
		p.asIs(next, t)
		next.Failures = t.Failures + 1
	}
	candidate := *t
	made(&candidate)
	to, better := scheduler.Elsewhere(p.v.With(p.moved, nil), &candidate)
	if !better {
		return
	}
	next := p.succeed(s, t, false, func(next *api.Task) {
		made(next)
		next.Preferred = to
	})
	there := *next
	there.NodeID, there.Status.State = to, api.TaskAssigned
	p.moved = append(p.moved, &there)
}

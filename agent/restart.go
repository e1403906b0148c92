package agent

import (
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	// maxBackoff bounds the wait of a task that fails over and over; a policy
	// that asks for more gets it.
	maxBackoff = 5 * time.Minute
	// settled is how long an attempt must have run for its failure to begin a
	// new streak; Docker's rule for containers.
	settled = 10 * time.Second
)

// policy is an api.RestartPolicy with its defaults filled in.
type policy struct {
	condition api.RestartCondition
	delay     time.Duration
	most      int // 0 is without limit
	window    time.Duration
}

func policyOf(p *api.RestartPolicy) policy {
	full := p.OrDefault()
	return policy{
		condition: full.Condition, delay: max(0, *full.Delay),
		most: int(min(*full.MaxAttempts, 1<<30)), window: *full.Window,
	}
}

// history is what a policy goes by.
type history struct {
	// restarts that count against most, oldest first. They are instants of this
	// process's stopwatch; those of a former process count as of its start.
	restarts []time.Time
	// streak counts failures that came one soon after the other.
	streak int
}

// next decides what follows an end: after how long another attempt begins, or
// that none does.
func (p policy) next(h *history, failed bool, ran time.Duration, now time.Time) (delay time.Duration, again bool) {
	switch {
	case p.condition == api.RestartNone, p.condition == api.RestartOnFailure && !failed:
		return 0, false
	case p.most > 0:
		return p.bounded(h, now)
	case !failed || ran >= settled:
		h.streak = 0
	}
	if failed {
		h.streak++
	}
	return p.backoff(h.streak), true
}

// bounded counts restarts, within the window if there is one. The delay does
// not grow: it would carry the restarts out of the window.
func (p policy) bounded(h *history, now time.Time) (time.Duration, bool) {
	if p.window > 0 {
		for len(h.restarts) > 0 && now.Sub(h.restarts[0]) > p.window {
			h.restarts = h.restarts[1:]
		}
	}
	if len(h.restarts) >= p.most {
		return 0, false
	}
	h.restarts = append(h.restarts, now)
	return p.delay, true
}

// backoff is the policy's delay for the first failure of a streak, and doubles
// with each further one.
func (p policy) backoff(streak int) time.Duration {
	if streak <= 1 {
		return p.delay
	}
	limit, d := max(p.delay, maxBackoff), max(p.delay, time.Second)
	for range streak - 1 {
		if d *= 2; d >= limit {
			return limit
		}
	}
	return d
}

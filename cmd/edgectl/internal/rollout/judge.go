package rollout

import (
	"fmt"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
)

// Verdict is what one moment means for those who wait.
type Verdict int

// Verdicts.
const (
	// Stale: the moment is older than the change that is waited for.
	Stale Verdict = iota
	// Waiting: there is more to come.
	Waiting
	// Settled: all that is wanted runs, but nobody has yet watched it stay up.
	Settled
	// Done: all that is wanted runs, and an update has watched it stay up.
	Done
)

// Judge decides when a change has come to its end.
type Judge struct {
	// Since is the service right after the change: older moments don't count,
	// and how an earlier update ended is not news.
	Since *api.Service
	// Rollback says that the change was a wish to return to the previous spec.
	Rollback bool

	rolling bool
}

// Judge weighs one moment. The error says that the change came to a bad end,
// and what to do.
func (j *Judge) Judge(p *api.ServiceProgress) (Verdict, error) {
	s := p.Service
	if s == nil || s.PendingDelete {
		return Done, fmt.Errorf("service %s was removed meanwhile", j.Since.Spec.Name)
	}
	if s.Version.Index < j.Since.Version.Index {
		return Stale, nil
	}
	if s.Rollout != nil && !sameEnd(s.Rollout, j.Since.Rollout) {
		if v, err := j.rollout(s); err != nil || v == Waiting {
			return v, err
		}
	}
	switch {
	case s.Spec.Mode.Job():
		return j.job(p)
	case !p.Converged:
		return Waiting, nil
	case j.rolling:
		return Done, nil
	default:
		return Settled, nil
	}
}

// job weighs how far a job has come: it is done when nothing is left to run.
func (j *Judge) job(p *api.ServiceProgress) (Verdict, error) {
	if !p.Converged {
		return Waiting, nil
	}
	name := p.Service.Spec.Name
	count := p.Service.CountJob(slices.Values(p.Tasks), func(*api.Task) bool { return false })
	if count.Failed > 0 {
		return Done, fmt.Errorf("job %s failed: %d of %d tasks failed and are not tried again; see edgectl service ps %s, then run it anew with edgectl service update --force %s", name, count.Failed, count.Total, name, name)
	}
	return Done, nil
}

// rollout weighs where an update stands that began with, or after, the change.
func (j *Judge) rollout(s *api.Service) (Verdict, error) {
	name := s.Spec.Name
	switch s.Rollout.State {
	case api.UpdateUpdating, api.UpdateRollbackStarted:
		j.rolling = true
		return Waiting, nil
	case api.UpdatePaused:
		if s.Rollout.Rebalance {
			return Done, fmt.Errorf("rebalance of service %s paused: %s; see edgectl service ps %s, then rebalance it again", name, message(s), name)
		}
		return Done, fmt.Errorf("update of service %s paused: %s; see edgectl service ps %s, then update it again, or go back with edgectl service rollback %s", name, message(s), name, name)
	case api.UpdateRollbackPaused:
		return Done, fmt.Errorf("rollback of service %s paused: %s; see edgectl service ps %s, then update it again", name, message(s), name)
	case api.UpdateRollbackCompleted:
		if !j.Rollback {
			return Done, fmt.Errorf("service %s rolled back: %s; see edgectl service ps %s for what failed", name, message(s), name)
		}
	}
	j.rolling = true // it ended before the first look
	return Settled, nil
}

func message(s *api.Service) string {
	if s.UpdateStatus == nil || s.UpdateStatus.Message == "" {
		return fmt.Sprintf("%d of %d tasks failed", s.Rollout.Failed, s.Rollout.Total)
	}
	return s.UpdateStatus.Message
}

// sameEnd reports whether an update had already ended so before the change.
func sameEnd(now, then *api.Rollout) bool {
	if then == nil || now.Target != then.Target || now.State != then.State {
		return false
	}
	return now.State != api.UpdateUpdating && now.State != api.UpdateRollbackStarted
}

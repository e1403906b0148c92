package term

import (
	"context"
	"errors"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/store"
)

// mostTries is how often a decision is made anew because the state changed
// under it. Only a fleet that is written to without pause gets there.
const mostTries = 10

// Update commits what decide puts and deletes. Where something that was decided
// upon has changed meanwhile it decides again, on what is then; so decide may be
// called several times, and its error is final. Errors of the log become those
// of the wire: NotLeader and Unavailable, after which a retry with the same
// request is safe.
func Update(ctx context.Context, w *store.Writer, how store.Op, decide func(*store.Tx) error) (store.Result, error) {
	for try := 1; ; try++ {
		final := false
		result, err := w.Update(ctx, how, func(tx *store.Tx) error {
			err := decide(tx)
			final = err != nil
			return err
		})
		if err != nil && !final && try < mostTries && api.KindOf(err) == api.Conflict {
			continue
		}
		return result, onTheWire(err)
	}
}

func onTheWire(err error) error {
	switch {
	case errors.Is(err, consensus.ErrNotLeader):
		return api.Errorf(api.NotLeader, "", "%w", err)
	case errors.Is(err, consensus.ErrLeadershipLost), errors.Is(err, consensus.ErrBusy), errors.Is(err, consensus.ErrClosed):
		return api.Errorf(api.Unavailable, "", "%w", err)
	case errors.Is(err, consensus.ErrTooLarge):
		return api.Errorf(api.Invalid, "", "%w; ask for less at once", err)
	default:
		return err
	}
}

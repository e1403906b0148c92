package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// insist repeats a step until it succeeds, fails for good, or ctx ends. A
// runtime that does not answer is waited for.
func (w *worker) insist(ctx context.Context, doing string, step func(context.Context) error) error {
	again := backoff{first: 250 * time.Millisecond, most: 10 * time.Second}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := step(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case forGood(err):
			return fmt.Errorf("%s: %w", doing, err)
		case errors.Is(err, runtime.ErrUnavailable):
			w.a.health.missed(err)
			w.note("waits for the container runtime, which does not answer")
			if err := w.a.health.ready(ctx); err != nil {
				return err
			}
			continue
		}
		w.note(fmt.Sprintf("%s: %v; tries again", doing, err))
		if err := pause(ctx, again.next(rand.Float64())); err != nil {
			return err
		}
	}
}

// forGood tells errors that no other try will cure.
func forGood(err error) bool {
	if errors.Is(err, runtime.ErrInvalid) || errors.Is(err, runtime.ErrNotRunning) || errors.Is(err, runtime.ErrNotFound) {
		return true
	}
	return slices.Contains([]api.Kind{api.Invalid, api.NotFound, api.Denied}, api.KindOf(err))
}

// backoff is the wait between tries of what failed: each longer, up to most.
type backoff struct {
	first, most time.Duration
	tries       int
}

// next is how long to wait now. The jitter keeps many that failed together
// from trying together again; it is a number from 0 to 1.
func (b *backoff) next(jitter float64) time.Duration {
	d := b.first
	for range b.tries {
		if d *= 2; d >= b.most {
			d = b.most
			break
		}
	}
	b.tries++
	return d/2 + time.Duration(jitter*float64(d)/2)
}

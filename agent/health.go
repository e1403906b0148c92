package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/runtime"
)

const (
	// askEvery is how often the runtime is asked whether it is there.
	askEvery = 5 * time.Second
	// askAgain is how soon after it was found missing.
	askAgain = time.Second
	// askWithin is how long its answer may take.
	askWithin = 10 * time.Second
	// startsWithin is how long its first answer may be waited for on a board that
	// boots, where it starts together with edged. An emulated board takes half of it.
	startsWithin = 20 * time.Second
)

// health knows whether the container runtime answers. It lets workers wait for
// it, so that its absence is nobody's failure.
type health struct {
	driver  runtime.Driver
	log     *slog.Logger
	changed func()
	suspect ring  // somebody got no answer
	asked   *gate // the first answer, or the first failure to get one when it should be there
	// starts is how long after run began it may still be starting.
	starts time.Duration

	mu       sync.Mutex
	info     string
	err      error
	starting bool          // err is no news: it never answered, and had not long to
	up       chan struct{} // closed while it answers
}

func newHealth(d runtime.Driver, starts time.Duration, log *slog.Logger, changed func()) *health {
	return &health{
		driver: d, starts: starts, log: log, changed: changed, suspect: newRing(), asked: newGate(), up: make(chan struct{}),
		err: errors.New("container runtime was not asked yet"),
	}
}

func (h *health) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var gone <-chan struct{} // closed when a runtime that answered goes away
	var asked time.Time
	begun := time.Now()
	for {
		select {
		case <-gone:
			// It is asked at once, and the answer says why; but at a pace, should
			// there be one that goes as often as it answers.
			gone = nil
			timer.Reset(max(0, askAgain-time.Since(asked)))
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-h.suspect:
			// At a pace, however many call and however often they get no answer.
			timer.Reset(askAgain)
			continue
		case <-timer.C:
		}
		asked = time.Now()
		bounded, cancel := context.WithTimeout(ctx, askWithin)
		info, err := h.driver.Info(bounded)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		starting := err != nil && !h.asked.opened() && time.Since(begun) < h.starts
		h.note(info, err, starting)
		if !starting {
			h.asked.open()
		}
		if err != nil {
			timer.Reset(askAgain)
			continue
		}
		timer.Reset(askEvery)
		if gone == nil {
			gone = h.watch(ctx)
		}
	}
}

// watch closes the channel when the runtime goes away, and never if it can't be
// seen to: then it is asked at its times.
func (h *health) watch(ctx context.Context) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		if h.driver.Gone(ctx) == nil {
			close(gone)
		}
	}()
	return gone
}

func (h *health) note(info runtime.Info, err error, starting bool) {
	h.mu.Lock()
	before, known, started := h.err, h.info, h.starting
	h.err, h.starting = err, starting
	switch {
	case err == nil:
		h.info = fmt.Sprintf("%s %s", info.Name, info.Version)
		if before != nil {
			close(h.up)
		}
	case before == nil:
		h.up = make(chan struct{})
	}
	changed := (err == nil) != (before == nil) || h.info != known || err != nil && (err.Error() != before.Error() || started != starting)
	h.mu.Unlock()
	if !changed {
		return
	}
	switch {
	case starting:
		h.log.Debug("container runtime does not answer yet", "err", err)
	case err != nil:
		h.log.Error("container runtime does not answer", "err", err)
	default:
		h.log.Info("container runtime answers", "runtime", h.info)
	}
	h.changed()
}

// missed is told that a call got no answer.
func (h *health) missed(err error) {
	h.mu.Lock()
	up := h.err == nil
	h.mu.Unlock()
	if up {
		h.note(runtime.Info{}, err, false)
	}
	h.suspect.ring()
}

// ready waits until the runtime answers.
func (h *health) ready(ctx context.Context) error {
	h.mu.Lock()
	up := h.up
	h.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// state names the runtime as it was last seen, and why it does not answer.
func (h *health) state() (info string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.info, h.err
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Events calls each with every event that the request asks for, once and in
// order. With Follow it goes on, across leaders' deaths and the node's
// restarts, behind the last event that each was called with, for as long as
// ctx lasts: once it has begun it waits for a leader without end, and calls
// lost with the reason whenever it begins to wait. It returns an error of kind
// NotFound if the fleet does not keep some of the events any more; gone is
// called if that holds of what Since asks for, with the index up to which.
func (c *Client) Events(ctx context.Context, r api.EventsRequest, gone func(index uint64), lost func(error), each func(api.Event) error) error {
	f := &eventFollower{c: c, req: r, gone: gone, each: each}
	begun, pause, told := time.Now(), firstPause, false
	for {
		progress := f.pages
		err := f.once(ctx)
		if f.pages > progress {
			begun, pause, told = time.Now(), firstPause, false
		}
		var own handled
		switch {
		case errors.As(err, &own):
			return own.error
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF) && !r.Follow:
			return nil
		case !worthRepeating(err):
			return err
		case f.pages == 0:
			if why := c.hopeless(ctx); why != nil {
				return why
			}
			if time.Since(begun) > c.patience {
				return fmt.Errorf("%w (tried for %v)", err, c.patience)
			}
		case !told && time.Since(begun) > patientSilence:
			told = true
			lost(err)
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, lastPause)
	}
}

// patientSilence is how long nothing is said of a break: most are over sooner,
// since a fleet has another leader within seconds.
const patientSilence = 5 * time.Second

// eventFollower is what a follower keeps from one stream to the next.
type eventFollower struct {
	c     *Client
	req   api.EventsRequest
	gone  func(uint64)
	each  func(api.Event) error
	fleet api.FleetID
	pages int
	last  api.Event // the last that each was called with
	any   bool
}

// once follows one stream to its end.
func (f *eventFollower) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a stream that is left must not stay open
	stream, err := f.c.control.WatchEvents(ctx, &f.req)
	if err != nil {
		return err
	}
	for {
		page, err := stream.Recv()
		if err != nil {
			return err
		}
		if f.fleet != "" && page.Fleet != f.fleet {
			return handled{api.Errorf(api.Conflict, "", "this board now belongs to another fleet, %s, whose events are others: begin anew", page.Fleet)}
		}
		if page.Gone > 0 && f.pages == 0 {
			f.gone(page.Gone)
		}
		f.fleet = page.Fleet
		f.pages++
		for _, e := range page.Events {
			if f.any && !e.After(f.last) {
				continue // told before the break
			}
			if err := f.each(e); err != nil {
				return handled{err}
			}
			f.last, f.any = e, true
		}
		f.req.After = &page.Index
	}
}

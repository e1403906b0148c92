package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// ErrStop ends a Watch without an error when each returns it.
var ErrStop = errors.New("stop")

// Watch calls each with a service and its tasks, at once and after every
// change, across leaders' deaths and the node's restarts. It ends when the
// service is gone (after a call with a nil Service), when each returns an error
// (nil for ErrStop), when ctx ends, or when nothing answers for as long as the
// client is patient.
func (c *Client) Watch(ctx context.Context, service string, each func(*api.ServiceProgress) error) error {
	lost := time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		seen, err := c.watchOnce(ctx, service, each)
		var own handled
		switch {
		case errors.Is(err, ErrStop):
			return nil
		case errors.As(err, &own):
			return own.error
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !worthRepeating(err):
			return err
		case seen:
			lost, pause = time.Now(), firstPause
		case time.Since(lost) > c.patience:
			return fmt.Errorf("%w (tried for %v)", err, c.patience)
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// watchOnce follows one stream to its end and reports whether it brought anything.
func (c *Client) watchOnce(ctx context.Context, service string, each func(*api.ServiceProgress) error) (seen bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a stream that is left must not stay open
	stream, err := c.control.WatchService(ctx, &api.GetServiceRequest{Service: service})
	if err != nil {
		return false, err
	}
	for {
		p, err := stream.Recv()
		if err != nil {
			return seen, err
		}
		seen = true
		if err := each(p); err != nil {
			return seen, handled{err}
		}
		if p.Service == nil {
			return seen, ErrStop
		}
	}
}

// handled marks an error of the caller's own, which is never repeated.
type handled struct{ error }

func (h handled) Unwrap() error { return h.error }

// worthRepeating reports whether a watch's end may be followed by another. A
// stream that ends without an error was ended by a leader that left office.
func worthRepeating(err error) bool {
	kind := api.KindOf(err)
	return errors.Is(err, io.EOF) || kind == api.Unavailable || kind == api.NotLeader
}

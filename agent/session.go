package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	// gather is how long statuses that can wait are gathered into one report.
	gather = 150 * time.Millisecond
	// greetWithin is how long a leader may take over its first assignment.
	greetWithin = 10 * time.Second
	// helloWithin is how long the first hello waits for a runtime that is asked,
	// and does not say yes or no.
	helloWithin = 2 * time.Second
	// heartbeatUntilTold is the period before a leader has said another.
	heartbeatUntilTold = time.Second
)

type stream = grpc.BidiStreamingClient[api.Report, api.Assignment]

// session keeps one open with whoever leads. A change of leader shows as an
// end; the next is tried within a tenth of a second.
func (a *Agent) session(ctx context.Context) error {
	// The first hello makes the board ready, and should not be said before the
	// runtime is, nor call one missing that was not asked yet.
	first, cancel := context.WithTimeout(ctx, max(helloWithin, a.health.starts))
	await(first, a.health.asked)
	cancel()
	again := backoff{first: 150 * time.Millisecond, most: 5 * time.Second}
	for {
		greeted, err := a.converse(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.mu.Lock()
		a.standing.Connected, a.standing.Err = false, err
		a.mu.Unlock()
		if greeted {
			again.tries = 0
			a.log.Info("session with the leader ended", "err", err)
		} else {
			a.log.Debug("no session with a leader", "err", err)
		}
		if err := pause(ctx, again.next(rand.Float64())); err != nil {
			return err
		}
	}
}

var errSilent = errors.New("leader has fallen silent")

// converse holds one session. Greeted tells whether an assignment was taken.
func (a *Agent) converse(ctx context.Context) (greeted bool, err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	s, err := a.cfg.Sessions.Open(ctx)
	if err != nil {
		return false, fmt.Errorf("open session: %w", err)
	}
	told := told{description: a.description(), addrs: a.cfg.Addrs()}
	hello := &api.Hello{Description: told.description, Addrs: told.addrs, Have: a.Standing().Have, Level: api.FeatureLevel, Parts: true}
	if err := s.Send(&api.Report{Hello: hello, Tasks: a.outbox.all()}); err != nil {
		return false, fmt.Errorf("say hello: %w", err)
	}
	// Apart from both directions, because a send to a leader that does not
	// read waits as well.
	silence := time.AfterFunc(greetWithin, func() { end(errSilent) })
	defer silence.Stop()
	period := make(chan time.Duration, 1)
	var talk errgroup.Group
	talk.Go(func() error {
		err := a.listen(s, func(assignment *api.Assignment) {
			greeted = greeted || !assignment.More
			if p := assignment.HeartbeatPeriod; p > 0 {
				patience := max(assignment.Lease, 3*p)
				if assignment.More { // the leader sends on, over what may be a slow line
					patience = max(patience, greetWithin)
				}
				silence.Reset(patience)
				select {
				case <-period:
				default:
				}
				period <- p
			}
		})
		end(err)
		return err
	})
	talk.Go(func() error {
		err := a.report(ctx, s, period, told)
		end(err)
		return err
	})
	_ = talk.Wait()
	return greeted, context.Cause(ctx) // the first of the two to end, and why
}

// listen takes in assignments, in order. It is apart from reporting, so that a
// slow disk delays no heartbeat. Taken is told of every part.
func (a *Agent) listen(s stream, taken func(*api.Assignment)) error {
	var parts gathering
	for {
		part, err := s.Recv()
		if err != nil {
			return fmt.Errorf("receive assignment: %w", err)
		}
		assignment, err := parts.add(part)
		if err == nil && assignment != nil {
			err = a.apply(assignment)
		}
		if err != nil {
			return fmt.Errorf("apply assignment: %w", err)
		}
		taken(part)
	}
}

// apply makes the set what the leader says, on disk first: what can't be stored
// is not held, and the next hello says so.
func (a *Agent) apply(assignment *api.Assignment) error {
	if a.cfg.OnTime != nil && !assignment.Time.IsZero() {
		a.cfg.OnTime(assignment.Time)
	}
	a.mu.Lock()
	held := a.set
	a.mu.Unlock()
	c, err := held.apply(assignment)
	if err != nil {
		return err
	}
	if !c.empty(held) {
		if err := a.disk.saveSet(c); err != nil {
			return err
		}
	}
	a.mu.Lock()
	a.set = c.next
	a.standing.Connected, a.standing.Have, a.standing.Err = true, c.next.id, nil
	if assignment.Lease > 0 {
		a.standing.Until = time.Now().Add(assignment.Lease)
	}
	a.mu.Unlock()
	if c.empty(held) {
		return nil
	}
	a.cfg.Network.Learn(c.next.fabric(a.cfg.Node))
	if c.tells() {
		a.tellSet(c.next)
	}
	a.assigned.ring()
	return nil
}

// told is what the leader knows of the board from this session.
type told struct {
	description api.NodeDescription
	addrs       []netip.AddrPort
}

// report sends heartbeats, and what is new.
func (a *Agent) report(ctx context.Context, s stream, periods <-chan time.Duration, told told) error {
	period := heartbeatUntilTold
	beat := time.NewTimer(period)
	defer beat.Stop()
	var gathered <-chan time.Time
	for {
		r := &api.Report{}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-periods:
			if p != period {
				period = p
				beat.Reset(period)
			}
			continue
		case <-a.outbox.news:
			if gathered == nil {
				gathered = time.After(gather)
			}
			continue
		case <-gathered:
			gathered = nil
			r.Tasks = a.outbox.take()
		case <-a.outbox.urgent:
			gathered = nil
			r.Tasks = a.outbox.take()
		case <-a.described:
			told = a.retell(r, told)
		case <-a.cfg.Changed:
			told = a.retell(r, told)
		case <-beat.C:
		}
		if err := s.Send(r); err != nil {
			return fmt.Errorf("send report: %w", err)
		}
		beat.Reset(period)
	}
}

// retell adds to a report what has changed about the board.
func (a *Agent) retell(r *api.Report, before told) told {
	now := told{description: a.description(), addrs: a.cfg.Addrs()}
	if !now.description.Equal(before.description) {
		r.Description = &now.description
	}
	if !slices.Equal(now.addrs, before.addrs) {
		r.Addrs = now.addrs
	}
	return now
}

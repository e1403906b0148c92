package main

import (
	"context"
	"fmt"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/rollout"
)

// change is a write whose effect is waited for.
type change struct {
	service  *api.Service // as the write left it
	rollback bool
	waitFlags
}

// converge shows a change come about, and returns when it has, or has come to
// a bad end. A leader's death on the way is not seen.
func (c *cli) converge(ctx context.Context, node *client.Client, ch change) error {
	if ch.detach {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	moments, watched := make(chan *api.ServiceProgress), make(chan error, 1)
	go func() {
		watched <- node.Watch(ctx, string(ch.service.ID), func(p *api.ServiceProgress) error {
			select {
			case moments <- p:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	err := follow(ctx, c.printer(ch.quiet), ch, moments, watched)
	if err != nil && ctx.Err() != nil {
		name := ch.service.Spec.Name
		err = exitError{exitInterrupted, fmt.Errorf("no longer waiting: the service stays as it is now asked for, and the fleet goes on with it; see edgectl service ps %s", name)}
	}
	cancel()
	return err
}

// follow weighs each moment until the judge is satisfied. What merely settled
// must stay so for the monitor period.
func follow(ctx context.Context, show rollout.Printer, ch change, moments <-chan *api.ServiceProgress, watched <-chan error) error {
	judge := rollout.Judge{Since: ch.service, Rollback: ch.rollback}
	monitor := monitorOf(ch.service)
	stable := time.NewTimer(monitor)
	stable.Stop()
	defer stable.Stop()
	settled := false
	for {
		select {
		case p := <-moments:
			verdict, err := judge.Judge(p)
			if p.Service != nil && verdict != rollout.Stale {
				show.Show(rollout.Look(p))
			}
			switch {
			case err != nil:
				return err
			case verdict == rollout.Done && ch.service.Spec.Mode.Job():
				show.Say("job " + ch.service.Spec.Name + " complete")
				return nil
			case verdict == rollout.Done:
				show.Say("verify: service " + ch.service.Spec.Name + " converged")
				return nil
			case verdict == rollout.Settled && !settled:
				settled = true
				stable.Reset(monitor)
				show.Say(fmt.Sprintf("verify: waiting %v to see that the tasks stay up", monitor))
			case verdict == rollout.Waiting && settled:
				settled = false
				stable.Stop()
				show.Say("verify: not all tasks stayed up")
			}
		case <-stable.C:
			show.Say("verify: service " + ch.service.Spec.Name + " converged")
			return nil
		case err := <-watched:
			if err == nil {
				err = fmt.Errorf("service %s was removed meanwhile", ch.service.Spec.Name)
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func monitorOf(s *api.Service) time.Duration {
	if u := s.Spec.UpdateConfig; u != nil {
		return u.Monitor
	}
	return defaultMonitor
}

// printer is a bar per task on a terminal, lines elsewhere, nothing if quiet.
func (c *cli) printer(quiet bool) rollout.Printer {
	if quiet {
		return silent{}
	}
	if f := terminal(c.out); f != nil {
		return rollout.NewTerminal(f, func() (int, int) { return terminalSize(f) })
	}
	return rollout.NewPlain(c.out)
}

// silent shows nothing.
type silent struct{}

func (silent) Show(rollout.View) {}
func (silent) Say(string)        {}

package agent

import (
	"context"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// vitality turns probes into verdicts, by Docker's rules: a probe that fails
// within the start period counts for nothing until the first that succeeds, and
// so many failures in a row make a task unhealthy. It holds no clock.
type vitality struct {
	check   api.HealthConfig
	healthy bool // a probe has succeeded
	streak  int  // of failures
}

// pause is how long to wait before the next probe, this long after the start.
func (v *vitality) pause(age time.Duration) time.Duration {
	if !v.healthy && age < v.check.StartPeriod {
		return v.check.StartInterval
	}
	return v.check.Interval
}

// note takes in what a probe found that began this long after the start: nil
// is healthy. It reports whether the task is unhealthy now.
func (v *vitality) note(age time.Duration, p error) (unhealthy bool) {
	switch {
	case p == nil:
		v.healthy, v.streak = true, 0
		return false
	case !v.healthy && age < v.check.StartPeriod:
		return false
	}
	v.streak++
	return v.streak >= v.check.Retries
}

// errUnclear is what a probe answers that says nothing of the task: it ended
// meanwhile, or the runtime does not answer.
type errUnclear struct{ error }

func (e errUnclear) Unwrap() error { return e.error }

// observer probes one attempt of a task, one probe after the other, until its
// context ends or the task is unhealthy.
type observer struct {
	vitality vitality
	probe    func(context.Context) error
	// turn waits until the board has room for one more probe.
	turn func(context.Context) (release func(), err error)
	// recovered waits until a probe that was unclear may be repeated.
	recovered func(context.Context) error
	// healthy is called on the first success; ailing on failures before it.
	healthy func()
	ailing  func(error)
}

// run answers what the last probe found of a task that is unhealthy, or nil
// when ctx has ended. No process of a probe is left behind.
func (o *observer) run(ctx context.Context) error {
	began := time.Now()
	for {
		if pause(ctx, o.vitality.pause(time.Since(began))) != nil {
			return nil
		}
		age := time.Since(began)
		p, clear := o.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !clear {
			if o.recovered(ctx) != nil {
				return nil
			}
			continue
		}
		before := o.vitality.healthy
		if o.vitality.note(age, p) {
			return p
		}
		switch {
		case p == nil && !before:
			o.healthy()
		case p != nil && !before:
			o.ailing(p)
		}
	}
}

// once takes one probe; clear is false if it says nothing of the task.
func (o *observer) once(ctx context.Context) (p error, clear bool) {
	release, err := o.turn(ctx)
	if err != nil {
		return nil, false
	}
	defer release()
	bounded, cancel := context.WithTimeout(ctx, o.vitality.check.Timeout)
	defer cancel()
	p = o.probe(bounded)
	if _, unclear := p.(errUnclear); unclear {
		return nil, false
	}
	return p, true
}

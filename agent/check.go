package agent

import (
	"context"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// learnCheck finds out how the container of the present attempt is to be
// probed: by the service's word, the image's and the defaults, in that order.
func (w *worker) learnCheck(ctx context.Context) error {
	own := w.task.Spec.ContainerSpec.Healthcheck
	if own != nil && len(own.Test) > 0 && own.Test[0] == api.HealthNone {
		w.check = nil
		return nil
	}
	return w.insist(ctx, "read health check", func(ctx context.Context) error {
		image, err := w.a.cfg.Driver.Healthcheck(ctx, runtime.ContainerID(w.id, w.rec.Attempt))
		if err != nil {
			return err
		}
		w.check = own.Over(image)
		return nil
	})
}

func (w *worker) isHealthy() bool { return w.rec.Healthy == w.rec.Attempt }

// observe probes the task until it is unhealthy, which it answers with what the
// last probe found, or ctx ends. An attempt that was healthy under a former
// process goes on as such; the start period of another begins anew, since when
// it started is not known here.
func (w *worker) observe(ctx context.Context) error {
	probe, err := w.a.prober(w.check, runtime.ContainerID(w.id, w.rec.Attempt), w.addr)
	if err != nil {
		return err
	}
	o := observer{
		vitality: vitality{check: *w.check, healthy: w.isHealthy()}, probe: probe,
		turn: w.a.probeTurn(w.check), recovered: w.a.probeAgain,
		healthy: w.healthy,
		ailing:  func(why error) { w.note("health check fails: " + why.Error()) },
	}
	return o.run(ctx)
}

// healthy notes the first probe of the attempt that succeeded. If that can't be
// remembered, a restart of edged only means that it is waited for again.
func (w *worker) healthy() {
	w.rec.Healthy = w.rec.Attempt
	w.up()
	w.sayAlive()
	_ = w.trySave()
}

// giveUp stops the unhealthy task, as its end would be asked for.
func (w *worker) giveUp(ctx context.Context, why error) ending {
	end := ending{state: api.TaskFailed, err: "unhealthy: " + why.Error()}
	w.publish(api.TaskStatus{State: api.TaskDraining, PID: w.pid, Message: end.err}, false)
	exit, err := w.stopContainer(ctx)
	if err == nil {
		end.exit = exit
	}
	return end
}

// probeTurn bounds probes that begin a process; the others cost little.
func (a *Agent) probeTurn(check *api.HealthConfig) func(context.Context) (func(), error) {
	if kind := check.Test[0]; kind != api.HealthCommand && kind != api.HealthShell {
		return func(ctx context.Context) (func(), error) { return func() {}, ctx.Err() }
	}
	return func(ctx context.Context) (func(), error) {
		select {
		case a.execs <- struct{}{}:
			return func() { <-a.execs }, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// probeAgain waits before a probe that said nothing of its task is repeated.
func (a *Agent) probeAgain(ctx context.Context) error {
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	return a.health.ready(ctx)
}

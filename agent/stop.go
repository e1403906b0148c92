package agent

import (
	"context"
	"errors"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// stop ends what runs of the task, because it is no longer wanted.
func (w *worker) stop(ctx context.Context) {
	last, said := w.a.outbox.get(w.id)
	if said && last.State.Ended() { // it was waiting for its next attempt
		last.Message = ""
		w.rec.Final = &last
		w.tell(last, false)
		return
	}
	if !said && w.adopted != nil && w.adopted.State == runtime.Exited {
		// It ended by itself, which the leader may have been told before this
		// process began.
		w.finish(w.endOf(*w.adopted.Exit).status(), false)
		return
	}
	if !said && w.held == 0 && w.rec.Attempt > 0 {
		// A former process began the last attempt, and how it ended is not
		// known here; the leader may have been told. So this is not its end.
		w.rec.Attempt++
	}
	s := api.TaskStatus{State: api.TaskShutdown}
	if w.held != 0 {
		if last.State == api.TaskRunning {
			// On a full disk it is not remembered, and the stop is not held up.
			w.rec.Draining = true
			if err := w.a.disk.saveRecord(w.id, w.rec); err != nil {
				w.a.log.Debug("stop not noted", "task", w.id, "err", err)
			}
			w.publish(api.TaskStatus{State: api.TaskDraining, PID: last.PID}, false)
			w.leave(ctx)
		}
		if exit, err := w.stopContainer(ctx); err == nil && exit != nil {
			s.ExitCode = &exit.Code
		}
	}
	if ctx.Err() != nil {
		return
	}
	w.finish(s, false)
}

// leaveTime is how long a task that others are led to goes on serving after it was told to
// end. The leader tells all boards at the same time as this one; once they know,
// no new connection comes.
const leaveTime = time.Second

// leave waits until nobody sends the task new work.
func (w *worker) leave(ctx context.Context) {
	if len(w.task.Addresses) > 0 || w.a.published(w.task.ServiceID) {
		_ = pause(ctx, leaveTime) // what ends it early is seen by the next step
	}
}

// stopContainer answers no exit if the process never was or is gone without a trace.
func (w *worker) stopContainer(ctx context.Context) (exit *runtime.Exit, err error) {
	spec := w.task.Spec.ContainerSpec
	grace := api.DefaultStopGracePeriod
	if spec.StopGracePeriod != nil {
		grace = *spec.StopGracePeriod
	}
	id := runtime.ContainerID(w.id, w.held)
	signal := spec.StopSignal
	err = w.insist(ctx, "stop", func(ctx context.Context) error {
		err := w.a.cfg.Driver.Stop(ctx, id, signal, grace)
		if errors.Is(err, runtime.ErrInvalid) && signal != "" {
			w.a.log.Warn("stop signal is not known: SIGTERM is sent", "task", w.id, "err", err)
			signal = "SIGTERM"
			err = w.a.cfg.Driver.Stop(ctx, id, signal, grace)
		}
		if err != nil {
			return err
		}
		e, err := w.a.cfg.Driver.Wait(ctx, id)
		if err == nil {
			exit = &e
		}
		return err
	})
	if errors.Is(err, runtime.ErrNotFound) || errors.Is(err, runtime.ErrNotRunning) {
		return nil, nil
	}
	return exit, err
}

// vacate gives back all but what was written: the container, the network, the
// claims. How the task ended is on disk by then, unless that is full: then room
// is made first and the rest remembered later.
func (w *worker) vacate(ctx context.Context) {
	w.discard(ctx)
	w.tidy(ctx, "remove secrets", func(context.Context) error { return w.removeFiles() })
	w.tidy(ctx, "detach network", func(ctx context.Context) error { return w.a.cfg.Network.Detach(ctx, w.id) })
	if ctx.Err() != nil {
		return
	}
	w.a.claims.release(w.id)
	if !w.forgotten.opened() {
		w.save(ctx)
	}
}

// discard lets go of the container of the present attempt, or of the one before.
func (w *worker) discard(ctx context.Context) {
	if w.held == 0 {
		return
	}
	w.clear(ctx, w.held)
	if ctx.Err() == nil {
		w.held = 0
	}
}

// clear removes an attempt's container and its FIFOs.
func (w *worker) clear(ctx context.Context, attempt int) {
	id := runtime.ContainerID(w.id, attempt)
	w.tidy(ctx, "remove container", func(ctx context.Context) error { return w.a.cfg.Driver.Remove(ctx, id) })
	w.tidy(ctx, "close logs", func(ctx context.Context) error { return w.a.cfg.Logs.Close(ctx, w.id, attempt) })
}

// tidy insists on a step without which the task can go on if it must.
func (w *worker) tidy(ctx context.Context, doing string, step func(context.Context) error) {
	if err := w.insist(ctx, doing, step); err != nil && ctx.Err() == nil {
		w.a.log.Error("task leaves something behind", "task", w.id, "err", err)
	}
}

// forget removes the last of the task, and its memory once the leader has
// taken it from the set.
func (w *worker) forget(ctx context.Context) {
	w.tidy(ctx, "remove logs", func(ctx context.Context) error { return w.a.cfg.Logs.Remove(ctx, w.id) })
	w.tidy(ctx, "remove volume", func(context.Context) error { return w.removeScratch() })
	if ctx.Err() != nil {
		return
	}
	w.finish(api.TaskStatus{State: api.TaskRemoved}, false)
	if !w.absent.opened() {
		w.save(ctx)
	}
	if !await(ctx, w.absent) {
		return
	}
	if w.insist(ctx, "forget", func(context.Context) error { return w.a.disk.dropRecord(w.id) }) == nil {
		w.a.outbox.drop(w.id)
	}
}

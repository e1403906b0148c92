package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/moby/sys/signal"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/runtime"
)

// How soon a Wait that lost the daemon asks again.
const (
	waitAgainFirst = 100 * time.Millisecond
	waitAgainMost  = 2 * time.Second
)

// Wait returns when the container's process has ended. Once it has found the
// process running, it survives the daemon's going and coming: the process
// belongs to its shim.
func (d *Driver) Wait(ctx context.Context, id string) (runtime.Exit, error) {
	const op = "wait for container"
	pause := waitAgainFirst
	for seen := false; ; {
		rec, s, err := d.find(ctx, op, id)
		switch {
		case errors.Is(err, runtime.ErrUnavailable) && seen:
		case err != nil:
			return runtime.Exit{}, err
		case s.State == runtime.Exited:
			return *s.Exit, nil
		case s.State == runtime.Created && !seen:
			return runtime.Exit{}, fmt.Errorf("%s %s: %w: it was not started", op, id, runtime.ErrNotRunning)
		default:
			seen = true
			r, err := d.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: id})
			if err == nil {
				return *d.exit(rec, r.ExitStatus, r.ExitedAt.AsTime()), nil
			}
		}
		select {
		case <-ctx.Done():
			return runtime.Exit{}, fmt.Errorf("%s %s: %w", op, id, ctx.Err())
		case <-time.After(pause):
			pause = min(2*pause, waitAgainMost)
		}
	}
}

// find answers one container's record and status. One that is being removed
// and has no process any more is not found: its end is not unknown, but past.
func (d *Driver) find(ctx context.Context, op, id string) (containers.Container, runtime.Status, error) {
	rec, err := d.record(ctx, op, id)
	if err != nil {
		return rec, runtime.Status{}, err
	}
	p, err := d.process(ctx, op, id)
	if err != nil {
		return rec, runtime.Status{}, err
	}
	if p == nil && d.isRemoving(id) {
		return rec, runtime.Status{}, notFound(op, id)
	}
	if s := d.status(rec, p); p != nil || s.State != runtime.Exited {
		return rec, s, nil
	}
	rec, err = d.record(ctx, op, id) // it may have been removed just now
	if err != nil {
		return rec, runtime.Status{}, err
	}
	return rec, d.status(rec, nil), nil
}

// Stop asks the process to end, and ends it when grace is over. If ctx ends
// first the process is left to its grace.
func (d *Driver) Stop(ctx context.Context, id, name string, grace time.Duration) error {
	const op = "stop container"
	rec, s, err := d.find(ctx, op, id)
	if err != nil {
		return err
	}
	name = firstOf(name, rec.Labels[labelStopSignal], "SIGTERM")
	sig, err := signal.ParseSignal(name)
	if err != nil {
		return invalid("stop signal %q: %v", name, err)
	}
	if s.State != runtime.Running {
		return nil
	}
	if err := d.kill(ctx, id, sig); err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	_, err = d.Wait(patient, id)
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return endedOr(err)
	}
	if err := d.kill(ctx, id, unix.SIGKILL); err != nil {
		return err
	}
	_, err = d.Wait(ctx, id)
	return endedOr(err)
}

// endedOr takes a container that was removed meanwhile for one that ended.
func endedOr(err error) error {
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// survey waits for the runtime, finds what a former process left, and takes
// away what belongs to no task of the set. What belongs to one is returned.
func (a *Agent) survey(ctx context.Context) (map[api.TaskID][]runtime.Status, error) {
	for {
		if err := a.health.ready(ctx); err != nil {
			return nil, err
		}
		found, err := a.sweep(ctx)
		if err == nil {
			return found, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, runtime.ErrUnavailable) {
			a.health.missed(err)
			continue
		}
		a.log.Error("board can't be surveyed", "err", err)
		if err := pause(ctx, askEvery); err != nil {
			return nil, err
		}
	}
}

func (a *Agent) sweep(ctx context.Context) (map[api.TaskID][]runtime.Status, error) {
	all, err := a.cfg.Driver.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	a.mu.Lock()
	known := a.set.tasks()
	records := maps.Clone(a.records)
	a.mu.Unlock()
	found := map[api.TaskID][]runtime.Status{}
	for _, c := range all {
		_, remembered := records[c.Task]
		if known[c.Task] != nil || remembered {
			found[c.Task] = append(found[c.Task], c)
			continue
		}
		a.log.Info("container of no task is removed", "container", c.ID)
		if err := a.cfg.Driver.Remove(ctx, c.ID); err != nil {
			return nil, fmt.Errorf("remove container: %w", err)
		}
	}
	if err := a.sweepFiles(known); err != nil {
		return nil, fmt.Errorf("remove secrets of former tasks: %w", err)
	}
	// What has no process yet is attached anew: it is given its ports anew.
	var attached []api.TaskID
	for id, containers := range found {
		if task := known[id]; task != nil && a.adoptable(task, records[id], containers) != nil {
			attached = append(attached, id)
		}
	}
	slices.Sort(attached)
	if err := a.retain(ctx, attached); err != nil {
		return nil, err
	}
	return found, nil
}

// adoptable finds, among the containers that a former process left of a task,
// the one of its last attempt, if that runs or it is known how it ended.
func (a *Agent) adoptable(task *api.Task, rec record, found []runtime.Status) *runtime.Status {
	if finalOf(task, rec) != nil {
		return nil
	}
	for _, c := range found {
		rec.Attempt = max(rec.Attempt, c.Attempt)
	}
	for _, c := range found {
		known := c.State == runtime.Running || c.State == runtime.Exited && c.Exit != nil && rec.BootID == a.cfg.BootID
		if c.Attempt == rec.Attempt && known {
			return &c
		}
	}
	return nil
}

// finalOf is how a task ended for good; nil if it did not.
func finalOf(task *api.Task, rec record) *api.TaskStatus {
	if rec.Final == nil && rec.Attempt <= task.Status.Attempt && task.Over() && task.Status.Attempt > 0 {
		final := task.Status // the leader remembers what this board's disk does not
		return &final
	}
	return rec.Final
}

// retain detaches what no task of the set uses. If that goes wrong thrice the
// tasks start all the same: what is left costs an address, not a service.
func (a *Agent) retain(ctx context.Context, tasks []api.TaskID) error {
	var err error
	for range 3 {
		if err = a.cfg.Network.Retain(ctx, tasks); err == nil {
			return nil
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	a.log.Error("network of former tasks can't be detached", "err", err)
	return nil
}

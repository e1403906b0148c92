package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Labels of a container's record hold what must be known of it after a restart.
const (
	labelTask       = "edgeswarm.task"
	labelAttempt    = "edgeswarm.attempt"
	labelCgroup     = "edgeswarm.cgroup"
	labelStdout     = "edgeswarm.stdout"
	labelStderr     = "edgeswarm.stderr"
	labelStopSignal = "edgeswarm.stop-signal"
	// labelStarted is set before the process begins, to the time: without it,
	// a container whose process a reboot took looks like one never begun.
	labelStarted = "edgeswarm.started"
)

// exitUnknown is the exit code of a process whose end nobody saw: the board
// lost power, or its shim was killed.
const exitUnknown = 255

func labelsOf(c runtime.Container, cgroup, stopSignal string) map[string]string {
	labels := make(map[string]string, len(c.Labels)+6)
	for k, v := range c.Labels {
		labels[k] = v
	}
	labels[labelTask], labels[labelAttempt] = string(c.Task), strconv.Itoa(c.Attempt)
	labels[labelCgroup], labels[labelStdout], labels[labelStderr] = cgroup, c.Stdout, c.Stderr
	labels[labelStopSignal] = stopSignal
	return labels
}

// record reads a container's record. It answers runtime.ErrNotFound.
func (d *Driver) record(ctx context.Context, op, id string) (containers.Container, error) {
	rec, err := d.client.ContainerService().Get(ctx, id)
	if errdefs.IsNotFound(native(err)) {
		return rec, notFound(op, id)
	}
	return rec, d.wrap(op+" "+id, err)
}

// process asks for a container's process; nil if it has none. One whose shim did
// not answer in the daemon's time (2 s), as on a board under load or with a
// caller in a hurry, is of unknown state, and asked for again.
func (d *Driver) process(ctx context.Context, op, id string) (p *task.Process, err error) {
	for range 3 {
		r, err := d.tasks.Get(ctx, &tasks.GetRequest{ContainerID: id})
		if errdefs.IsNotFound(native(err)) {
			return nil, nil
		} else if err != nil {
			return nil, d.wrap(op+" "+id, err)
		}
		if p = r.Process; p.Status != task.Status_UNKNOWN {
			break
		}
	}
	return p, nil
}

// status puts a container's record and its process, if it has one, together.
func (d *Driver) status(rec containers.Container, p *task.Process) runtime.Status {
	attempt, _ := strconv.Atoi(rec.Labels[labelAttempt]) // our own label
	s := runtime.Status{ID: rec.ID, Task: api.TaskID(rec.Labels[labelTask]), Attempt: attempt}
	s.StartedAt, _ = time.Parse(time.RFC3339Nano, rec.Labels[labelStarted]) // our own label; zero without
	switch {
	case p != nil && p.Status == task.Status_STOPPED:
		s.State = runtime.Exited
		s.Exit = d.exit(rec, p.ExitStatus, p.ExitedAt.AsTime())
	case p != nil && p.Status != task.Status_CREATED:
		s.State, s.PID = runtime.Running, int(p.Pid)
	case p == nil && rec.Labels[labelStarted] != "":
		s.State, s.Exit = runtime.Exited, &runtime.Exit{Code: exitUnknown, At: s.StartedAt}
	default:
		s.State = runtime.Created
	}
	return s
}

func (d *Driver) exit(rec containers.Container, code uint32, at time.Time) *runtime.Exit {
	return &runtime.Exit{Code: int(code), At: at, OOMKilled: code != 0 && d.cgroups.oomKilled(rec.Labels[labelCgroup])}
}

// specOf reads the OCI specification back from a record.
func specOf(rec containers.Container) (*specs.Spec, error) {
	var s specs.Spec
	if rec.Spec == nil {
		return nil, fmt.Errorf("container %s has no specification", rec.ID)
	}
	if err := json.Unmarshal(rec.Spec.GetValue(), &s); err != nil {
		return nil, fmt.Errorf("read specification of container %s: %w", rec.ID, err)
	}
	return &s, nil
}

// List answers all containers of the namespace that a driver made.
func (d *Driver) List(ctx context.Context) ([]runtime.Status, error) {
	// Processes first: one that ends and is removed in between is then missing
	// from the records, and not shown as lost.
	running, err := d.tasks.List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, d.wrap("list processes", err)
	}
	records, err := d.client.ContainerService().List(ctx, fmt.Sprintf("labels.%q", labelTask))
	if err != nil {
		return nil, d.wrap("list containers", err)
	}
	processes := make(map[string]*task.Process, len(running.Tasks))
	for _, p := range running.Tasks {
		processes[firstOf(p.ContainerID, p.ID)] = p
	}
	all := make([]runtime.Status, 0, len(records))
	for _, rec := range records {
		p := processes[rec.ID]
		s := d.status(rec, p)
		if p == nil && s.State == runtime.Exited {
			// It may have been started between the two lists, or be going.
			_, s, err = d.find(ctx, "list container", rec.ID)
			if errors.Is(err, runtime.ErrNotFound) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// isDone reports whether a signal found nothing left to reach.
func isDone(err error) bool {
	err = native(err)
	return errdefs.IsNotFound(err) || err != nil && strings.Contains(err.Error(), "process already finished")
}

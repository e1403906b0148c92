package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// attempt brings up a new container of the task and waits for its end. With ctx
// ended, its answer means nothing.
func (w *worker) attempt(ctx context.Context) ending {
	if err := w.bring(ctx); err != nil {
		state := api.TaskFailed
		var r rejection
		if errors.As(err, &r) && w.rec.Attempt == 1 {
			state = api.TaskRejected
		}
		return ending{state: state, err: err.Error()}
	}
	return w.watch(ctx)
}

// rejection is an error of a task that can't be begun as it is. One that has
// run before is not rejected but has failed: what it needs may come back, as a
// disk does that is mounted late.
type rejection struct{ error }

func (r rejection) Unwrap() error { return r.error }

// bring takes the steps of an attempt up to a running process.
func (w *worker) bring(ctx context.Context) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	image, err := w.fetch(ctx)
	if err != nil {
		return rejection{err}
	}
	// What is in the way of the ports, if something is, goes first; else all
	// is made beforehand and the start is short.
	holder, clash, _ := w.a.claims.take(w.task)
	before := holder == "" || !clash.port()
	if before {
		if err := w.make(ctx, image); err != nil {
			return rejection{err}
		}
	}
	w.say(api.TaskReady, "")
	w.prepared.open()
	if !await(ctx, w.mayRun) {
		return ctx.Err()
	}
	if err := w.takeOver(ctx, holder); err != nil {
		return err
	}
	if holder != "" {
		if err := w.awaitClaims(ctx); err != nil {
			return err
		}
	}
	if !before {
		if err := w.make(ctx, image); err != nil {
			return rejection{err}
		}
	}
	return w.start(ctx)
}

// begin counts the attempt, on disk before anything is made: so that no number
// is given twice, whenever the plug is pulled.
func (w *worker) begin(ctx context.Context) error {
	before := w.rec
	w.rec.Attempt++
	w.rec.BootID = w.a.cfg.BootID
	w.save(ctx)
	if ctx.Err() != nil {
		w.rec = before
		return ctx.Err()
	}
	w.discard(ctx) // how the last one ended could be learned from it until now
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.pid, w.lastUp = 0, time.Time{}
	w.say(api.TaskPreparing, "")
	return nil
}

func (w *worker) fetch(ctx context.Context) (id api.ImageID, err error) {
	err = w.insist(ctx, "fetch image", func(ctx context.Context) (err error) {
		id, err = w.a.cfg.Images.Ensure(ctx, w.a.image(w.task))
		return err
	})
	return id, err
}

// make attaches the network, opens the logs and makes the container.
func (w *worker) make(ctx context.Context, image api.ImageID) error {
	task, err := w.expanded()
	if err != nil {
		return err
	}
	var at Attachment
	err = w.insist(ctx, "attach network", func(ctx context.Context) (err error) {
		at, err = w.a.cfg.Network.Attach(ctx, task)
		return err
	})
	if err != nil {
		return err
	}
	c, err := w.container(task.Spec.ContainerSpec, image, at)
	if err != nil {
		return err
	}
	err = w.insist(ctx, "place secrets and configs", func(context.Context) error {
		files, err := w.files()
		c.Mounts = append(c.Mounts, files...)
		return err
	})
	if err != nil {
		return err
	}
	w.held, w.addr = w.rec.Attempt, at.Addr
	err = w.insist(ctx, "open logs", func(ctx context.Context) (err error) {
		c.Stdout, c.Stderr, err = w.a.cfg.Logs.Open(ctx, w.task, w.rec.Attempt)
		return err
	})
	if err != nil {
		return err
	}
	err = w.insist(ctx, "prepare", func(ctx context.Context) error {
		if err := w.turn(ctx); err != nil {
			return err
		}
		defer w.endTurn()
		err := w.a.cfg.Driver.Prepare(ctx, c)
		if !errors.Is(err, runtime.ErrNotFound) {
			return err
		}
		// The image was taken away meanwhile. What lacks is no error for good.
		if c.Image, err = w.a.cfg.Images.Ensure(ctx, w.a.image(w.task)); err != nil {
			return err
		}
		return errors.New("image was removed while it was needed")
	})
	if err != nil {
		return err
	}
	return w.learnCheck(ctx)
}

// takeOver waits until the task that this one replaces has stopped, or has taken
// longer than it may and holds nothing that this one needs. One that is still
// wanted and in nobody's way is left alone: the leader stops it once this one runs.
func (w *worker) takeOver(ctx context.Context, holder api.TaskID) error {
	old := w.a.predecessor(w)
	if old == nil || old.stopped.opened() {
		return nil
	}
	if holder == old.id {
		old.unwanted.open()
	} else if !old.dismissed.opened() {
		return nil
	}
	w.note("waits for the task it replaces to stop")
	var late <-chan time.Time
	if holder != old.id {
		late = time.After(old.task.StopBound())
	}
	select {
	case <-old.stopped.c:
		return nil
	case <-late:
		w.a.log.Warn("task starts beside the one it replaces, which will not stop", "task", w.id, "old", old.id)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *worker) awaitClaims(ctx context.Context) error {
	for {
		holder, clash, freed := w.a.claims.take(w.task)
		if holder == "" {
			return nil
		}
		w.note(fmt.Sprintf("waits for %v, which task %s holds", clash, api.ShortID(holder)))
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *worker) start(ctx context.Context) error {
	if w.policy.condition == api.RestartNone {
		w.rec.Started = true
		w.save(ctx)
	}
	w.say(api.TaskStarting, "")
	id := runtime.ContainerID(w.id, w.rec.Attempt)
	var fatal error
	err := w.insist(ctx, "start", func(ctx context.Context) (err error) {
		if err := w.turn(ctx); err != nil {
			return err
		}
		defer w.endTurn()
		w.pid, err = w.a.cfg.Driver.Start(ctx, id)
		if err != nil && !errors.Is(err, runtime.ErrUnavailable) {
			fatal, err = err, nil
		}
		return err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if w.check == nil {
		w.up()
	}
	if err = errors.Join(err, fatal); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	w.sayAlive()
	return nil
}

// up notes when the task began to run as it should.
func (w *worker) up() {
	w.lastUp = time.Now()
	if w.firstUp.IsZero() {
		w.firstUp = w.lastUp
	}
}

// sayAlive says that the process runs; with a check, the task does only once
// it is healthy.
func (w *worker) sayAlive() {
	s := api.TaskStatus{State: api.TaskRunning, PID: w.pid, Message: w.past()}
	if w.check != nil && !w.isHealthy() {
		s.State, s.Message = api.TaskStarting, "waits for its health check"
	}
	w.publish(s, false)
}

// past is what is told of the attempt before this one.
func (w *worker) past() string {
	if w.lastErr == "" {
		return ""
	}
	return "restarted after: " + w.lastErr
}

// wasUp notes since when the adopted container has run, as the runtime
// remembers it: what it did under a former process counts as if under this one.
// If the board's clock was set meanwhile, that is off by as much.
func (w *worker) wasUp() {
	c := w.adopted
	w.outlived = c.Attempt > 1
	if c.StartedAt.IsZero() || w.check != nil && !w.isHealthy() {
		return
	}
	ran := time.Since(c.StartedAt)
	if c.Exit != nil {
		ran = c.Exit.At.Sub(c.StartedAt)
	}
	w.lastUp = time.Now().Add(-max(0, ran))
	w.firstUp = w.lastUp
}

// rejoin goes on with a container that a former process left.
func (w *worker) rejoin(ctx context.Context) ending {
	if w.adopted.State == runtime.Exited {
		w.wasUp()
		return w.endOf(*w.adopted.Exit)
	}
	w.prepared.open()
	if err := w.learnCheck(ctx); err != nil {
		return ending{state: api.TaskFailed, err: "its container is gone"}
	}
	w.wasUp()
	w.sayAlive()
	task, err := w.expanded()
	if err != nil { // an older version of edged took it
		task = w.task
	}
	at, err := w.a.cfg.Network.Attach(ctx, task)
	if err != nil && w.check != nil { // where to probe must be known
		err = w.insist(ctx, "attach network", func(ctx context.Context) (err error) {
			at, err = w.a.cfg.Network.Attach(ctx, task)
			return err
		})
	}
	if err != nil && ctx.Err() == nil {
		w.a.log.Warn("network of a running task can't be completed", "task", w.id, "err", err)
	}
	w.addr = at.Addr
	if _, _, err := w.a.cfg.Logs.Open(ctx, w.task, w.rec.Attempt); err != nil && ctx.Err() == nil {
		w.a.log.Warn("logs of a running task can't be opened", "task", w.id, "err", err)
	}
	return w.watch(ctx)
}

// watch waits for the end of the present attempt, which comes by itself or
// because the task is found unhealthy.
func (w *worker) watch(ctx context.Context) ending {
	if w.check == nil {
		return w.wait(ctx)
	}
	var waiting sync.WaitGroup
	defer waiting.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive, dead := context.WithCancel(ctx)
	ended := make(chan ending, 1)
	waiting.Go(func() {
		defer dead()
		ended <- w.wait(ctx)
	})
	if why := w.observe(alive); why != nil {
		return w.giveUp(ctx, why)
	}
	return <-ended
}

// wait answers how the process ended. It may run beside observe: it changes
// nothing of the worker's.
func (w *worker) wait(ctx context.Context) ending {
	var exit runtime.Exit
	id, blind := runtime.ContainerID(w.id, w.rec.Attempt), false
	err := w.insist(ctx, "wait", func(ctx context.Context) (err error) {
		if blind { // until just now
			w.note(w.past())
		}
		exit, err = w.a.cfg.Driver.Wait(ctx, id)
		blind = err != nil
		return err
	})
	if err != nil {
		return ending{state: api.TaskFailed, err: "its container is gone"}
	}
	return w.endOf(exit)
}

func (w *worker) endOf(exit runtime.Exit) ending {
	end := ending{state: api.TaskFailed, exit: &exit}
	switch {
	case exit.OOMKilled:
		end.err = "killed: out of memory"
		if limits := w.limits(); limits.MemoryBytes > 0 {
			end.err = fmt.Sprintf("killed: out of memory, at its limit of %d MiB", limits.MemoryBytes>>20)
		}
	case exit.Code == 0:
		end.state = api.TaskComplete
	default:
		end.err = exitWords(exit.Code)
	}
	return end
}

// say publishes a step of the present attempt.
func (w *worker) say(state api.TaskState, message string) {
	w.publish(api.TaskStatus{State: state, Message: message}, false)
}

// turn waits until this task may keep the runtime busy.
func (w *worker) turn(ctx context.Context) error {
	select {
	case w.a.starts <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *worker) endTurn() { <-w.a.starts }

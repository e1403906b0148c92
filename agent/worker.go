package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// worker takes one task through its life on this board, in one goroutine: it
// brings attempts up, waits for their ends, and when the task is no longer
// wanted, stops it and cleans up. What is wanted comes in as gates that open
// one after the other.
type worker struct {
	a    *Agent
	id   api.TaskID
	task *api.Task // as it was when the worker began; only its desired state changes

	mayRun    *gate // wanted running, not only ready
	dismissed *gate // wanted stopped
	unwanted  *gate // and to be stopped now: its successor, if it has one, is prepared
	forgotten *gate // wanted removed
	absent    *gate // no longer in the set
	successor *worker

	prepared *gate // ready to start, or never will be
	stopped  *gate // nothing of it runs, and its ports are free
	finished *gate

	// The rest belongs to the worker's goroutine.
	rec        record
	fresh      bool // no attempt has begun before this process
	hist       history
	policy     policy
	adopted    *runtime.Status
	leftovers  []int // attempts whose containers are of no more use
	held       int   // the attempt that may have a container; 0 if none has
	pid        int
	firstStart time.Time // of this task by this process
	lastStart  time.Time
	lastErr    string // why the attempt before this one ended
}

// newWorker continues a task from its record and from the containers found of it.
func newWorker(a *Agent, task *api.Task, rec record, found []runtime.Status) *worker {
	w := &worker{
		a: a, id: task.ID, task: task, rec: rec, policy: policyOf(task.Spec.RestartPolicy),
		mayRun: newGate(), dismissed: newGate(), unwanted: newGate(), forgotten: newGate(), absent: newGate(),
		prepared: newGate(), stopped: newGate(), finished: newGate(),
	}
	w.hist.streak = rec.Streak
	for range rec.Restarts {
		w.hist.restarts = append(w.hist.restarts, time.Now())
	}
	if rec.Final == nil && rec.Attempt <= task.Status.Attempt && task.Over() && task.Status.Attempt > 0 {
		final := task.Status // the leader remembers what this board's disk does not
		w.rec.Final = &final
	}
	for _, c := range found {
		w.rec.Attempt = max(w.rec.Attempt, c.Attempt)
	}
	for _, c := range found {
		known := c.State == runtime.Running || c.State == runtime.Exited && c.Exit != nil
		if w.rec.Final == nil && c.Attempt == w.rec.Attempt && known {
			w.adopted, w.held, w.pid = &c, c.Attempt, c.PID
			a.ports.take(task)
		} else {
			w.leftovers = append(w.leftovers, c.Attempt)
		}
	}
	w.rec.Attempt = max(w.rec.Attempt, task.Status.Attempt)
	w.fresh = w.rec.Attempt == 0
	if w.rec.Final != nil {
		a.outbox.put(w.id, *w.rec.Final, false)
	}
	return w
}

// want opens the gates that a desired state asks for. States that are past are
// not returned to.
func (w *worker) want(desired api.TaskState, successor *worker) {
	if !desired.Before(api.TaskRunning) {
		w.mayRun.open()
	}
	if !desired.Before(api.TaskDraining) && !w.dismissed.opened() {
		w.successor = successor
		w.dismissed.open()
	}
	if desired == api.TaskRemoved {
		w.forgotten.open()
	}
}

// run is the task's life. It returns when nothing is left of the task, or with ctx.
func (w *worker) run(ctx context.Context) {
	var helper sync.WaitGroup
	defer helper.Wait()
	defer w.finished.open()
	defer w.prepared.open()
	if w.dismissed.opened() && (w.successor == nil || w.adopted == nil) {
		w.unwanted.open() // there is nothing to keep up until another is ready
	}
	helper.Go(func() { w.letGo(ctx) })

	for _, attempt := range w.leftovers {
		w.clear(ctx, attempt)
	}
	if w.rec.Final == nil {
		live, cancel := until(ctx, w.unwanted)
		w.live(live)
		cancel()
	}
	w.prepared.open()
	if w.rec.Final == nil {
		if !await(ctx, w.unwanted) {
			return
		}
		w.stop(ctx)
	}
	w.vacate(ctx)
	if ctx.Err() != nil {
		return
	}
	w.stopped.open()
	if await(ctx, w.forgotten) {
		w.forget(ctx)
	}
}

// letGo opens unwanted when the task is to stop: at once, or if another takes
// over from it, when that one is ready to start.
func (w *worker) letGo(ctx context.Context) {
	if !await(ctx, w.dismissed) {
		return
	}
	if w.successor != nil {
		select {
		case <-w.successor.prepared.c:
		case <-w.forgotten.c:
		case <-ctx.Done():
			return
		}
	}
	w.unwanted.open()
}

// live runs attempts until the task has ended for good, which sets rec.Final,
// or ctx ends.
func (w *worker) live(ctx context.Context) {
	var end ending
	switch {
	case ctx.Err() != nil:
		return
	case w.adopted != nil:
		end = w.rejoin(ctx)
	case w.rec.Started:
		end = ending{state: api.TaskFailed, err: "was cut off when the board restarted, and its policy allows one attempt"}
	default:
		end = w.attempt(ctx)
	}
	for ctx.Err() == nil && w.conclude(ctx, end) {
		end = w.attempt(ctx)
	}
}

// ending is how an attempt ended.
type ending struct {
	state api.TaskState // complete, failed or rejected
	err   string
	exit  *runtime.Exit
}

// conclude reports an end and waits until another attempt may begin; false if none may.
func (w *worker) conclude(ctx context.Context, end ending) (again bool) {
	now := time.Now()
	s := api.TaskStatus{State: end.state, Err: end.err}
	if end.exit != nil {
		s.ExitCode = &end.exit.Code
	}
	var ran, delay time.Duration
	if !w.lastStart.IsZero() {
		ran = now.Sub(w.lastStart)
	}
	if end.state != api.TaskRejected {
		delay, again = w.policy.next(&w.hist, end.state == api.TaskFailed, ran, now)
	}
	s.Exhausted = !again
	s.InMonitor = !w.firstStart.IsZero() && now.Sub(w.firstStart) <= w.monitor()
	if again {
		s.Message = fmt.Sprintf("restarts in %v", delay)
	}
	w.lastErr = end.err
	if !again {
		w.finish(s, true)
		return false
	}
	w.publish(s, s.InMonitor)
	return pause(ctx, delay) == nil
}

// finish makes a status the task's last. It is on disk before it is told, so
// that no power cut makes the board tell another; but if it can't be written it
// is told all the same, and vacate sees to the rest.
func (w *worker) finish(s api.TaskStatus, urgent bool) {
	s = w.complete(s)
	w.rec.Final = &s
	_ = w.trySave()
	w.tell(s, urgent)
}

func (w *worker) monitor() time.Duration {
	if w.task.Monitor > 0 {
		return w.task.Monitor
	}
	return api.DefaultMonitor
}

// stop ends what runs of the task, because it is no longer wanted.
func (w *worker) stop(ctx context.Context) {
	last, said := w.a.outbox.get(w.id)
	if said && last.State.Ended() { // it was waiting for its next attempt
		last.Message = ""
		w.rec.Final = &last
		w.tell(last, false)
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
			w.publish(api.TaskStatus{State: api.TaskDraining, PID: last.PID}, false)
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
// ports. It remembers how the task ended first, because the container is gone
// then.
func (w *worker) vacate(ctx context.Context) {
	if !w.forgotten.opened() || !w.absent.opened() {
		w.save(ctx)
	}
	w.discard(ctx)
	w.tidy(ctx, "detach network", func(ctx context.Context) error { return w.a.cfg.Network.Detach(ctx, w.id) })
	if ctx.Err() == nil {
		w.a.ports.release(w.id)
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

// save puts the record on disk, however long that takes.
func (w *worker) save(ctx context.Context) {
	w.tidy(ctx, "remember progress", func(context.Context) error { return w.trySave() })
}

func (w *worker) trySave() error {
	w.rec.Streak, w.rec.Restarts = w.hist.streak, len(w.hist.restarts)
	return w.a.disk.saveRecord(w.id, w.rec)
}

// publish makes a status of the present attempt the task's latest.
func (w *worker) publish(s api.TaskStatus, urgent bool) { w.tell(w.complete(s), urgent) }

// complete fills in what is the same for all statuses of an attempt.
func (w *worker) complete(s api.TaskStatus) api.TaskStatus {
	s.Attempt, s.Timestamp = w.rec.Attempt, w.a.cfg.Now()
	if w.held != 0 && w.held == w.rec.Attempt {
		s.ContainerID = runtime.ContainerID(w.id, w.held)
	}
	return s
}

func (w *worker) tell(s api.TaskStatus, urgent bool) {
	if !w.a.outbox.put(w.id, s, urgent) {
		w.a.log.Warn("task would have gone back to an earlier state", "task", w.id, "state", s.State, "attempt", s.Attempt)
	}
}

// note changes what the task's latest status says in words. A task that nothing
// was said of yet is told as it is only if it is new: of another the leader
// knows more.
func (w *worker) note(message string) {
	s, ok := w.a.outbox.get(w.id)
	switch {
	case !ok && !w.fresh, ok && s.Message == message:
		return
	case !ok:
		s = api.TaskStatus{State: api.TaskAssigned, Timestamp: w.a.cfg.Now()}
	}
	s.Message = message
	w.a.outbox.put(w.id, s, false)
}

// insist repeats a step until it succeeds, fails for good, or ctx ends. A
// runtime that does not answer is waited for.
func (w *worker) insist(ctx context.Context, doing string, step func(context.Context) error) error {
	again := backoff{first: 250 * time.Millisecond, most: 10 * time.Second}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := step(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case forGood(err):
			return fmt.Errorf("%s: %w", doing, err)
		case errors.Is(err, runtime.ErrUnavailable):
			w.a.health.missed(err)
			w.note("waits for the container runtime, which does not answer")
			if err := w.a.health.ready(ctx); err != nil {
				return err
			}
			continue
		}
		w.note(fmt.Sprintf("%s: %v; tries again", doing, err))
		if err := pause(ctx, again.next(rand.Float64())); err != nil {
			return err
		}
	}
}

// forGood tells errors that no other try will cure.
func forGood(err error) bool {
	if errors.Is(err, runtime.ErrInvalid) || errors.Is(err, runtime.ErrNotRunning) || errors.Is(err, runtime.ErrNotFound) {
		return true
	}
	return slices.Contains([]api.Kind{api.Invalid, api.NotFound, api.Denied}, api.KindOf(err))
}

// await waits for a gate; false if ctx ended first.
func await(ctx context.Context, g *gate) bool {
	select {
	case <-g.c:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// until returns a context that also ends when a gate opens.
func until(ctx context.Context, g *gate) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if g.opened() {
		cancel()
	}
	go func() {
		select {
		case <-g.c:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

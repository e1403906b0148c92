package agent

import (
	"context"
	"fmt"
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
	stopped  *gate // nothing of it runs, and what it claimed is free
	finished *gate

	// The rest belongs to the worker's goroutine.
	rec       record
	fresh     bool // no attempt has begun before this process
	hist      history
	policy    policy
	adopted   *runtime.Status
	leftovers []int // attempts whose containers are of no more use
	held      int   // the attempt that may have a container; 0 if none has
	pid       int
	check     *api.HealthConfig // of the present attempt; nil if it has none
	addr      string            // the task's address, "" with the board's network
	firstUp   time.Time         // when the task first ran, with a check healthily, by this process
	lastUp    time.Time         // the same of the present attempt
	failedAt  []time.Time       // attempts that failed lately
	outlived  bool              // an attempt before the adopted one ended, and was judged, under a former process
	lastErr   string            // why the attempt before this one ended
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
	w.rec.Final = finalOf(task, rec)
	if w.adopted = a.adoptable(task, rec, found); w.adopted != nil {
		w.held, w.pid = w.adopted.Attempt, w.adopted.PID
		a.claims.take(task)
	}
	for _, c := range found {
		w.rec.Attempt = max(w.rec.Attempt, c.Attempt)
		if c.Attempt != w.held {
			w.leftovers = append(w.leftovers, c.Attempt)
		}
	}
	w.rec.Attempt = max(w.rec.Attempt, task.Status.Attempt)
	if w.fresh = w.rec.Attempt == 0; w.fresh {
		w.hist.streak = task.Failures // it goes on where those before it stopped
	}
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
	if w.rec.Draining || w.dismissed.opened() && (w.successor == nil || w.adopted == nil) {
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

func (e ending) status() api.TaskStatus {
	s := api.TaskStatus{State: e.state, Err: e.err}
	if e.exit != nil {
		s.ExitCode = &e.exit.Code
	}
	return s
}

// conclude reports an end and waits until another attempt may begin; false if none may.
func (w *worker) conclude(ctx context.Context, end ending) (again bool) {
	now := time.Now()
	s := end.status()
	var ran, delay time.Duration
	if !w.lastUp.IsZero() {
		ran = now.Sub(w.lastUp)
	}
	if end.state != api.TaskComplete {
		w.failedAt = append(w.failedAt, now)
	}
	if end.state != api.TaskRejected {
		delay, again = w.policy.next(&w.hist, end.state == api.TaskFailed, ran, now)
	}
	s.Exhausted = !again
	s.InMonitor = w.monitored(now)
	if again {
		s.Message, s.NextTry = fmt.Sprintf("restarts in %v", delay), delay
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

// monitored reports whether an end at this time counts against the update that
// made the task: it came soon after the task first ran, or before its health
// check ever found it healthy.
func (w *worker) monitored(now time.Time) bool {
	if w.outlived {
		return false
	}
	if w.firstUp.IsZero() {
		return w.check != nil && w.rec.Healthy == 0
	}
	monitor := api.DefaultMonitor
	if w.task.Monitor > 0 {
		monitor = w.task.Monitor
	}
	return now.Sub(w.firstUp) <= monitor
}

package orchestrator_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/orchestrator"
	"github.com/edgeswarm/edgeswarm/manager/scheduler"
	"github.com/edgeswarm/edgeswarm/store"
)

// world is a fleet as far as planners can tell: a leader that plans, places and
// commits, and agents that do as they are assigned, a step each second.
type world struct {
	v       *store.View
	seconds int
	index   uint64
	ids     int
	// watches are the leader's stopwatches: when each was started.
	watches map[orchestrator.TimerKey]int
	off     map[api.NodeID]bool // boards without power
	local   map[api.TaskID]*local
	commits int
	log     strings.Builder
	// check is called with every plan before it is committed.
	check func(before, after *store.View, r orchestrator.Result)
	// committed is called after every commit.
	committed func()
	// kept, if set, plans only what changed beside every plan of all: see kept_test.go.
	kept *kept
}

// local is a task on its board.
type local struct {
	node   api.NodeID
	status api.TaskStatus
	since  int // when it came to its state
	failed []int
}

func newWorld() *world {
	return &world{
		v: store.NewView(), watches: map[orchestrator.TimerKey]int{}, off: map[api.NodeID]bool{}, local: map[api.TaskID]*local{},
		check: func(_, _ *store.View, _ orchestrator.Result) {}, committed: func() {},
	}
}

func (w *world) now() time.Time {
	return time.Date(2026, 1, 1, 0, 0, w.seconds, 0, time.UTC)
}

func (w *world) input() orchestrator.Input {
	ids := w.ids
	return orchestrator.Input{
		Now: w.now(),
		NewID: func() api.TaskID {
			ids++
			return api.TaskID(fmt.Sprintf("t%03d", ids))
		},
		Elapsed: func(key orchestrator.TimerKey) (time.Duration, bool) {
			began, ok := w.watches[key]
			return time.Duration(w.seconds-began) * time.Second, ok
		},
	}
}

// commit applies a change set as the store would.
func (w *world) commit(puts, deletes []api.Object) {
	if len(puts)+len(deletes) == 0 {
		return
	}
	w.index++
	stamped := make([]api.Object, 0, len(puts))
	for _, obj := range puts {
		switch o := obj.(type) {
		case *api.Task:
			if w.v.Task(o.ID) == nil {
				w.ids++
			}
			obj = stamp(w, o, w.v.Task(o.ID) == nil)
		case *api.Service:
			obj = stamp(w, o, w.v.Service(o.ID) == nil)
		case *api.Node:
			obj = stamp(w, o, w.v.Node(o.ID) == nil)
		case *api.Cluster:
			obj = stamp(w, o, w.v.Cluster() == nil)
		}
		stamped = append(stamped, obj)
	}
	before := w.v
	w.v = w.v.With(stamped, deletes)
	w.v.Index, w.v.Time = w.index, w.now()
	w.kept.note(before.Diff(stamped, deletes))
	w.tell(before, stamped, deletes)
	w.committed()
}

// stamp is a copy with the store's marks, by way of the encoding, as a record
// that was read from disk.
func stamp[T any, P interface {
	*T
	api.Object
}](w *world, obj P, isNew bool) api.Object {
	next := P(new(api.Clone(*obj)))
	head := next.Head()
	if isNew {
		head.CreatedAt = w.now()
	}
	head.UpdatedAt, head.Version = w.now(), api.Version{Index: w.index}
	return next
}

// plan makes passes until nothing more is decided. It reports how many.
func (w *world) plan() int {
	for passes := 0; ; passes++ {
		if passes > 10 {
			panic("plans never end:\n" + w.log.String())
		}
		unstored := w.unstored()
		informed := w.v.With(unstored, nil)
		result := orchestrator.Plan(informed, w.input())
		laid := informed.With(result.Puts, result.Deletes)
		placed := scheduler.Place(laid)
		w.kept.compare(w, informed, w.v.Diff(unstored, nil), result, placed)
		w.check(informed, laid.With(placed.Puts, nil), result)
		w.keep(result.Timers)
		puts := map[string]api.Object{}
		for _, obj := range slices.Concat(result.Puts, placed.Puts) {
			puts[fmt.Sprintf("%T/%s", obj, obj.Key())] = obj
		}
		if len(puts)+len(result.Deletes) == 0 {
			return passes
		}
		var list []api.Object
		for _, key := range slices.Sorted(maps.Keys(puts)) {
			list = append(list, puts[key])
		}
		w.commits++
		w.commit(list, result.Deletes)
	}
}

func (w *world) keep(wanted []orchestrator.Timer) {
	kept := map[orchestrator.TimerKey]int{}
	for _, timer := range wanted {
		kept[timer.Key] = w.seconds
		if began, ok := w.watches[timer.Key]; ok {
			kept[timer.Key] = began
		}
	}
	w.watches = kept
}

// newLeader forgets what only a leader's memory has.
func (w *world) newLeader() {
	w.watches = map[orchestrator.TimerKey]int{}
	w.kept.forget()
}

// step lets one second pass.
func (w *world) step() {
	w.seconds++
	for _, id := range slices.Sorted(maps.Keys(w.local)) {
		l := w.local[id]
		if !w.off[l.node] && w.v.Task(id) == nil {
			delete(w.local, id)
		}
	}
	for t := range w.v.Tasks.All() {
		if t.NodeID != "" && !w.off[t.NodeID] && !t.Status.State.Before(api.TaskAssigned) && w.v.Node(t.NodeID) != nil {
			w.agent(t)
		}
	}
	w.report()
	w.plan()
}

func (w *world) agent(t *api.Task) {
	l := w.local[t.ID]
	if l == nil {
		l = &local{node: t.NodeID, status: t.Status, since: w.seconds}
		w.local[t.ID] = l
	}
	to := func(state api.TaskState) { l.status.State, l.since = state, w.seconds }
	ended := l.status.State.Ended()
	switch {
	case !t.DesiredState.Before(api.TaskDraining):
		switch {
		case t.DesiredState == api.TaskRemoved:
			to(api.TaskRemoved)
		case strings.HasPrefix(t.Spec.ContainerSpec.Image, "stuck"): // it will not end
		case !ended && !w.held(t):
			to(api.TaskShutdown)
		}
	case ended && !l.status.Exhausted && l.status.State != api.TaskRejected:
		if w.seconds-l.since >= l.wait(t) {
			l.status.Attempt++
			l.status.InMonitor = false
			to(api.TaskReady)
		}
	case ended:
	case l.status.State == api.TaskAssigned:
		if strings.HasPrefix(t.Spec.ContainerSpec.Image, "reject") {
			l.status.Err = "no such command"
			to(api.TaskRejected)
			return
		}
		if strings.HasPrefix(t.Spec.ContainerSpec.Image, "slow") && w.seconds-l.since < 5 {
			return // it is being fetched
		}
		if strings.HasPrefix(t.Spec.ContainerSpec.Image, "huge") && w.seconds-l.since < 60 {
			return
		}
		to(api.TaskReady)
	case l.status.State == api.TaskReady:
		// One that will not end is waited for as long as it may take, and if it
		// holds a port or something by name, until it does.
		late := w.seconds-l.since >= int(t.StopBound()/time.Second) && len(t.Ports) == 0 && len(t.GenericResources) == 0
		if old := w.local[t.Replaces]; t.DesiredState == api.TaskRunning && (late || old == nil || old.node != t.NodeID || old.status.State.Ended() || w.wants(t.Replaces)) {
			l.status.Attempt = max(1, l.status.Attempt)
			to(api.TaskRunning)
		}
	case l.status.State == api.TaskRunning:
		w.fate(t, l, to)
	}
}

// fate ends tasks whose image says so.
func (w *world) fate(t *api.Task, l *local, to func(api.TaskState)) {
	end := api.TaskFailed
	switch image := t.Spec.ContainerSpec.Image; {
	case strings.HasPrefix(image, "crash"), strings.HasPrefix(image, "nowhere"):
	case strings.HasPrefix(image, "flaky") && l.node == "b": // runs anywhere but there
	case strings.HasPrefix(image, "exit"):
		end = api.TaskComplete
	default:
		return
	}
	if end == api.TaskFailed {
		l.failed = append(l.failed, w.seconds)
	}
	l.failed = slices.DeleteFunc(l.failed, func(at int) bool { return w.seconds-at > int(api.RecentFailurePeriod/time.Second) })
	l.status.RecentFailures, l.status.Timestamp = len(l.failed), w.now()
	policy := t.Spec.RestartPolicy.OrDefault()
	l.status.InMonitor = time.Duration(w.seconds-l.since)*time.Second <= t.Monitor
	l.status.Exhausted = policy.Condition == api.RestartNone || policy.Condition == api.RestartOnFailure && end == api.TaskComplete ||
		*policy.MaxAttempts > 0 && uint64(l.status.Attempt) >= *policy.MaxAttempts
	to(end)
}

// wait is how many seconds pass before the next attempt, as the agent has it.
func (l *local) wait(t *api.Task) int {
	policy := t.Spec.RestartPolicy.OrDefault()
	wait := int(*policy.Delay / time.Second)
	if *policy.MaxAttempts > 0 || l.status.State != api.TaskFailed {
		return wait
	}
	for range t.Failures + l.status.Attempt - 1 {
		wait = min(max(1, 2*wait), 300)
	}
	return wait
}

// held reports whether the old half of a swap waits for the new one to be ready.
func (w *world) held(old *api.Task) bool {
	for t := range w.v.TasksOn(old.NodeID) {
		if t.Replaces == old.ID && t.DesiredState == api.TaskRunning && !t.Status.State.Before(api.TaskAssigned) {
			l := w.local[t.ID]
			return l == nil || l.status.State.Before(api.TaskReady)
		}
	}
	return false
}

// wants reports whether the leader wants the task to run on.
func (w *world) wants(id api.TaskID) bool {
	t := w.v.Task(id)
	return t != nil && t.DesiredState.Before(api.TaskDraining)
}

// report commits what planners must know, as the dispatcher would: a restart in
// place is not such a thing, unless an update has to judge it.
func (w *world) report() {
	var puts []api.Object
	for _, id := range slices.Sorted(maps.Keys(w.local)) {
		l, t := w.local[id], w.v.Task(id)
		if t == nil || w.off[l.node] || !l.status.Newer(t.Status) {
			continue
		}
		next := *t
		next.Status = l.status
		s := w.v.Service(t.ServiceID)
		judged := s != nil && s.Rollout != nil && s.Rollout.Target == t.SpecVersion && l.status.InMonitor &&
			(s.Rollout.State == api.UpdateUpdating || s.Rollout.State == api.UpdateRollbackStarted) && !slices.Contains(s.Rollout.Judged, id)
		if next.Over() || l.status.State == api.TaskRunning && t.Status.State != api.TaskRunning || judged ||
			l.status.State == api.TaskReady && t.DesiredState == api.TaskReady {
			puts = append(puts, &next)
		}
	}
	if len(puts) > 0 {
		w.commits++
	}
	w.commit(puts, nil)
}

// unstored are tasks that are reported to wait for one on their board to end, or
// to fail over and over: that is not stored.
func (w *world) unstored() (list []api.Object) {
	for _, id := range slices.Sorted(maps.Keys(w.local)) {
		l, t := w.local[id], w.v.Task(id)
		if t == nil || w.off[l.node] || !l.status.Newer(t.Status) || !t.Live() {
			continue
		}
		ready := l.status.State == api.TaskReady && t.Replaces != ""
		if failing := l.status.State == api.TaskFailed && l.status.RecentFailures >= api.FaultyAfter; !ready && !failing {
			continue
		}
		next := *t
		next.Status = l.status
		list = append(list, &next)
	}
	return list
}

// power switches a board off or on. The leader concludes at once.
func (w *world) power(id api.NodeID, on bool) {
	w.off[id] = !on
	n := w.v.Node(id)
	if n == nil {
		return
	}
	next := *n
	next.Status.State = api.NodeDown
	if on {
		next.Status.State = api.NodeReady
	}
	w.commit([]api.Object{&next}, nil)
}

// tell writes a commit down.
func (w *world) tell(before *store.View, puts, deletes []api.Object) {
	line := func(format string, args ...any) {
		fmt.Fprintf(&w.log, "%3ds  %s\n", w.seconds, fmt.Sprintf(format, args...))
	}
	for _, obj := range puts {
		switch obj := obj.(type) {
		case *api.Task:
			if text := taskChange(before.Task(obj.ID), obj); text != "" {
				line("%s %s %s", place(obj), obj.ID, text)
			}
		case *api.Service:
			if text := rolloutText(before.Service(obj.ID), obj); text != "" {
				line("%s %s", obj.Spec.Name, text)
			}
		}
	}
	for _, obj := range deletes {
		if t, ok := obj.(*api.Task); ok {
			line("%s %s is forgotten", place(t), t.ID)
		}
		if s, ok := obj.(*api.Service); ok {
			line("%s is gone", s.Spec.Name)
		}
	}
}

func place(t *api.Task) string {
	if t.Slot > 0 {
		return fmt.Sprintf("%s.%d", t.ServiceName, t.Slot)
	}
	return fmt.Sprintf("%s.%s", t.ServiceName, t.NodeID)
}

func taskChange(old, t *api.Task) string {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if old == nil {
		add("made of %s", t.Spec.ContainerSpec.Image)
		if t.Replaces != "" {
			add("for %s", t.Replaces)
		}
		old = &api.Task{DesiredState: api.TaskRunning, SpecVersion: t.SpecVersion, Status: api.TaskStatus{State: api.TaskNew}}
	}
	if old.SpecVersion != t.SpecVersion {
		add("is made of %s instead", t.Spec.ContainerSpec.Image)
	}
	if old.NodeID != t.NodeID {
		add("on %s", t.NodeID)
		if len(t.GenericResources) > 0 {
			add("with %s", api.GenericText(t.GenericResources))
		}
	}
	if old.DesiredState != t.DesiredState {
		add("shall be %s", t.DesiredState)
	}
	if old.Status.State != t.Status.State && t.Status.State != api.TaskAssigned && t.Status.State != api.TaskPending {
		add("is %s", t.Status.State)
	}
	if t.Status.State == api.TaskPending && old.Status.Message != t.Status.Message {
		add("waits: %s", t.Status.Message)
	}
	return strings.Join(words, " ")
}

func rolloutText(old, s *api.Service) string {
	r := s.Rollout
	if r == nil || old != nil && old.Rollout != nil && old.Rollout.Wave == r.Wave && old.Rollout.State == r.State && old.Rollout.Failed == r.Failed {
		return ""
	}
	text := fmt.Sprintf("%s: wave %d of %d slots", r.State, r.Wave, r.Total)
	if r.Failed > 0 {
		text += fmt.Sprintf(", %d failed", r.Failed)
	}
	if r.State != api.UpdateUpdating && s.UpdateStatus != nil {
		text += ": " + s.UpdateStatus.Message
	}
	return text
}

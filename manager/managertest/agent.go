package managertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Agent is a scripted agent: it does what it is assigned, in so much time, and
// reports it. Its memory outlives its sessions, as a real one's disk does.
type Agent struct {
	ID   api.NodeID
	Name string
	// Starts and Stops are how long a task takes to begin and to end.
	Starts, Stops time.Duration
	// Crash, if set, says of a task that is to run that it ends as soon as it
	// does, and never runs again.
	Crash func(*api.Task) bool

	mu       sync.Mutex
	at       api.SetID
	items    map[api.ItemKey]api.Item
	statuses map[api.TaskID]api.TaskStatus
	due      map[api.TaskID]time.Time
	untold   map[api.TaskID]bool
	received []*api.Assignment
	gaps     int
}

// Run keeps a session with whoever leads, until ctx ends.
func (a *Agent) Run(ctx context.Context, leader func() api.DispatchServer) {
	for ctx.Err() == nil {
		if d := leader(); d != nil {
			a.session(ctx, Open(ctx, d, a.ID))
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (a *Agent) session(ctx context.Context, s *Session) {
	defer func() { s.Close(); <-s.Ended() }()
	if !s.Report(&api.Report{Hello: &api.Hello{Description: Description(a.Name), Have: a.Have(), Level: api.FeatureLevel}, Tasks: a.all()}) {
		return
	}
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	step := time.NewTicker(50 * time.Millisecond)
	defer step.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Ended():
			return
		case got := <-s.Assignments():
			if !a.apply(got) {
				return
			}
		case <-beat.C:
			if !s.Report(&api.Report{}) {
				return
			}
			continue
		case <-step.C:
		}
		if reports := a.work(); len(reports) > 0 && !s.Report(&api.Report{Tasks: reports}) {
			return
		}
	}
}

// Have is the set that the agent holds.
func (a *Agent) Have() api.SetID {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}

// Received are all assignments so far.
func (a *Agent) Received() []*api.Assignment {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.received)
}

// Gaps counts assignments that did not continue from what was held.
func (a *Agent) Gaps() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gaps
}

// Forget loses the set, as a wiped disk does.
func (a *Agent) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at, a.items = api.SetID{}, nil
}

// Statuses are what the agent says of its tasks.
func (a *Agent) Statuses() map[api.TaskID]api.TaskStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.statuses)
}

// Items are what the agent was assigned.
func (a *Agent) Items() map[api.ItemKey]api.Item {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.items)
}

func (a *Agent) apply(got *api.Assignment) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.received = append(a.received, got)
	if !got.Full && got.Previous != a.at {
		a.gaps++
		return false
	}
	if got.Full || a.items == nil {
		a.items = map[api.ItemKey]api.Item{}
	}
	for _, item := range got.Set {
		a.items[item.Key()] = item
	}
	for _, key := range got.Removed {
		if _, held := a.items[key]; !held {
			panic(fmt.Sprintf("told to drop %v, which was never assigned", key))
		}
		delete(a.items, key)
	}
	a.at = got.Next
	return true
}

// work moves every task on as far as its time has come, and reports that.
func (a *Agent) work() []api.TaskReport {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.statuses == nil {
		a.statuses, a.due, a.untold = map[api.TaskID]api.TaskStatus{}, map[api.TaskID]time.Time{}, map[api.TaskID]bool{}
	}
	held := map[api.TaskID]bool{}
	for _, item := range a.items {
		if item.Task != nil {
			held[item.Task.ID] = true
			a.step(item.Task)
		}
	}
	for id := range a.statuses {
		if !held[id] {
			delete(a.statuses, id)
			delete(a.due, id)
			delete(a.untold, id)
		}
	}
	var reports []api.TaskReport
	for _, id := range slices.Sorted(maps.Keys(a.untold)) {
		reports = append(reports, api.TaskReport{ID: id, Status: a.statuses[id]})
	}
	clear(a.untold)
	return reports
}

func (a *Agent) all() []api.TaskReport {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.untold)
	var reports []api.TaskReport
	for _, id := range slices.Sorted(maps.Keys(a.statuses)) {
		reports = append(reports, api.TaskReport{ID: id, Status: a.statuses[id]})
	}
	return reports
}

func (a *Agent) say(id api.TaskID, status api.TaskStatus) {
	if old := a.statuses[id]; old.State == "" || status.Newer(old) {
		status.Timestamp = time.Now()
		a.statuses[id] = status
		a.untold[id] = true
	}
}

func (a *Agent) step(task *api.Task) {
	status := a.statuses[task.ID]
	if status.State == "" {
		status = task.Status
	}
	due, busy := a.due[task.ID]
	now := time.Now()
	switch {
	case status.State.Ended():
	case task.DesiredState == api.TaskShutdown || task.DesiredState == api.TaskRemoved:
		switch {
		case !busy || status.State != api.TaskDraining:
			a.due[task.ID] = now.Add(a.Stops)
			a.say(task.ID, api.TaskStatus{State: api.TaskDraining, Attempt: status.Attempt})
		case !now.Before(due):
			a.say(task.ID, api.TaskStatus{State: api.TaskShutdown, Attempt: status.Attempt})
		}
	case status.State == api.TaskRunning:
	case status.State.Before(api.TaskReady):
		a.say(task.ID, api.TaskStatus{State: api.TaskReady})
	case task.DesiredState == api.TaskRunning && status.State == api.TaskReady && !a.blocked(task):
		a.due[task.ID] = now.Add(a.Starts)
		a.say(task.ID, api.TaskStatus{State: api.TaskStarting, Attempt: 1})
	case status.State == api.TaskStarting && !now.Before(due):
		if a.Crash != nil && a.Crash(task) {
			a.say(task.ID, api.TaskStatus{State: api.TaskFailed, Attempt: 1, InMonitor: true, Exhausted: true, Err: "exit 1"})
			return
		}
		a.say(task.ID, api.TaskStatus{State: api.TaskRunning, Attempt: 1})
	}
}

// blocked reports whether the task that this one replaces still runs here.
func (a *Agent) blocked(task *api.Task) bool {
	old := a.items[api.ItemKey{Kind: "task", Key: string(task.Replaces)}].Task
	return old != nil && !old.DesiredState.Before(api.TaskDraining) && !a.statuses[old.ID].State.Ended()
}

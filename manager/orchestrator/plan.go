package orchestrator

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// Input is all that a plan depends on beside the snapshot.
type Input struct {
	// Dirty are the services to plan; nil plans all. Tasks of a service that
	// is gone are planned under its ID.
	Dirty map[api.ServiceID]bool
	// Elapsed tells for how long this leader has seen the key wanted by every
	// plan of its service; false if it is not wanted yet.
	Elapsed func(TimerKey) (time.Duration, bool)
	// NewID makes the IDs of new tasks.
	NewID func() api.TaskID
	// Now is the fleet's time, only written into records and never compared.
	Now time.Time
}

// Result is what must change, as one change set, and what to wait for.
type Result struct {
	Puts, Deletes []api.Object
	// Timers are the stopwatches wanted by the services that were planned: one
	// that is new is to be started, and one of theirs that is no longer named,
	// dropped, once the change set is committed.
	Timers []Timer
}

// Timer is a wait: its service wants to be planned again when After has passed
// since the stopwatch was started.
type Timer struct {
	Key   TimerKey
	After time.Duration
	// Over is set if the time has passed and the stopwatch is to go on all the
	// same, because the wait's end is not written down anywhere.
	Over bool
}

// TimerKey names a wait by the state of the records that it belongs to, so
// that another state is another wait. Since stopwatches live as long as a
// leader's term, a successor waits anew: no less than was asked for.
type TimerKey struct {
	Service api.ServiceID
	Wait    Wait
	Task    api.TaskID // restart: the task that ended; stop: the one that is to
	Version uint64     // delay and monitor: the update's target
	Wave    int        // delay and monitor
}

// Wait is what is waited for.
type Wait string

// Waits.
const (
	WaitRestart Wait = "restart" // before an ended task is replaced
	WaitDelay   Wait = "delay"   // between the waves of an update
	WaitMonitor Wait = "monitor" // after the last wave
	WaitStop    Wait = "stop"    // for a task that was told to end
)

// Plan looks at one snapshot and says what must change so that every service
// in in.Dirty comes closer to its spec. New tasks are not placed: the scheduler
// sees the snapshot with the result laid over it.
func Plan(v *store.View, in Input) Result {
	p := &planner{v: v, in: in, puts: map[string]api.Object{}, deletes: map[string]api.Object{}}
	for _, id := range p.dirty() {
		if service := v.Service(id); service != nil {
			p.service(service)
			continue
		}
		// Tasks of a service that is gone: their nodes stop them once they are
		// no longer assigned.
		for task := range v.TasksOf(id) {
			p.drop(task)
		}
	}
	return p.result()
}

// planner collects the changes of one plan.
type planner struct {
	v             *store.View
	in            Input
	puts, deletes map[string]api.Object // by kind and key
	timers        []Timer
	// moved are the tasks that a rebalance moves, as they will be when placed:
	// the next service to be evened out goes by them too.
	moved []api.Object
}

func objectKey(obj api.Object) string {
	if _, ok := obj.(*api.Service); ok {
		return "service/" + obj.Key()
	}
	return "task/" + obj.Key()
}

func (p *planner) put(obj api.Object) { p.puts[objectKey(obj)] = obj }

// drop deletes an object; one that was only made by this plan just vanishes.
func (p *planner) drop(obj api.Object) {
	key := objectKey(obj)
	delete(p.puts, key)
	if stored := p.stored(obj); stored != nil {
		p.deletes[key] = stored
	}
}

func (p *planner) stored(obj api.Object) api.Object {
	switch obj := obj.(type) {
	case *api.Service:
		if s := p.v.Service(obj.ID); s != nil {
			return s
		}
	case *api.Task:
		if t := p.v.Task(obj.ID); t != nil {
			return t
		}
	}
	return nil
}

// dirty lists the services to plan, in order of ID.
func (p *planner) dirty() []api.ServiceID {
	ids := maps.Clone(p.in.Dirty)
	if ids == nil {
		ids = map[api.ServiceID]bool{}
		for service := range p.v.Services.All() {
			ids[service.ID] = true
		}
		for task := range p.v.Tasks.All() {
			ids[task.ServiceID] = true
		}
	}
	maps.DeleteFunc(ids, func(_ api.ServiceID, dirty bool) bool { return !dirty })
	return slices.Sorted(maps.Keys(ids))
}

func (p *planner) result() Result {
	slices.SortFunc(p.timers, func(a, b Timer) int {
		return cmp.Or(cmp.Compare(a.Key.Service, b.Key.Service), cmp.Compare(a.Key.Wait, b.Key.Wait), cmp.Compare(a.Key.Task, b.Key.Task))
	})
	p.timers = slices.Compact(p.timers) // several may wait for one thing
	return Result{Puts: sorted(p.puts), Deletes: sorted(p.deletes), Timers: p.timers}
}

func sorted(objects map[string]api.Object) []api.Object {
	keys := make([]string, 0, len(objects))
	for key := range objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var list []api.Object
	for _, key := range keys {
		list = append(list, objects[key])
	}
	return list
}

// waited reports whether the wait is over; while it is not, the key is wanted.
func (p *planner) waited(key TimerKey, wait time.Duration) bool {
	if wait <= 0 {
		return true
	}
	if p.in.Elapsed != nil {
		if elapsed, ok := p.in.Elapsed(key); ok && elapsed >= wait {
			return true
		}
	}
	p.timers = append(p.timers, Timer{Key: key, After: wait})
	return false
}

// outlasted is waited for a wait whose end changes no record: the stopwatch is
// kept as long as it is asked for.
func (p *planner) outlasted(key TimerKey, wait time.Duration) bool {
	if !p.waited(key, wait) {
		return false
	}
	p.timers = append(p.timers, Timer{Key: key, After: wait, Over: true})
	return true
}

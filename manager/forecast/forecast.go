package forecast

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/orchestrator"
	"github.com/edgeswarm/edgeswarm/manager/scheduler"
	"github.com/edgeswarm/edgeswarm/store"
)

// Bounds on how far ahead is looked: what comes after is more of the same.
const (
	maxWaves  = 20
	maxPasses = 10 * maxWaves
)

// Service tells what would become of a service, in a view in which it is as it
// would be right after the change.
func Service(v *store.View, id api.ServiceID) *api.ForecastServiceResponse {
	f := &forecast{
		v: v, service: id, seen: map[api.TaskID]int{}, gone: map[string]bool{}, made: map[string]bool{},
		out: &api.ForecastServiceResponse{Config: v.Service(id).Spec.UpdateConfig.OrDefault()},
	}
	for range maxPasses {
		planned, next := f.plan()
		f.note(next)
		f.v = next
		obeyed := f.obey()
		f.v = f.v.With(obeyed, nil)
		s := f.v.Service(id)
		if !planned && len(obeyed) == 0 || s == nil || s.Rollout != nil && s.Rollout.Wave > maxWaves {
			break
		}
	}
	f.sum()
	return f.out
}

// forecast is one forecast in the making.
type forecast struct {
	v       *store.View
	service api.ServiceID
	ids     int
	seen    map[api.TaskID]int // new tasks that have a step, and which
	gone    map[string]bool    // places that have a step that stops them
	made    map[string]bool    // places whose task is made of something else
	out     *api.ForecastServiceResponse
}

// plan is one pass of the planners, and whether they found anything to do.
func (f *forecast) plan() (planned bool, placed *store.View) {
	r := orchestrator.Plan(f.v, orchestrator.Input{
		Dirty: map[api.ServiceID]bool{f.service: true}, Now: f.v.Time,
		NewID: func() api.TaskID {
			f.ids++
			return api.TaskID(fmt.Sprintf("forecast-%06d", f.ids))
		},
		Elapsed: func(key orchestrator.TimerKey) (time.Duration, bool) {
			// Updates wait no longer; what failed is tried again in its own time.
			return math.MaxInt64, key.Wait == orchestrator.WaitDelay || key.Wait == orchestrator.WaitMonitor
		},
	})
	laid := f.v.With(r.Puts, r.Deletes)
	puts := scheduler.Place(laid).Puts
	return len(r.Puts)+len(r.Deletes)+len(puts) > 0, laid.With(puts, nil)
}

// obey lets agents do what they are told.
func (f *forecast) obey() []api.Object {
	var puts []api.Object
	for t := range f.v.TasksOf(f.service) {
		n := f.v.Node(t.NodeID)
		if n == nil || n.Status.State == api.NodeDown || t.Status.State.Before(api.TaskAssigned) {
			continue
		}
		next := *t
		switch {
		case t.DesiredState == api.TaskRemoved && t.Status.State != api.TaskRemoved:
			next.Status.State = api.TaskRemoved
		case !t.DesiredState.Before(api.TaskDraining) && !t.Over():
			next.Status.State = api.TaskShutdown
		case t.DesiredState.Before(api.TaskDraining) && t.Status.State.Before(t.DesiredState):
			next.Status.State = t.DesiredState
		default:
			continue
		}
		puts = append(puts, &next)
	}
	return puts
}

// note writes down what becomes of slots between the present view and the next.
func (f *forecast) note(next *store.View) {
	s := next.Service(f.service)
	if s == nil {
		return
	}
	held := map[string]bool{}
	for t := range next.TasksOf(f.service) {
		if t.Live() {
			held[f.place(t)] = true
			f.begins(s, t)
		}
	}
	for t := range f.v.TasksOf(f.service) {
		if at := f.place(t); t.Live() && !held[at] && !f.gone[at] {
			f.gone[at] = true
			why := "fewer tasks are wanted"
			if s.Spec.Mode.PerNode() {
				why = "its node is not meant for the service"
			}
			f.out.Steps = append(f.out.Steps, api.ForecastStep{Task: at, Action: api.ForecastStop, From: f.name(t.NodeID), Why: why})
		}
	}
}

// begins notes a task that is new, or that has a node now and had none.
func (f *forecast) begins(s *api.Service, t *api.Task) {
	i, seen := f.seen[t.ID]
	before := f.v.Task(t.ID)
	waits := t.Status.State == api.TaskPending
	switch {
	case !seen && before != nil && !before.Status.State.Before(api.TaskAssigned):
		return
	case seen && (waits || f.out.Steps[i].Action != api.ForecastWait):
		return
	}
	step := api.ForecastStep{Wave: wave(s, t), Task: f.place(t), Action: api.ForecastStart, To: f.name(t.NodeID)}
	f.reason(s, t, &step)
	if waits {
		step.Action, step.To, step.Why = api.ForecastWait, "", t.Status.Err
	}
	if seen {
		f.out.Steps[i] = step
		return
	}
	f.seen[t.ID] = len(f.out.Steps)
	f.out.Steps = append(f.out.Steps, step)
}

// reason says of a task why it is there.
func (f *forecast) reason(s *api.Service, t *api.Task, step *api.ForecastStep) {
	old := f.v.Task(t.Replaces)
	if old == nil || !old.Live() {
		step.Why = "its node is to have one"
		if !s.Spec.Mode.PerNode() {
			step.Why = fmt.Sprintf("%d tasks are wanted", wanted(s))
		}
		return
	}
	step.From = f.name(old.NodeID)
	image, before := t.Spec.ContainerSpec.Image, old.Spec.ContainerSpec.Image
	switch {
	case s.Current(old):
		step.Action, step.Why = api.ForecastMove, "its node may not keep it"
		return
	case image != before:
		step.Action, step.Why = api.ForecastReplace, imageChange(before, image)
	default:
		step.Action, step.Why = api.ForecastReplace, "what it is made of changes"
	}
	f.made[step.Task] = true
}

// imageChange says it without digests, which say nothing to people.
func imageChange(before, after string) string {
	before, _, _ = strings.Cut(before, "@")
	after, _, _ = strings.Cut(after, "@")
	if before == after {
		return "its image changes to another " + after
	}
	return fmt.Sprintf("its image changes from %s to %s", before, after)
}

// sum counts what all waves would replace, also those beyond the last one seen.
func (f *forecast) sum() {
	s := f.v.Service(f.service)
	if s == nil {
		return
	}
	if r := s.Rollout; r != nil && r.Target == s.SpecVersion {
		f.out.Waves = r.Wave
	}
	left := 0
	for t := range f.v.TasksOf(f.service) {
		if t.Live() && !s.Current(t) && !s.Spec.Mode.Job() && !f.made[f.place(t)] {
			left++
		}
	}
	f.out.Replaced = len(f.made) + left
	if n := int(f.out.Config.Parallelism); n > 0 {
		f.out.Waves += (left + n - 1) / n
	}
}

func wanted(s *api.Service) uint64 {
	if s.Spec.Mode.ReplicatedJob != nil {
		_, total := s.Spec.Mode.Concurrency()
		return total
	}
	return s.Spec.Replicas()
}

// wave is the update's wave that made the task; 0 if none did.
func wave(s *api.Service, t *api.Task) int {
	if s.Rollout != nil && slices.Contains(s.Rollout.Tasks, t.ID) {
		return s.Rollout.Wave
	}
	return 0
}

func (f *forecast) place(t *api.Task) string {
	if t.Slot > 0 {
		return fmt.Sprintf("%s.%d", t.ServiceName, t.Slot)
	}
	return t.ServiceName + "." + f.name(t.NodeID)
}

func (f *forecast) name(id api.NodeID) string {
	if n := f.v.Node(id); n != nil {
		return n.Name()
	}
	return string(id)
}

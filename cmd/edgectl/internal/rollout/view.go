package rollout

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/edgeswarm/edgeswarm/api"
)

// View is one moment of a service, as it is shown.
type View struct {
	Running, Total int // tasks that run, or of a job, have completed
	Job            bool
	Steps          []Step
	// Update is how the update under way stands, nil without one.
	Update *api.UpdateStatus
}

// Step is one slot of the service: its task of the wanted spec, or a gap.
type Step struct {
	Key   string // "2/6", or a node's name in a global service
	Name  string // "web.2"
	Task  api.TaskID
	State api.TaskState // "" while the slot's old task still stands
	Try   int           // attempt in place
	Node  string
	Err   string
	// Done says that the task runs and is of the wanted spec.
	Done bool
}

// Look sums up one moment. p.Service is set.
func Look(p *api.ServiceProgress) View {
	mode := p.Service.Spec.Mode
	global := mode.PerNode()
	slots := newest(p.Service, p.Tasks, global)
	v := View{Total: int(p.Service.Spec.Replicas()), Update: p.Service.UpdateStatus, Job: mode.Job()}
	if mode.ReplicatedJob != nil {
		_, total := mode.Concurrency()
		v.Total = int(total)
	}
	if global {
		v.Total = len(slots)
	}
	for _, key := range slices.SortedFunc(maps.Keys(slots), slotKey.compare) {
		v.Steps = append(v.Steps, step(p, slots[key]))
	}
	for !global && len(v.Steps) < v.Total { // slots that have no task yet
		v.Steps = append(v.Steps, Step{State: api.TaskNew})
	}
	for i := range v.Steps {
		s := &v.Steps[i]
		if s.Done {
			v.Running++
		}
		if !global || s.Key == "" {
			s.Key = strconv.Itoa(i+1) + "/" + strconv.Itoa(v.Total)
		}
		if s.Name == "" {
			s.Name = p.Service.Spec.Name + "." + strconv.Itoa(i+1)
		}
	}
	return v
}

// slotKey is a slot of a replicated service, or a node of a global one.
type slotKey struct {
	slot int
	node api.NodeID
}

func (k slotKey) compare(l slotKey) int {
	return cmp.Or(cmp.Compare(k.slot, l.slot), cmp.Compare(k.node, l.node))
}

// newest picks the task of each slot that is wanted most recently, or that has
// completed a job's slot.
func newest(s *api.Service, tasks []*api.Task, global bool) map[slotKey]*api.Task {
	slots := map[slotKey]*api.Task{}
	for _, t := range tasks {
		if !t.DesiredState.Before(api.TaskDraining) && !s.Completes(t) {
			continue // on its way out
		}
		key := slotKey{slot: t.Slot}
		if global {
			key = slotKey{node: t.NodeID}
		}
		if old := slots[key]; old == nil || older(old, t) {
			slots[key] = t
		}
	}
	return slots
}

func older(a, b *api.Task) bool {
	if a.Over() != b.Over() {
		return a.Over()
	}
	return cmp.Or(cmp.Compare(a.SpecVersion, b.SpecVersion), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) < 0
}

func step(p *api.ServiceProgress, t *api.Task) Step {
	s := Step{Name: t.ServiceName + "." + strconv.Itoa(t.Slot), Task: t.ID, Node: p.Nodes[t.NodeID]}
	if s.Node == "" {
		s.Node = api.ShortID(t.NodeID)
	}
	if t.Slot == 0 {
		s.Key, s.Name = s.Node, t.ServiceName+"."+s.Node
	}
	if job := p.Service.Spec.Mode.Job(); !job && !p.Service.Current(t) {
		return s
	}
	s.State, s.Try, s.Err = t.Status.State, t.Status.Attempt, t.Status.Err
	if s.Err == "" && (s.State == api.TaskPending || s.State.Ended()) {
		s.Err = t.Status.Message
	}
	s.Done = s.State == api.TaskRunning
	if p.Service.Spec.Mode.Job() {
		s.Done = p.Service.Completes(t)
	}
	if s.Done {
		s.Err = ""
	}
	return s
}

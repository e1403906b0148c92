package orchestrator_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/orchestrator"
	"github.com/edgeswarm/edgeswarm/manager/scheduler"
	"github.com/edgeswarm/edgeswarm/store"
)

// watched is a world in which every plan is checked: equal input gives an equal
// plan, and no service ever has more under way than its update may.
func watched(t *rapid.T) *world {
	w := newWorld()
	w.kept = &kept{fail: func(text string) { t.Fatalf("%s\n%s", text, w.log.String()) }}
	jobs := jobWatch{}
	w.check = func(before, after *store.View, r orchestrator.Result) {
		if again := orchestrator.Plan(before, w.input()); !reflect.DeepEqual(r, again) {
			t.Fatalf("equal input, but another plan\n%s", w.log.String())
		}
		possessions(t, w, before, after)
		for s := range after.Services.All() {
			withinParallelism(t, w, before.Service(s.ID), s, after)
			fetchedFirst(t, w, s, before, after)
			jobs.check(t, w, s, before, after)
		}
	}
	return w
}

// withinParallelism checks a wave as it begins: it has no more tasks than it
// may, and its predecessor is over.
func withinParallelism(t *rapid.T, w *world, old, s *api.Service, v *store.View) {
	r := s.Rollout
	if old == nil || r == nil || old.Rollout != nil && old.Rollout.Target == r.Target && old.Rollout.Wave == r.Wave {
		return
	}
	config := s.Spec.UpdateConfig.OrDefault()
	if r.Rollback {
		config = s.Spec.RollbackConfig.OrDefault()
	}
	if n := uint64(len(r.Tasks)); config.Parallelism > 0 && n > config.Parallelism {
		t.Fatalf("a wave of %d, at most %d are allowed\n%s", n, config.Parallelism, w.log.String())
	}
	if old.Rollout == nil || old.Rollout.Target != r.Target {
		return
	}
	for _, id := range old.Rollout.Tasks {
		task := v.Task(id)
		if task == nil || !task.Live() || task.Slot == 0 && v.Node(task.NodeID).Status.State == api.NodeDown {
			continue // a global task on a node that is down has its turn when the node is back
		}
		if task.Status.State.Before(api.TaskRunning) && task.Failures == 0 && task.Status.Attempt <= 1 {
			t.Fatalf("wave %d begins while %s of the one before is %s\n%s", r.Wave, id, task.Status.State, w.log.String())
		}
	}
}

// fetchedFirst checks the handing over of slots from board to board: a task that
// runs is told to end for one that is placed only once all is fetched for that, and one
// that waits for another's end begins only after it.
func fetchedFirst(t *rapid.T, w *world, s *api.Service, before, after *store.View) {
	for next := range after.TasksOf(s.ID) {
		old := after.Task(next.Replaces)
		if old == nil || old.NodeID == next.NodeID || !next.Live() || next.Status.State.Before(api.TaskAssigned) {
			continue
		}
		if s.Spec.Mode.Job() && *old.JobIteration != *next.JobIteration {
			continue // a new run of a job ends the one before at once
		}
		n := after.Node(old.NodeID)
		if old.Over() || n == nil || n.Status.State == api.NodeDown {
			continue
		}
		if was := before.Task(old.ID); was.Live() && was.Status.State == api.TaskRunning && !old.Live() && next.Status.State.Before(api.TaskReady) {
			t.Fatalf("%s is told to end for %s, which is %s\n%s", old.ID, next.ID, next.Status.State, w.log.String())
		}
		if was := before.Task(next.ID); was != nil && was.DesiredState == api.TaskReady && next.DesiredState == api.TaskRunning {
			t.Fatalf("%s may run, and %s before it is %s\n%s", next.ID, old.ID, old.Status.State, w.log.String())
		}
	}
}

// jobWatch remembers what of jobs has completed, whatever becomes of the
// records, by service, run and place.
type jobWatch map[string]bool

// check fails if something that completed is begun anew, or a job runs more at
// once than it may.
func (j jobWatch) check(t *rapid.T, w *world, s *api.Service, before, after *store.View) {
	if !s.Spec.Mode.Job() {
		return
	}
	key := func(task *api.Task) string { return fmt.Sprint(s.ID, task.JobIteration.Index, place(task)) }
	for task := range before.TasksOf(s.ID) {
		if s.Completes(task) {
			j[key(task)] = true
		}
	}
	active := map[string]bool{}
	for task := range after.TasksOf(s.ID) {
		if before.Task(task.ID) == nil && j[key(task)] {
			t.Fatalf("%s is made, but its slot has completed\n%s", task.ID, w.log.String())
		}
		if task.Live() {
			active[place(task)] = true
		}
	}
	if most, _ := s.Spec.Mode.Concurrency(); s.Spec.Mode.ReplicatedJob != nil && !s.PendingDelete && uint64(len(active)) > most {
		t.Fatalf("%s has %d tasks at once, at most %d are allowed\n%s", s.ID, len(active), most, w.log.String())
	}
}

func drawSpec(t *rapid.T, name string) api.ServiceSpec {
	s := api.ServiceSpec{Annotations: api.Annotations{Name: name}}.Defaults()
	switch rapid.IntRange(0, 5).Draw(t, "mode") {
	case 0:
		s.Mode = api.ServiceMode{Global: &api.GlobalService{}}
	case 1:
		s.Mode = api.ServiceMode{ReplicatedJob: &api.ReplicatedJob{
			TotalCompletions: new(rapid.Uint64Range(0, 6).Draw(t, "completions")), MaxConcurrent: new(rapid.Uint64Range(1, 3).Draw(t, "concurrent")),
		}}
	case 2:
		s.Mode = api.ServiceMode{GlobalJob: &api.GlobalJob{}}
	default:
		s.Mode = api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: new(rapid.Uint64Range(0, 6).Draw(t, "replicas"))}}
	}
	drawTemplate(t, &s)
	return s.Defaults()
}

func drawTemplate(t *rapid.T, s *api.ServiceSpec) {
	s.TaskTemplate.ContainerSpec.Image = rapid.SampledFrom([]string{"app:1", "app:2", "app:3", "slow:1", "crash:1", "reject:1", "exit:1"}).Draw(t, "image")
	s.TaskTemplate.RestartPolicy.Condition = rapid.SampledFrom([]api.RestartCondition{api.RestartAny, api.RestartOnFailure, api.RestartNone}).Draw(t, "restart")
	s.TaskTemplate.RestartPolicy.MaxAttempts = new(rapid.Uint64Range(0, 2).Draw(t, "attempts"))
	s.UpdateConfig = &api.UpdateConfig{
		Parallelism: rapid.Uint64Range(0, 3).Draw(t, "parallelism"), Delay: time.Duration(rapid.IntRange(0, 5).Draw(t, "delay")) * time.Second,
		Monitor:         time.Duration(rapid.IntRange(1, 5).Draw(t, "monitor")) * time.Second,
		FailureAction:   rapid.SampledFrom([]api.FailureAction{api.FailurePause, api.FailureContinue, api.FailureRollback}).Draw(t, "action"),
		MaxFailureRatio: rapid.SampledFrom([]float64{0, 0.3, 1}).Draw(t, "ratio"),
		Order:           rapid.SampledFrom([]api.UpdateOrder{api.StopFirst, api.StartFirst}).Draw(t, "order"),
	}
	s.TaskTemplate.Resources = &api.ResourceRequirements{Reservations: &api.Resources{
		MemoryBytes: rapid.Int64Range(0, 400).Draw(t, "mem") << 20, GenericResources: drawAsked(t),
	}}
	s.TaskTemplate.Placement = &api.Placement{MaxReplicas: rapid.Uint64Range(0, 3).Draw(t, "max")}
	if rapid.IntRange(0, 3).Draw(t, "constrained") == 0 {
		s.TaskTemplate.Placement.Constraints = []string{"node.labels.zone==attic"}
	}
	stopFirst := s.UpdateConfig.Order == api.StopFirst
	if s.Mode.Job() {
		s.UpdateConfig, s.RollbackConfig = nil, nil
		s.TaskTemplate.RestartPolicy.Condition = rapid.SampledFrom([]api.RestartCondition{api.RestartOnFailure, api.RestartNone}).Draw(t, "job restart")
		s.TaskTemplate.ForceUpdate += rapid.Uint64Range(0, 1).Draw(t, "force")
	}
	s.EndpointSpec = nil
	if stopFirst && rapid.IntRange(0, 3).Draw(t, "port") == 0 {
		s.EndpointSpec = &api.EndpointSpec{Ports: []api.PortConfig{{Protocol: api.TCP, TargetPort: 80, PublishedPort: 8080, PublishMode: api.PublishHost}}}
	}
}

// disturb does one random thing to the world.
func disturb(t *rapid.T, w *world, nodes []api.NodeID, services []api.ServiceID) {
	id := rapid.SampledFrom(nodes).Draw(t, "node")
	n, s := w.v.Node(id), w.v.Service(rapid.SampledFrom(services).Draw(t, "service"))
	switch event := rapid.IntRange(0, 12).Draw(t, "event"); {
	case event == 12 && n != nil:
		next := api.Clone(*n)
		next.Description.Resources.GenericResources = drawGeneric(t)
		w.commit([]api.Object{&next}, nil)
	case event == 0 && n != nil:
		w.power(id, false)
	case event == 1 && n != nil:
		w.power(id, true)
	case event == 2 && n != nil:
		next := *n
		next.Spec.Availability = rapid.SampledFrom([]api.Availability{api.AvailabilityActive, api.AvailabilityDrain, api.AvailabilityPause}).Draw(t, "availability")
		w.commit([]api.Object{&next}, nil)
	case event == 3 && n != nil:
		next := *n
		next.Spec.Labels = map[string]string{"zone": rapid.SampledFrom([]string{"attic", "cellar"}).Draw(t, "zone")}
		w.commit([]api.Object{&next}, nil)
	case event == 4 && s != nil && s.Spec.Mode.ReplicatedJob != nil:
		spec := api.Clone(s.Spec)
		spec.Mode.ReplicatedJob.TotalCompletions = new(rapid.Uint64Range(0, 8).Draw(t, "completions"))
		w.respec(s, spec)
	case event == 4 && s != nil && s.Spec.Mode.Replicated != nil:
		spec := api.Clone(s.Spec)
		spec.Mode.Replicated.Replicas = new(rapid.Uint64Range(0, 6).Draw(t, "replicas"))
		w.respec(s, spec)
	case event <= 6 && s != nil:
		spec := api.Clone(s.Spec)
		drawTemplate(t, &spec)
		w.respec(s, spec)
	case event == 7 && s != nil && s.PreviousSpec != nil:
		w.rollback(s)
	case event == 8:
		w.newLeader()
	case event == 11 && s != nil && s.Spec.Mode.Replicated != nil && (s.Rollout == nil || s.Rollout.State == api.UpdateCompleted):
		next := *s
		next.StartRebalance(api.UpdateStatus{State: api.UpdateUpdating})
		w.commit([]api.Object{&next}, nil)
	case event == 10 && n != nil && w.v.Nodes.Len() > 1 && rapid.Bool().Draw(t, "removed"):
		w.off[id] = true
		w.commit(nil, []api.Object{n})
	case event == 9 && s != nil && rapid.IntRange(0, 4).Draw(t, "really") == 0:
		next := *s
		next.PendingDelete = true
		w.commit([]api.Object{&next}, nil)
	}
	w.plan()
	for range rapid.IntRange(0, 8).Draw(t, "seconds") {
		w.step()
		noneShared(t, w)
		if rapid.IntRange(0, 9).Draw(t, "leader dies") == 0 {
			w.newLeader()
		}
	}
}

// TestConverges lets random things happen to random services, then stops and
// waits: what can run runs, nothing is left over, and nothing more is planned.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := watched(t)
		var nodes []api.NodeID
		for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
			nodes = append(nodes, api.NodeID('a'+rune(i)))
			w.commit([]api.Object{&api.Node{
				ID: nodes[i], Status: api.NodeStatus{State: api.NodeReady},
				Spec:        api.NodeSpec{Annotations: api.Annotations{Labels: map[string]string{"zone": "attic"}}},
				Description: api.NodeDescription{Hostname: string(nodes[i]), Resources: api.Resources{MemoryBytes: 1 << 30, GenericResources: drawGeneric(t)}},
			}}, nil)
		}
		services := []api.ServiceID{"web", "db"}
		for _, id := range services {
			s := &api.Service{ID: id, SpecVersion: 1, Spec: drawSpec(t, string(id))}
			s.StartJob(w.now())
			w.commit([]api.Object{s}, nil)
		}
		for range rapid.IntRange(1, 12).Draw(t, "events") {
			disturb(t, w, nodes, services)
		}
		for range 400 {
			w.step()
		}
		w.commits = 0
		for range 60 {
			w.step()
		}
		if w.commits > 0 && allHealthy(w.v) {
			t.Fatalf("%d commits long after the last event\n%s", w.commits, w.log.String())
		}
		allHave(t, w)
		for s := range w.v.Services.All() {
			settled(t, w, s)
		}
		for task := range w.v.Tasks.All() {
			if w.v.Service(task.ServiceID) == nil {
				t.Fatalf("%s outlives its service\n%s", task.ID, w.log.String())
			}
		}
	})
}

func running(t *api.Task) bool { return t.Status.State == api.TaskRunning }

// allHealthy reports whether no task that is wanted is of an image that ends.
func allHealthy(v *store.View) bool {
	for task := range v.Tasks.All() {
		if task.DesiredState.Before(api.TaskDraining) && !strings.HasPrefix(task.Spec.ContainerSpec.Image, "app") {
			return false
		}
	}
	return true
}

// settled checks a service long after the last event.
func settled(t *rapid.T, w *world, s *api.Service) {
	slots := map[string]int{}
	for task := range w.v.TasksOf(s.ID) {
		wanted := task.DesiredState.Before(api.TaskDraining)
		if wanted {
			slots[place(task)]++
		} else if n := w.v.Node(task.NodeID); !task.Over() && n != nil && n.Status.State == api.NodeReady {
			t.Fatalf("%s was told to end and is %s\n%s", task.ID, task.Status.State, w.log.String())
		}
	}
	if s.PendingDelete {
		t.Fatalf("%s is not gone\n%s", s.ID, w.log.String())
	}
	for task := range w.v.TasksOf(s.ID) {
		waits := task.Status.State == api.TaskPending && task.Status.Message != ""
		replaced := slots[place(task)] > 1 // start-first: the next one can't run, so this one does
		healthy := strings.HasPrefix(task.Spec.ContainerSpec.Image, "app")
		n := w.v.Node(task.NodeID)
		down := n != nil && n.Status.State == api.NodeDown
		if task.DesiredState.Before(api.TaskDraining) && healthy && !waits && !replaced && !down && task.Status.State != api.TaskRunning {
			t.Fatalf("%s should run and is %s\n%s", task.ID, task.Status.State, w.log.String())
		}
	}
	if s.Spec.Mode.Job() {
		count := s.CountJob(w.v.TasksOf(s.ID), running)
		if c := count; c.Completed < c.Total && c.Running == 0 && c.Failed < c.Total-c.Completed && c.Desired > 0 && len(slots) == 0 {
			t.Fatalf("%s has come to rest at %+v\n%s", s.ID, count, w.log.String())
		}
	}
	if s.Spec.Mode.Replicated != nil && uint64(len(slots)) != s.Spec.Replicas() {
		t.Fatalf("%s has %d slots of %d\n%s", s.ID, len(slots), s.Spec.Replicas(), w.log.String())
	}
}

// TestDelayIsKeptWhateverHappensToLeaders kills leaders at random, and measures
// the time between the end of a wave and the start of the next.
func TestDelayIsKeptWhateverHappensToLeaders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := watched(t)
		for i := range 3 {
			w.commit([]api.Object{&api.Node{ID: api.NodeID('a' + rune(i)), Status: api.NodeStatus{State: api.NodeReady}}}, nil)
		}
		spec := api.ServiceSpec{Annotations: api.Annotations{Name: "web"}, Mode: api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: new(uint64(6))}}}.Defaults()
		spec.UpdateConfig.Parallelism = rapid.Uint64Range(1, 3).Draw(t, "parallelism")
		spec.UpdateConfig.Delay = time.Duration(rapid.IntRange(1, 10).Draw(t, "delay")) * time.Second
		spec.UpdateConfig.Order = rapid.SampledFrom([]api.UpdateOrder{api.StopFirst, api.StartFirst}).Draw(t, "order")
		spec.TaskTemplate.ContainerSpec.Image = "app:1"
		w.commit([]api.Object{&api.Service{ID: "web", SpecVersion: 1, Spec: spec}}, nil)
		for range 5 {
			w.step()
		}
		next := api.Clone(spec)
		next.TaskTemplate.ContainerSpec.Image = "app:2"
		w.respec(w.v.Service("web"), next)
		wave, over, deaths := 0, 0, 0
		for range 300 {
			w.step()
			if deaths < 8 && rapid.IntRange(0, 5).Draw(t, "leader dies") == 0 {
				w.newLeader()
				deaths++
			}
			s := w.v.Service("web")
			if s.Rollout.Wave != wave {
				if pause := w.seconds - over; wave > 0 && time.Duration(pause)*time.Second < spec.UpdateConfig.Delay {
					t.Fatalf("wave %d begins %d s after the one before\n%s", s.Rollout.Wave, pause, w.log.String())
				}
				wave, over = s.Rollout.Wave, 0
			}
			if over == 0 && runs(w.v, s.Rollout.Tasks) {
				over = w.seconds
			}
		}
		s := w.v.Service("web")
		if s.Rollout.State != api.UpdateCompleted || s.Rollout.Wave != int((6+spec.UpdateConfig.Parallelism-1)/spec.UpdateConfig.Parallelism) {
			t.Fatalf("ends as %+v\n%s", s.Rollout, w.log.String())
		}
	})
}

func runs(v *store.View, tasks []api.TaskID) bool {
	for _, id := range tasks {
		if v.Task(id).Status.State != api.TaskRunning {
			return false
		}
	}
	return true
}

// TestDirtyAndOrphans plans only what it is told to.
func TestDirtyAndOrphans(t *testing.T) {
	spec := api.ServiceSpec{Annotations: api.Annotations{Name: "web"}}.Defaults()
	v := store.NewView(
		&api.Service{ID: "web", SpecVersion: 1, Spec: spec}, &api.Service{ID: "db", SpecVersion: 1, Spec: spec},
		&api.Task{ID: "lost", ServiceID: "gone"},
	)
	plan := func(dirty map[api.ServiceID]bool) (puts, deletes int) {
		n := 0
		r := orchestrator.Plan(v, orchestrator.Input{Dirty: dirty, NewID: func() api.TaskID { n++; return api.TaskID(fmt.Sprint(n)) }})
		return len(r.Puts), len(r.Deletes)
	}
	for _, c := range []struct {
		dirty         map[api.ServiceID]bool
		puts, deletes int
	}{
		{nil, 2, 1},
		{map[api.ServiceID]bool{}, 0, 0},
		{map[api.ServiceID]bool{"web": true, "db": false}, 1, 0},
		{map[api.ServiceID]bool{"gone": true}, 0, 1},
	} {
		if puts, deletes := plan(c.dirty); puts != c.puts || deletes != c.deletes {
			t.Errorf("with %v dirty: %d puts, %d deletes, want %d and %d", c.dirty, puts, deletes, c.puts, c.deletes)
		}
	}
}

// BenchmarkPlan plans a fleet on which nothing is to be done.
func BenchmarkPlan(b *testing.B) {
	var objects []api.Object
	for i := range 1000 {
		objects = append(objects, &api.Node{ID: api.NodeID(fmt.Sprintf("n%04d", i)), Status: api.NodeStatus{State: api.NodeReady}})
	}
	for i := range 100 {
		spec := api.ServiceSpec{Annotations: api.Annotations{Name: fmt.Sprint("s", i)}, Mode: api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: new(uint64(100))}}}.Defaults()
		objects = append(objects, &api.Service{ID: api.ServiceID(fmt.Sprint("s", i)), SpecVersion: 1, Spec: spec})
	}
	v := store.NewView(objects...)
	n := 0
	id := func() api.TaskID { n++; return api.TaskID(fmt.Sprintf("t%06d", n)) }
	plan := orchestrator.Plan(v, orchestrator.Input{NewID: id})
	v = v.With(plan.Puts, nil)
	v = v.With(scheduler.Place(v).Puts, nil)
	b.ReportAllocs()
	for b.Loop() {
		if r := orchestrator.Plan(v, orchestrator.Input{NewID: id}); len(r.Puts) > 0 {
			b.Fatal("something is planned")
		}
	}
}

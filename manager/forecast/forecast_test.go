package forecast

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// fleet is so many boards, and a service of replicas that run on them in turn.
func fleet(boards, replicas int) *store.View {
	var objects []api.Object
	for i := range boards {
		id := string(rune('a' + i))
		objects = append(objects, &api.Node{
			ID: api.NodeID(id), Status: api.NodeStatus{State: api.NodeReady},
			Description: api.NodeDescription{Hostname: "board-" + id, Resources: api.Resources{MemoryBytes: 1 << 30}},
		})
	}
	spec := api.ServiceSpec{
		Annotations: api.Annotations{Name: "web"}, Mode: api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: new(uint64(replicas))}},
		TaskTemplate: api.TaskSpec{ContainerSpec: api.ContainerSpec{Image: "web:1@sha256:1"}},
	}.Defaults()
	objects = append(objects, &api.Service{ID: "web", Spec: spec, SpecVersion: 1})
	for i := range replicas {
		objects = append(objects, &api.Task{
			ID: api.TaskID(fmt.Sprintf("t%03d", i+1)), ServiceID: "web", ServiceName: "web", Slot: i + 1, NodeID: api.NodeID(rune('a' + i%boards)),
			Spec: spec.TaskTemplate, SpecVersion: 1, DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskRunning, Attempt: 1},
		})
	}
	return store.NewView(objects...)
}

// change is the view with another spec of its service.
func change(v *store.View, version uint64, edit func(*api.ServiceSpec)) *store.View {
	next := *v.Service("web")
	next.Spec = api.Clone(next.Spec)
	edit(&next.Spec)
	next.SpecVersion = version
	return v.With([]api.Object{&next}, nil)
}

func text(r *api.ForecastServiceResponse) string {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%d %s %s %s>%s: %s\n", s.Wave, s.Task, s.Action, s.From, s.To, s.Why)
	}
	fmt.Fprintf(&b, "%d in %d waves", r.Replaced, r.Waves)
	return b.String()
}

func TestForecast(t *testing.T) {
	for name, c := range map[string]struct {
		v    *store.View
		want string
	}{
		"nothing": {fleet(2, 2), "0 in 0 waves"},
		"an update, wave by wave": {change(fleet(2, 3), 2, func(s *api.ServiceSpec) {
			s.TaskTemplate.ContainerSpec.Image, s.UpdateConfig.Parallelism, s.UpdateConfig.Delay = "web:2@sha256:2", 2, time.Hour
		}), `1 web.1 replace board-a>board-a: its image changes from web:1 to web:2
1 web.2 replace board-b>board-b: its image changes from web:1 to web:2
2 web.3 replace board-a>board-a: its image changes from web:1 to web:2
3 in 2 waves`},
		"scaled up": {change(fleet(2, 1), 1, func(s *api.ServiceSpec) { s.Mode.Replicated.Replicas = new(uint64(3)) }),
			`0 web.2 start >board-b: 3 tasks are wanted
0 web.3 start >board-a: 3 tasks are wanted
0 in 0 waves`},
		"scaled down": {change(fleet(2, 3), 1, func(s *api.ServiceSpec) { s.Mode.Replicated.Replicas = new(uint64(1)) }),
			`0 web.2 stop board-b>: fewer tasks are wanted
0 web.3 stop board-a>: fewer tasks are wanted
0 in 0 waves`},
		"where it may not run": {change(fleet(2, 2), 2, func(s *api.ServiceSpec) {
			s.TaskTemplate.Placement = &api.Placement{Constraints: []string{"node.hostname==board-a"}}
		}), `0 web.2 move board-b>board-a: its node may not keep it
0 in 0 waves`},
		"too big": {change(fleet(1, 0), 2, func(s *api.ServiceSpec) {
			s.Mode.Replicated.Replicas = new(uint64(1))
			s.TaskTemplate.Resources = &api.ResourceRequirements{Reservations: &api.Resources{MemoryBytes: 2 << 30}}
		}), `0 web.1 wait >: no suitable node: 1 lacks 2 GB free
0 in 0 waves`},
	} {
		t.Run(name, func(t *testing.T) {
			before := c.v.Tasks.Len()
			r := Service(c.v, "web")
			if got := text(r); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if again := Service(c.v, "web"); !reflect.DeepEqual(r, again) || c.v.Tasks.Len() != before {
				t.Error("the same view, but another forecast")
			}
		})
	}
}

// TestLongUpdate counts all of what it looks at only the beginning of.
func TestLongUpdate(t *testing.T) {
	r := Service(change(fleet(3, 100), 2, func(s *api.ServiceSpec) { s.TaskTemplate.ContainerSpec.Image = "web:2" }), "web")
	if r.Replaced != 100 || r.Waves != 100 || len(r.Steps) == 0 || len(r.Steps) > 2*maxWaves {
		t.Errorf("%d replaced in %d waves, %d steps", r.Replaced, r.Waves, len(r.Steps))
	}
}

// TestRebalance tells what each service would move once those before it did.
func TestRebalance(t *testing.T) {
	v := fleet(3, 6)
	var objects []api.Object
	for task := range v.Tasks.All() {
		next := *task
		if next.NodeID == "c" {
			next.NodeID = "a"
		}
		objects = append(objects, &next)
	}
	db := *v.Service("web")
	db.ID, db.Spec.Name = "db", "db"
	for i, node := range []api.NodeID{"a", "a"} {
		objects = append(objects, &api.Task{
			ID: api.TaskID(fmt.Sprint("db", i)), ServiceID: "db", ServiceName: "db", Slot: i + 1, NodeID: node,
			DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskRunning},
		})
	}
	v = v.With(append(objects, &db), nil)
	plan := Rebalance(v, []*api.Service{v.Service("db"), v.Service("web")})
	want := `1 db.2 move board-a>board-c: board-a has 2 of its tasks, board-c has 0
2 db.1 move board-a>board-b: it lies more evenly on board-b
1 web.6 move board-a>board-c: board-a has 4 of its tasks, board-c has 0
2 web.4 move board-a>board-c: board-a has 3 of its tasks, board-c has 1
0 in 2 waves`
	if got := text(&plan.ForecastServiceResponse); got != want || !plan.Uneven["db"] || !plan.Uneven["web"] {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	one := Rebalance(v, []*api.Service{v.Service("db")})
	if len(one.Steps) != 2 || one.Uneven["web"] {
		t.Errorf("of one service: %+v", one)
	}
}

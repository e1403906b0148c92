package scheduler

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// drawUneven is a fleet whose tasks lie anyhow, of two services.
func drawUneven(t *rapid.T, bounds bool) *store.View {
	var objects []api.Object
	nodes := rapid.IntRange(1, 7).Draw(t, "nodes")
	for i := range nodes {
		n := &api.Node{ID: api.NodeID('a' + rune(i)), Status: api.NodeStatus{State: api.NodeReady}, Description: api.NodeDescription{Resources: api.Resources{MemoryBytes: 20}}}
		n.Spec.Labels = map[string]string{"zone": rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "zone")}
		if bounds {
			n.Spec.Availability = rapid.SampledFrom([]api.Availability{api.AvailabilityActive, api.AvailabilityActive, api.AvailabilityPause}).Draw(t, "availability")
			n.Description.Resources.MemoryBytes = rapid.Int64Range(0, 10).Draw(t, "mem")
		}
		objects = append(objects, n)
	}
	for _, id := range []api.ServiceID{"db", "web"} {
		spec := api.ServiceSpec{Mode: api.ServiceMode{Replicated: &api.ReplicatedService{}}}
		spec.TaskTemplate.Placement = &api.Placement{}
		if bounds {
			spec.TaskTemplate.Resources = &api.ResourceRequirements{Reservations: &api.Resources{MemoryBytes: rapid.Int64Range(0, 3).Draw(t, "needs")}}
			spec.TaskTemplate.Placement.MaxReplicas = rapid.Uint64Range(0, 4).Draw(t, "max")
			if rapid.Bool().Draw(t, "spread") {
				spec.TaskTemplate.Placement.Preferences = []api.PlacementPreference{{Spread: &api.SpreadOver{SpreadDescriptor: "node.labels.zone"}}}
			}
			if rapid.IntRange(0, 3).Draw(t, "constrained") == 0 {
				spec.TaskTemplate.Placement.Constraints = []string{"node.labels.zone!=x"}
			}
			if rapid.IntRange(0, 3).Draw(t, "port") == 0 {
				spec.EndpointSpec = &api.EndpointSpec{Ports: []api.PortConfig{{Protocol: api.TCP, TargetPort: 80, PublishedPort: rapid.SampledFrom([]uint16{0, 80}).Draw(t, "published"), PublishMode: api.PublishHost}}}
			}
		}
		objects = append(objects, &api.Service{ID: id, Spec: spec, SpecVersion: 1})
		for slot := range rapid.IntRange(0, 12).Draw(t, "tasks") {
			task := &api.Task{
				ID: api.TaskID(fmt.Sprintf("%s-%02d", id, slot)), ServiceID: id, Slot: slot + 1, Spec: api.Clone(spec.TaskTemplate), SpecVersion: 1,
				NodeID: api.NodeID('a' + rune(rapid.IntRange(0, nodes-1).Draw(t, "at"))), DesiredState: api.TaskRunning,
				Status: api.TaskStatus{State: rapid.SampledFrom([]api.TaskState{api.TaskAssigned, api.TaskRunning}).Draw(t, "state"), Attempt: 1},
			}
			if bounds && rapid.IntRange(0, 4).Draw(t, "volume") == 0 {
				task.Spec.ContainerSpec.Mounts = []api.Mount{{Type: api.MountVolume, Source: "data", Target: "/data"}}
			}
			objects = append(objects, task)
		}
	}
	return store.NewView(objects...)
}

// carryOut makes the moves one after the other, and fails if one can't be made.
func carryOut(t *rapid.T, v *store.View, moves []Move) *store.View {
	for _, m := range moves {
		old := v.Task(m.Task.ID)
		if old.NodeID != m.From || bound(old) {
			t.Fatalf("%s is not to move from %s", old.ID, m.From)
		}
		next := *old
		next.NodeID, next.Status.State, next.DesiredState, next.Preferred, next.Ports = "", api.TaskNew, api.TaskRunning, m.To, nil
		if e := v.Service(old.ServiceID).Spec.EndpointSpec; e != nil {
			next.Ports = e.Ports
		}
		v = v.With([]api.Object{&next}, nil)
		placed := Place(v).Puts
		if len(placed) != 1 || placed[0].(*api.Task).NodeID != m.To {
			t.Fatalf("%s can't go to %s: it is placed as %+v", old.ID, m.To, placed[0].(*api.Task).Status)
		}
		runs := *placed[0].(*api.Task)
		runs.Status.State = api.TaskRunning
		v = v.With([]api.Object{&runs}, nil)
	}
	return v
}

// TestRebalanceIsSoundAndComesToAnEnd: each move can be made when it is its
// turn, nothing that is bound moves, the first so many are the same however many
// are asked for, and after all there is none left.
func TestRebalanceIsSoundAndComesToAnEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawUneven(t, true)
		moves := Rebalance(v, "web", 0)
		if again := Rebalance(v, "web", 0); !reflect.DeepEqual(moves, again) {
			t.Fatalf("equal input, but other moves: %v, %v", moves, again)
		}
		if n := len(moves); n > 0 {
			first := rapid.IntRange(1, n).Draw(t, "first")
			if few := Rebalance(v, "web", first); !reflect.DeepEqual(few, moves[:first]) {
				t.Fatalf("the first %d are %v, of all %v", first, few, moves)
			}
		}
		v = carryOut(t, v, moves)
		if more := Rebalance(v, "web", 0); len(more) > 0 {
			t.Fatalf("%d moves, and then %v", len(moves), more)
		}
	})
}

// TestRebalanceMovesAsFewAsItTakes: where nothing is in the way, nodes end
// within one of each other, by as many moves as there were tasks too many.
func TestRebalanceMovesAsFewAsItTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawUneven(t, false)
		counts := func(v *store.View) map[api.NodeID]int {
			n := map[api.NodeID]int{}
			for node := range v.Nodes.All() {
				n[node.ID] = 0
			}
			for task := range v.TasksOf("web") {
				n[task.NodeID]++
			}
			return n
		}
		total := 0
		for range v.TasksOf("web") {
			total++
		}
		most, least := (total+v.Nodes.Len()-1)/v.Nodes.Len(), total/v.Nodes.Len()
		over, under := 0, 0
		for _, n := range counts(v) {
			over, under = over+max(0, n-most), under+max(0, least-n)
		}
		moves := Rebalance(v, "web", 0)
		byCount := 0
		for _, m := range moves {
			if m.Had-m.Has > 1 {
				byCount++
			}
		}
		if byCount != max(over, under) {
			t.Fatalf("%d moves even out %v, %d do", byCount, counts(v), max(over, under))
		}
		after := counts(carryOut(t, v, moves))
		for node, n := range after {
			if n < least || n > most {
				t.Fatalf("%s has %d of %d tasks: %v", node, n, total, after)
			}
		}
	})
}

// TestRebalanceSpreadsAsPreferred: zones come before nodes, and what all
// services have before nothing.
func TestRebalanceSpreadsAsPreferred(t *testing.T) {
	spec := api.ServiceSpec{Mode: api.ServiceMode{Replicated: &api.ReplicatedService{}}}
	spec.TaskTemplate.Placement = &api.Placement{Preferences: []api.PlacementPreference{{Spread: &api.SpreadOver{SpreadDescriptor: "node.labels.zone"}}}}
	objects := []api.Object{&api.Service{ID: "web", Spec: spec}, &api.Service{ID: "db"}}
	for id, zone := range map[api.NodeID]string{"a": "attic", "b": "attic", "c": "cellar", "d": "cellar"} {
		n := &api.Node{ID: id, Status: api.NodeStatus{State: api.NodeReady}}
		n.Spec.Labels = map[string]string{"zone": zone}
		objects = append(objects, n)
	}
	add := func(service api.ServiceID, slot int, node api.NodeID) {
		objects = append(objects, &api.Task{
			ID: api.TaskID(fmt.Sprint(service, slot)), ServiceID: service, Slot: slot, NodeID: node, Spec: spec.TaskTemplate,
			DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskRunning},
		})
	}
	for slot, node := range []api.NodeID{"a", "a", "b", "b"} {
		add("web", slot+1, node)
	}
	add("db", 1, "c")
	got := ""
	for _, m := range Rebalance(store.NewView(objects...), "web", 0) {
		got += fmt.Sprintf("%s %s>%s ", m.Task.ID, m.From, m.To)
	}
	if want := "web4 b>d web2 a>c "; got != want {
		t.Errorf("moves %q, want %q", got, want)
	}
}

// BenchmarkRebalance finds the moves of a wave of ten in a fleet of 1,000 nodes
// of which 200 are new.
func BenchmarkRebalance(b *testing.B) {
	var objects []api.Object
	for i := range 1000 {
		objects = append(objects, &api.Node{ID: api.NodeID(fmt.Sprintf("n%04d", i)), Status: api.NodeStatus{State: api.NodeReady}})
	}
	objects = append(objects, &api.Service{ID: "web", Spec: api.ServiceSpec{Mode: api.ServiceMode{Replicated: &api.ReplicatedService{}}}})
	for i := range 10000 {
		objects = append(objects, &api.Task{
			ID: api.TaskID(fmt.Sprintf("t%05d", i)), ServiceID: "web", Slot: i + 1, NodeID: api.NodeID(fmt.Sprintf("n%04d", i%800)),
			DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskRunning},
		})
	}
	v := store.NewView(objects...)
	for b.Loop() {
		if n := len(Rebalance(v, "web", 10)); n != 10 {
			b.Fatal(n)
		}
	}
}

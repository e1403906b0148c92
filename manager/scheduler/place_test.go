package scheduler

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// TestPlacementsKeepTheRules places random tasks on random fleets, and counts
// by itself what every node then holds.
func TestPlacementsKeepTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := randomFleet(t)
		result := Place(v)
		if again := Place(v); !reflect.DeepEqual(result, again) {
			t.Fatal("equal input, but another plan")
		}
		next := v.With(result.Puts, nil)
		if more := Place(next); len(more.Puts) > 0 {
			t.Fatalf("placing again changes %d tasks", len(more.Puts))
		}
		for _, obj := range result.Puts {
			task := obj.(*api.Task)
			if task.Status.State != api.TaskAssigned {
				if task.Status.State != api.TaskPending || task.Status.Message == "" {
					t.Fatalf("%s is %s and does not say why", task.ID, task.Status.State)
				}
				continue
			}
			mayRun(t, next, task)
		}
		for n := range next.Nodes.All() {
			holds(t, v, next, n)
		}
		nothingLeftOut(t, next)
	})
}

func randomFleet(t *rapid.T) *store.View {
	var objects []api.Object
	zones := []string{"attic", "cellar"}
	nodes := rapid.IntRange(0, 6).Draw(t, "nodes")
	for i := range nodes {
		objects = append(objects, &api.Node{
			ID: api.NodeID(fmt.Sprint("n", i)),
			Spec: api.NodeSpec{
				Availability: rapid.SampledFrom([]api.Availability{"", api.AvailabilityActive, api.AvailabilityDrain, api.AvailabilityPause}).Draw(t, "availability"),
				Annotations:  api.Annotations{Labels: map[string]string{"zone": rapid.SampledFrom(zones).Draw(t, "zone")}},
			},
			Status: api.NodeStatus{State: rapid.SampledFrom([]api.NodeState{api.NodeReady, api.NodeReady, api.NodeReady, api.NodeDown}).Draw(t, "state")},
			Description: api.NodeDescription{
				Platform:  api.Platform{OS: "linux", Architecture: rapid.SampledFrom([]string{"arm64", "amd64"}).Draw(t, "arch")},
				Resources: api.Resources{MemoryBytes: rapid.Int64Range(0, 8).Draw(t, "mem"), NanoCPUs: 4, GenericResources: drawGeneric(t)},
			},
		})
	}
	for s := range rapid.IntRange(1, 4).Draw(t, "services") {
		spec := api.TaskSpec{
			Resources: &api.ResourceRequirements{Reservations: &api.Resources{MemoryBytes: rapid.Int64Range(0, 3).Draw(t, "need"), NanoCPUs: rapid.Int64Range(0, 2).Draw(t, "cpus"), GenericResources: drawAsked(t)}},
			Placement: &api.Placement{MaxReplicas: rapid.Uint64Range(0, 2).Draw(t, "max")},
		}
		if rapid.Bool().Draw(t, "constrained") {
			spec.Placement.Constraints = []string{"node.labels.zone==attic"}
		}
		if rapid.Bool().Draw(t, "one platform") {
			spec.Placement.Platforms = []api.Platform{{OS: "linux", Architecture: "amd64"}}
		}
		var ports []api.PortConfig
		if port := rapid.IntRange(-1, 2).Draw(t, "port"); port >= 0 {
			ports = []api.PortConfig{{Protocol: api.TCP, TargetPort: 80, PublishMode: api.PublishHost, PublishedPort: uint16(port)}}
		}
		for slot := range rapid.IntRange(0, 6).Draw(t, "slots") {
			task := &api.Task{
				ID: api.TaskID(fmt.Sprintf("s%d.%d", s, slot)), ServiceID: api.ServiceID(fmt.Sprint("s", s)), Slot: slot + 1, SpecVersion: 1,
				Spec: spec, Ports: ports, DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskNew},
			}
			objects = append(objects, task)
			if nodes > 0 && rapid.IntRange(0, 3).Draw(t, "has an old one") == 0 {
				old := *task
				old.ID, old.NodeID = task.ID+"-old", api.NodeID(fmt.Sprint("n", rapid.IntRange(0, nodes-1).Draw(t, "on")))
				old.Status.State, old.DesiredState = api.TaskRunning, api.TaskShutdown
				old.Ports = nil
				if held := drawGeneric(t); rapid.Bool().Draw(t, "holds") && distinct(held, objects, old.NodeID) {
					old.GenericResources = held
				}
				task.Replaces = old.ID
				objects = append(objects, &old)
			}
		}
	}
	return store.NewView(objects...)
}

func mayRun(t *rapid.T, v *store.View, task *api.Task) {
	n := v.Node(task.NodeID)
	if n.Status.State != api.NodeReady || n.Spec.Availability == api.AvailabilityDrain || n.Spec.Availability == api.AvailabilityPause {
		t.Fatalf("%s is on %s, which takes no tasks", task.ID, n.ID)
	}
	if constraints, _ := api.ParseConstraints(task.Spec.Placement.Constraints); !constraints.Match(n) {
		t.Fatalf("%s is on %s against its constraints", task.ID, n.ID)
	}
	if p := task.Spec.Placement.Platforms; len(p) > 0 && n.Description.Platform.Architecture != p[0].Architecture {
		t.Fatalf("%s is on %s, whose platform is another", task.ID, n.ID)
	}
	same := 0
	for other := range v.TasksOf(task.ServiceID) {
		if other.NodeID == n.ID && other.Live() {
			same++
		}
	}
	if limit := task.Spec.Placement.MaxReplicas; limit > 0 && uint64(same) > limit {
		t.Fatalf("%s has %d of a service with at most %d", n.ID, same, limit)
	}
}

// holds checks that what may run at once on a node fits, unless it did not
// before either. A task and the one it swaps with never run at once.
func holds(t *rapid.T, before, after *store.View, n *api.Node) {
	var had, has api.Resources
	generic(t, before, after, n)
	ports := map[uint16]api.TaskID{}
	for task := range before.TasksOn(n.ID) {
		had.MemoryBytes += reserved(task).MemoryBytes
		had.NanoCPUs += reserved(task).NanoCPUs
	}
	for task := range after.TasksOn(n.ID) {
		need := reserved(task)
		if old := after.Task(task.Replaces); old != nil && old.NodeID == n.ID {
			has.MemoryBytes += max(0, need.MemoryBytes-reserved(old).MemoryBytes)
			has.NanoCPUs += max(0, need.NanoCPUs-reserved(old).NanoCPUs)
		} else {
			has.MemoryBytes += need.MemoryBytes
			has.NanoCPUs += need.NanoCPUs
		}
		for _, p := range task.Ports {
			if holder, taken := ports[p.PublishedPort]; taken || p.PublishedPort == 0 {
				t.Fatalf("port %d of %s is both %s's and %s's", p.PublishedPort, n.ID, holder, task.ID)
			}
			ports[p.PublishedPort] = task.ID
		}
	}
	if r := n.Description.Resources; has.MemoryBytes > max(r.MemoryBytes, had.MemoryBytes) || has.NanoCPUs > max(r.NanoCPUs, had.NanoCPUs) {
		t.Fatalf("%s has %+v of %+v taken", n.ID, has, r)
	}
}

// nothingLeftOut checks that a task waits only if no node could take it.
func nothingLeftOut(t *rapid.T, v *store.View) {
	p := &placer{v: v, fleet: Sum(v).fleet(v)}
	for task := range v.Tasks.All() {
		if task.Status.State != api.TaskPending {
			continue
		}
		for _, n := range p.fleet.nodes {
			if p.fits(n, task, nil).ok() {
				t.Fatalf("%s waits, but %s could take it", task.ID, n.ID)
			}
		}
	}
}

// benchmarkFleet has so many nodes and as many tasks waiting, of 100 services.
func benchmarkFleet(nodes, tasks int) *store.View {
	var objects []api.Object
	for i := range nodes {
		objects = append(objects, &api.Node{
			ID: api.NodeID(fmt.Sprintf("n%05d", i)), Status: api.NodeStatus{State: api.NodeReady},
			Spec:        api.NodeSpec{Annotations: api.Annotations{Labels: map[string]string{"zone": "attic"}}},
			Description: api.NodeDescription{Platform: api.Platform{OS: "linux", Architecture: "arm64"}, Resources: api.Resources{MemoryBytes: 1 << 40, NanoCPUs: 1 << 40}},
		})
	}
	for i := range tasks {
		objects = append(objects, &api.Task{
			ID: api.TaskID(fmt.Sprintf("t%05d", i)), ServiceID: api.ServiceID(fmt.Sprint("s", i%100)), Slot: i/100 + 1, SpecVersion: 1,
			DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskNew},
			Spec: api.TaskSpec{
				Placement: &api.Placement{Constraints: []string{"node.labels.zone==attic"}, Platforms: []api.Platform{{OS: "linux", Architecture: "arm64"}}},
				Resources: &api.ResourceRequirements{Reservations: &api.Resources{MemoryBytes: 1 << 20}},
			},
			Ports: []api.PortConfig{{Protocol: api.TCP, TargetPort: 80, PublishMode: api.PublishHost}},
		})
	}
	return store.NewView(objects...)
}

func BenchmarkPlace(b *testing.B) {
	for _, size := range []struct{ nodes, tasks int }{{1000, 10000}, {100, 10000}, {3, 30}} {
		b.Run(fmt.Sprintf("%dx%d", size.nodes, size.tasks), func(b *testing.B) {
			v := benchmarkFleet(size.nodes, size.tasks)
			b.ReportAllocs()
			for b.Loop() {
				if len(Place(v).Puts) != size.tasks {
					b.Fatal("not all placed")
				}
			}
		})
	}
	b.Run("1000x10000, one waits", func(b *testing.B) {
		v := benchmarkFleet(1000, 10000)
		v = v.With(Place(v).Puts, nil)
		task := *v.Task("t00000")
		task.NodeID, task.Status.State, task.Ports = "", api.TaskNew, nil
		v = v.With([]api.Object{&task}, nil)
		b.ReportAllocs()
		for b.Loop() {
			if len(Place(v).Puts) != 1 {
				b.Fatal("not placed")
			}
		}
	})
}

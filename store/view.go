package store

import (
	"iter"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// View is the state after one log entry. It never changes, may be kept, and is
// read from any goroutine. Its objects are shared: copy before changing.
type View struct {
	// Index is that of the last entry applied; Time the fleet's time at it.
	Index uint64
	Time  time.Time

	Clusters Table[*api.Cluster]
	Nodes    Table[*api.Node]
	Services Table[*api.Service]
	Tasks    Table[*api.Task]
	Images   Table[*api.Image]

	requests requestLog
}

// Index names.
const (
	byName    = "name"
	byService = "service"
	byNode    = "node"
)

var (
	clusterSchema = &schema[*api.Cluster]{name: "cluster", noun: "cluster"}
	nodeSchema    = &schema[*api.Node]{name: "node", noun: "node", indexes: map[string]func(*api.Node) []string{
		byName: func(n *api.Node) []string { return []string{n.Name()} }, // not unique: see DESIGN, nouns
	}}
	serviceSchema = &schema[*api.Service]{name: "service", noun: "service", unique: map[string]bool{byName: true},
		indexes: map[string]func(*api.Service) []string{
			byName: func(s *api.Service) []string { return []string{s.Spec.Name} },
		}}
	taskSchema = &schema[*api.Task]{name: "task", noun: "task", indexes: map[string]func(*api.Task) []string{
		byService: func(t *api.Task) []string { return []string{string(t.ServiceID)} },
		byNode:    func(t *api.Task) []string { return []string{string(t.NodeID)} },
	}}
	imageSchema = &schema[*api.Image]{name: "image", noun: "image", unique: map[string]bool{byName: true},
		indexes: map[string]func(*api.Image) []string{
			byName: func(i *api.Image) []string { return i.Names },
		}}
)

// NewView returns a view of the given objects, as tests and planners use it.
// It panics on an object that is of no table.
func NewView(objects ...api.Object) *View {
	v := emptyView()
	for _, obj := range objects {
		if !v.put(obj) {
			panic("store: no table for this object")
		}
	}
	return v
}

func emptyView() *View {
	return &View{
		Clusters: newTable(clusterSchema), Nodes: newTable(nodeSchema), Services: newTable(serviceSchema),
		Tasks: newTable(taskSchema), Images: newTable(imageSchema),
	}
}

// put changes a view that nobody else has seen yet.
func (v *View) put(obj api.Object) bool {
	switch obj := obj.(type) {
	case *api.Cluster:
		v.Clusters = v.Clusters.with(obj)
	case *api.Node:
		v.Nodes = v.Nodes.with(obj)
	case *api.Service:
		v.Services = v.Services.with(obj)
	case *api.Task:
		v.Tasks = v.Tasks.with(obj)
	case *api.Image:
		v.Images = v.Images.with(obj)
	default:
		return false
	}
	return true
}

// With returns a view in which the objects are put and the deleted ones gone:
// what a planner uses to see its own plan. Versions are not checked.
func (v *View) With(puts []api.Object, deletes []api.Object) *View {
	next := *v
	for _, obj := range deletes {
		next.drop(obj)
	}
	for _, obj := range puts {
		next.put(obj)
	}
	return &next
}

func (v *View) drop(obj api.Object) {
	switch obj.(type) {
	case *api.Cluster:
		v.Clusters = v.Clusters.without(obj.Key())
	case *api.Node:
		v.Nodes = v.Nodes.without(obj.Key())
	case *api.Service:
		v.Services = v.Services.without(obj.Key())
	case *api.Task:
		v.Tasks = v.Tasks.without(obj.Key())
	case *api.Image:
		v.Images = v.Images.without(obj.Key())
	}
}

// Cluster is the fleet's object, nil before the founding entry.
func (v *View) Cluster() *api.Cluster {
	c, _ := v.Clusters.Get(api.ClusterKey)
	return c
}

// Node, Service, Task and Image find an object by ID; nil if there is none.
func (v *View) Node(id api.NodeID) *api.Node {
	n, _ := v.Nodes.Get(string(id))
	return n
}

// Service finds a service by ID; nil if there is none.
func (v *View) Service(id api.ServiceID) *api.Service {
	s, _ := v.Services.Get(string(id))
	return s
}

// Task finds a task by ID; nil if there is none.
func (v *View) Task(id api.TaskID) *api.Task {
	t, _ := v.Tasks.Get(string(id))
	return t
}

// Image finds an image by ID; nil if there is none.
func (v *View) Image(id api.ImageID) *api.Image {
	i, _ := v.Images.Get(string(id))
	return i
}

// ServiceByName finds a service by its name; nil if there is none.
func (v *View) ServiceByName(name string) *api.Service { return first(v.Services.By(byName, name)) }

// ImageByName finds the image that a full reference resolves to; nil if none.
func (v *View) ImageByName(name string) *api.Image { return first(v.Images.By(byName, name)) }

// NodesByName yields the nodes of a name; there may be several.
func (v *View) NodesByName(name string) iter.Seq[*api.Node] { return v.Nodes.By(byName, name) }

// TasksOf yields a service's tasks, ended ones included, in order of ID.
func (v *View) TasksOf(id api.ServiceID) iter.Seq[*api.Task] {
	return v.Tasks.By(byService, string(id))
}

// TasksOn yields a node's tasks, ended ones included; "" has the unplaced ones.
func (v *View) TasksOn(id api.NodeID) iter.Seq[*api.Task] { return v.Tasks.By(byNode, string(id)) }

func first[T any](seq iter.Seq[*T]) *T {
	for obj := range seq {
		return obj
	}
	return nil
}

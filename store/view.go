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
	Secrets  Table[*api.Secret]
	Configs  Table[*api.Config]
	Networks Table[*api.Network]

	requests requestLog
}

// NewView returns a view of the given objects, as tests and planners use it.
// It panics on an object that is of no table.
func NewView(objects ...api.Object) *View {
	for _, obj := range objects {
		if nounFor(obj) < 0 {
			panic("store: no table for this object")
		}
	}
	return emptyView().With(objects, nil)
}

func emptyView() *View {
	v := &View{requests: newRequestLog()}
	for _, n := range nouns {
		n.empty(v)
	}
	return v
}

// With returns a view in which the objects are put and the deleted ones gone:
// what a planner uses to see its own plan. Versions are not checked, and an
// object that is of no table is passed over.
func (v *View) With(puts []api.Object, deletes []api.Object) *View {
	next := *v
	type edit struct {
		puts  []api.Object
		drops []string
	}
	edits := make([]edit, len(nouns))
	for _, obj := range deletes {
		if n := nounFor(obj); n >= 0 {
			edits[n].drops = append(edits[n].drops, obj.Key())
		}
	}
	for _, obj := range puts {
		if n := nounFor(obj); n >= 0 {
			edits[n].puts = append(edits[n].puts, obj)
		}
	}
	for n, e := range edits {
		if len(e.puts)+len(e.drops) > 0 {
			nouns[n].edit(&next, e.puts, e.drops)
		}
	}
	return &next
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

// Network finds a network by ID; nil if there is none.
func (v *View) Network(id api.NetworkID) *api.Network {
	n, _ := v.Networks.Get(string(id))
	return n
}

// ServiceByName finds a service by its name; nil if there is none.
func (v *View) ServiceByName(name string) *api.Service { return first(v.Services.By(byName, name)) }

// ImageByName finds the image that a full reference resolves to; nil if none.
func (v *View) ImageByName(name string) *api.Image { return first(v.Images.By(byName, name)) }

// SecretByName finds a secret by its name; nil if there is none.
func (v *View) SecretByName(name string) *api.Secret { return first(v.Secrets.By(byName, name)) }

// ConfigByName finds a config by its name; nil if there is none.
func (v *View) ConfigByName(name string) *api.Config { return first(v.Configs.By(byName, name)) }

// NetworkByName finds a network by its name; nil if there is none.
func (v *View) NetworkByName(name string) *api.Network { return first(v.Networks.By(byName, name)) }

// IngressNetwork is the network of published ports; nil if there is none.
func (v *View) IngressNetwork() *api.Network {
	for n := range v.Networks.All() {
		if n.Spec.Ingress {
			return n
		}
	}
	return nil
}

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

package store

import (
	"fmt"
	"iter"

	"github.com/edgeswarm/edgeswarm/api"
)

// nouns are the tables, in the order of snapshots. A new noun is one line here
// and its table in View.
var nouns = []noun{
	nounOf(clusterSchema, func(v *View) *Table[*api.Cluster] { return &v.Clusters }, func() *api.Cluster { return new(api.Cluster) }),
	nounOf(nodeSchema, func(v *View) *Table[*api.Node] { return &v.Nodes }, func() *api.Node { return new(api.Node) }),
	nounOf(serviceSchema, func(v *View) *Table[*api.Service] { return &v.Services }, func() *api.Service { return new(api.Service) }),
	nounOf(taskSchema, func(v *View) *Table[*api.Task] { return &v.Tasks }, func() *api.Task { return new(api.Task) }),
	nounOf(imageSchema, func(v *View) *Table[*api.Image] { return &v.Images }, func() *api.Image { return new(api.Image) }),
	nounOf(secretSchema, func(v *View) *Table[*api.Secret] { return &v.Secrets }, func() *api.Secret { return new(api.Secret) }),
	nounOf(configSchema, func(v *View) *Table[*api.Config] { return &v.Configs }, func() *api.Config { return new(api.Config) }),
	nounOf(networkSchema, func(v *View) *Table[*api.Network] { return &v.Networks }, func() *api.Network { return new(api.Network) }),
}

// Index names.
const (
	byName    = "name"
	byService = "service"
	byNode    = "node"
)

var (
	clusterSchema = &schema[*api.Cluster]{name: "cluster"}
	nodeSchema    = &schema[*api.Node]{name: "node", indexes: []index[*api.Node]{
		{name: byName, values: func(n *api.Node) []string { return []string{n.Name()} }}, // not unique: see DESIGN, nouns
	}}
	serviceSchema = &schema[*api.Service]{name: "service", indexes: []index[*api.Service]{
		{name: byName, unique: true, values: func(s *api.Service) []string { return []string{s.Spec.Name} }},
	}}
	taskSchema = &schema[*api.Task]{name: "task", indexes: []index[*api.Task]{
		{name: byService, values: func(t *api.Task) []string { return []string{string(t.ServiceID)} }},
		{name: byNode, values: func(t *api.Task) []string { return []string{string(t.NodeID)} }},
	}}
	imageSchema = &schema[*api.Image]{name: "image", indexes: []index[*api.Image]{
		{name: byName, unique: true, values: func(i *api.Image) []string { return i.Names }},
	}}
	secretSchema = &schema[*api.Secret]{name: "secret", indexes: []index[*api.Secret]{
		{name: byName, unique: true, values: func(s *api.Secret) []string { return []string{s.Spec.Name} }},
	}}
	networkSchema = &schema[*api.Network]{name: "network", indexes: []index[*api.Network]{
		{name: byName, unique: true, values: func(n *api.Network) []string { return []string{n.Spec.Name} }},
	}}
	configSchema = &schema[*api.Config]{name: "config", indexes: []index[*api.Config]{
		{name: byName, unique: true, values: func(c *api.Config) []string { return []string{c.Spec.Name} }},
	}}
)

// noun is a table whose type of object is not known to the caller.
type noun struct {
	name   string
	holds  func(api.Object) bool
	decode func(raw []byte) (api.Object, error)
	get    func(v *View, key string) (api.Object, bool)
	all    func(v *View) iter.Seq[api.Object]
	length func(v *View) int
	taken  func(v *View, obj api.Object) (index, value, holder string, taken bool)
	empty  func(v *View)
	// edit puts and drops in place of v's table, which nobody has seen yet.
	edit func(v *View, puts []api.Object, drops []string)
}

func nounOf[T api.Object](s *schema[T], table func(*View) *Table[T], fresh func() T) noun {
	return noun{
		name:  s.name,
		holds: func(obj api.Object) bool { _, ok := obj.(T); return ok },
		decode: func(raw []byte) (api.Object, error) {
			obj := fresh()
			if err := api.DecodeStrict(raw, obj); err != nil {
				return nil, err
			}
			return obj, nil
		},
		get: func(v *View, key string) (api.Object, bool) { return table(v).Get(key) },
		all: func(v *View) iter.Seq[api.Object] {
			return func(yield func(api.Object) bool) {
				for obj := range table(v).All() {
					if !yield(obj) {
						return
					}
				}
			}
		},
		length: func(v *View) int { return table(v).Len() },
		taken: func(v *View, obj api.Object) (string, string, string, bool) {
			return table(v).taken(obj.(T))
		},
		empty: func(v *View) { *table(v) = newTable(s) },
		edit: func(v *View, puts []api.Object, drops []string) {
			e := table(v).edit()
			for _, key := range drops {
				e.drop(key)
			}
			for _, obj := range puts {
				e.put(obj.(T))
			}
			*table(v) = e.done()
		},
	}
}

// nounFor finds an object's table; -1 if there is none.
func nounFor(obj api.Object) int {
	for i := range nouns {
		if nouns[i].holds(obj) {
			return i
		}
	}
	return -1
}

// nounNamed finds a table by name. One that this build does not know is of a
// newer one.
func nounNamed(name string) (int, error) {
	for i := range nouns {
		if nouns[i].name == name {
			return i, nil
		}
	}
	return -1, fmt.Errorf("table %q: %w", name, ErrUnknownFormat)
}

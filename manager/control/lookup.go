package control

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// minPrefix is the least of an ID that may stand for all of it.
const minPrefix = 4

// listing says how the user sees what there is of a noun.
var listing = map[string]string{
	"node": "edgectl node ls", "service": "edgectl service ls", "task": "edgectl service ps SERVICE",
	"secret": "edgectl secret ls", "config": "edgectl config ls", "network": "edgectl network ls",
}

// find resolves what a user calls an object: its ID, its name, or the beginning
// of its ID. Whoever has the name comes before whose ID begins so.
func find[T api.Object](table store.Table[T], named iter.Seq[T], op, noun, ref string) (T, error) {
	var none T
	if ref == "" {
		return none, api.Errorf(api.Invalid, op, "no %s named", noun)
	}
	if obj, ok := table.Get(ref); ok {
		return obj, nil
	}
	found := slices.Collect(named)
	if len(found) == 0 && len(ref) >= minPrefix {
		found = slices.Collect(table.Prefix(ref))
	}
	switch len(found) {
	case 0:
		return none, api.Errorf(api.NotFound, op, "no %s %q; `%s` shows what there is", noun, ref, listing[noun])
	case 1:
		return found[0], nil
	default:
		return none, ambiguous(op, noun, ref, found)
	}
}

// mostNamed bounds how many IDs an error lists.
const mostNamed = 8

func ambiguous[T api.Object](op, noun, ref string, found []T) error {
	var ids []string
	for _, obj := range found {
		ids = append(ids, obj.Key())
	}
	if more := len(ids) - mostNamed; more > 0 {
		ids = append(ids[:mostNamed], fmt.Sprintf("and %d more", more))
	}
	return api.Errorf(api.Conflict, op, "%q is ambiguous: %d %ss are called so (%s); use an ID", ref, len(found), noun, strings.Join(ids, ", "))
}

// selfRef is what a user calls the node that is asked: the one that passed the
// call on, or this one.
const selfRef = "self"

func (s *Server) findNode(ctx context.Context, v *store.View, op, ref string) (*api.Node, error) {
	if ref == selfRef {
		id, known := s.cfg.Caller(ctx)
		if !known {
			id = s.cfg.Self
		}
		ref = string(id)
	}
	return find(v.Nodes, v.NodesByName(ref), op, "node", ref)
}

func findService(v *store.View, op, ref string) (*api.Service, error) {
	return find(v.Services, one(v.ServiceByName(ref)), op, "service", ref)
}

// one yields an object unless it is nil.
func one[T any](obj *T) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		if obj != nil {
			yield(obj)
		}
	}
}

// findTask resolves an ID, its beginning, "service.slot", or for a global
// service "service.node". Of a slot's tasks it means the present one.
func (s *Server) findTask(v *store.View, op, ref string) (*api.Task, error) {
	return find(v.Tasks, one(currentOf(v, ref)), op, "task", ref)
}

func currentOf(v *store.View, ref string) *api.Task {
	dot := strings.LastIndexByte(ref, '.')
	if dot < 0 {
		return nil
	}
	service := v.ServiceByName(ref[:dot])
	if service == nil {
		return nil
	}
	place := ref[dot+1:]
	slot, err := strconv.Atoi(place)
	var current *api.Task
	for task := range v.TasksOf(service.ID) {
		here := err == nil && task.Slot == slot
		if service.Spec.Mode.PerNode() {
			node := v.Node(task.NodeID)
			here = string(task.NodeID) == place || node != nil && node.Name() == place
		}
		if here && (current == nil || presents(task, current)) {
			current = task
		}
	}
	return current
}

// presents reports whether task stands for its slot rather than other.
func presents(task, other *api.Task) bool {
	if task.Live() != other.Live() {
		return task.Live()
	}
	return task.CreatedAt.After(other.CreatedAt)
}

package agent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// set is an assignment set: all that the node needs to live alone. It is never
// written to once made.
type set struct {
	id    api.SetID
	items map[api.ItemKey]api.Item
}

// Errors of an assignment that can't be applied. Each ends the session; the
// next begins from what the node has.
var (
	errGap  = errors.New("assignment does not continue from the set held")
	errPast = errors.New("assignment is of the fleet's past: it was recovered since")
)

// change is what an assignment does to a set.
type change struct {
	next set
	put  []api.Item
	gone []api.ItemKey
}

// empty reports whether nothing is to be stored: the assignment is a lease only.
func (c change) empty(held set) bool {
	return c.next.id == held.id && len(c.put) == 0 && len(c.gone) == 0
}

// apply computes the set behind an assignment.
func (s set) apply(a *api.Assignment) (change, error) {
	if a.Next.Epoch < s.id.Epoch && !s.otherFleet(a) {
		return change{}, fmt.Errorf("%w: epoch %d, held %d", errPast, a.Next.Epoch, s.id.Epoch)
	}
	if !a.Full && a.Previous != s.id {
		return change{}, fmt.Errorf("%w: %v, held %v", errGap, a.Previous, s.id)
	}
	c := change{next: set{id: a.Next, items: map[api.ItemKey]api.Item{}}}
	if !a.Full {
		maps.Copy(c.next.items, s.items)
	}
	for _, key := range a.Removed {
		if _, held := c.next.items[key]; held {
			delete(c.next.items, key)
			c.gone = append(c.gone, key)
		}
	}
	for _, item := range a.Set {
		if item.Key() == (api.ItemKey{}) {
			continue // of a kind that a newer leader knows
		}
		held, known := s.items[item.Key()]
		c.next.items[item.Key()] = item
		// A set that is sent anew in full touches neither disk nor tasks.
		if !known || !api.Equal(held, item) {
			c.put = append(c.put, item)
		}
	}
	if a.Full {
		for key := range s.items {
			if _, kept := c.next.items[key]; !kept {
				c.gone = append(c.gone, key)
			}
		}
	}
	return c, nil
}

// otherFleet reports whether an assignment brings the set of another fleet
// than the one held: their epochs don't compare.
func (s set) otherFleet(a *api.Assignment) bool {
	held, ok := s.fleet()
	if !ok || !a.Full {
		return false
	}
	for _, item := range a.Set {
		if item.Fleet != nil {
			return item.Fleet.ID != held.ID
		}
	}
	return false
}

func (s set) tasks() map[api.TaskID]*api.Task {
	out := map[api.TaskID]*api.Task{}
	for _, item := range s.items {
		if item.Task != nil {
			out[item.Task.ID] = item.Task
		}
	}
	return out
}

func (s set) task(id api.TaskID) *api.Task {
	return s.items[api.Item{Task: &api.Task{ID: id}}.Key()].Task
}

// image finds what a pinned reference ("name:tag@sha256:…") names; where the set
// does not tell more, that is its name and digest.
func (s set) image(reference string) *api.Image {
	name, digest, _ := strings.Cut(reference, "@")
	key := api.Item{Image: &api.Image{ID: api.ImageID(digest)}}.Key()
	if item, ok := s.items[key]; ok {
		return item.Image
	}
	return &api.Image{ID: api.ImageID(digest), Names: []string{name}}
}

func (s set) fleet() (api.FleetInfo, bool) {
	for _, item := range s.items {
		if item.Fleet != nil {
			return *item.Fleet, true
		}
	}
	return api.FleetInfo{}, false
}

// peers are the other members, by ID.
func (s set) peers() []api.Peer {
	var out []api.Peer
	for _, item := range s.items {
		if item.Peer != nil {
			out = append(out, *item.Peer)
		}
	}
	slices.SortFunc(out, func(a, b api.Peer) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// fabric is what the set says of networks.
func (s set) fabric(node api.NodeID) Fabric {
	f := Fabric{Node: node, Peers: s.peers()}
	for _, item := range s.items {
		switch {
		case item.Network != nil:
			f.Networks = append(f.Networks, item.Network)
		case item.Endpoint != nil:
			f.Endpoints = append(f.Endpoints, item.Endpoint)
		case item.Task != nil:
			f.Tasks = append(f.Tasks, item.Task)
		case item.Fleet != nil:
			f.Fleet, f.Mesh = item.Fleet.ID, item.Fleet.Mesh
		}
	}
	slices.SortFunc(f.Networks, func(a, b *api.NetworkInfo) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(f.Endpoints, func(a, b *api.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Service, b.Service))
	})
	slices.SortFunc(f.Tasks, func(a, b *api.Task) int { return cmp.Compare(a.ID, b.ID) })
	return f
}

// published reports whether boards lead what is sent to a port of theirs to a
// service.
func (a *Agent) published(service api.ServiceID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, item := range a.set.items {
		if item.Endpoint != nil && item.Endpoint.Service == service && len(item.Endpoint.Ports) > 0 {
			return true
		}
	}
	return false
}

// tells reports whether a change is of what OnSet tells.
func (c change) tells() bool {
	for _, item := range c.put {
		if item.Fleet != nil || item.Peer != nil {
			return true
		}
	}
	for _, key := range c.gone {
		if key.Kind == "peer" || key.Kind == "fleet" {
			return true
		}
	}
	return false
}

package dispatch

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// digest identifies what an item says, as far as an agent goes by it.
type digest [sha256.Size]byte

// entry is an item of a set with its digest.
type entry struct {
	item api.Item
	sum  digest
}

// roster is the part of every node's set that is the same for all: the members
// and the fleet, and who serves in each network, as of one view and one raft
// configuration.
type roster struct {
	view    *store.View
	servers map[api.NodeID]bool // raft's members
	peers   []entry
	fabric  map[api.NetworkID][]entry
}

func newRoster(v *store.View, servers map[api.NodeID]bool, latest func(*api.Task) api.TaskStatus) *roster {
	r := &roster{view: v, servers: servers, fabric: newFabric(v, latest)}
	for node := range v.Nodes.All() {
		r.peers = append(r.peers, newEntry(api.Item{Peer: peerOf(node, servers)}))
	}
	return r
}

func peerOf(node *api.Node, servers map[api.NodeID]bool) *api.Peer {
	p := &api.Peer{ID: node.ID, Name: node.Name(), Addrs: node.Status.Addrs, Manager: servers[node.ID], Platform: node.Description.Platform}
	if mesh := node.Description.Mesh; len(mesh.Keys) > 0 {
		p.Mesh = &api.MeshEnd{Keys: mesh.Keys, Port: mesh.Port}
	}
	return p
}

func fleetInfo(c *api.Cluster, node *api.Node, voter bool) api.FleetInfo {
	return api.FleetInfo{
		ID: c.ID, Name: c.Spec.Name, RootCAPEM: c.RootCA.CertPEM, FoundedAt: c.FoundedAt,
		Touched: c.Touched, FoldedInto: c.FoldedInto, Role: node.Spec.Role, Voter: voter, CertExpiry: certExpiry(c),
		Mesh: api.FleetMesh{Turns: c.MeshTurns, Keys: node.Description.Mesh.Keys},
	}
}

// set is a node's assignment set: all that it needs to live alone.
type set map[api.ItemKey]entry

// compose gathers a node's set. An entry of the previous set is taken over
// where its object is the very same, to spare encoding it again.
func (r *roster) compose(node *api.Node, previous set) set {
	next := set{}
	add := func(item api.Item) {
		key := item.Key()
		if old, ok := previous[key]; ok && sameObject(old.item, item) {
			next[key] = old
			return
		}
		next[key] = newEntry(item)
	}
	for task := range r.view.TasksOn(node.ID) {
		// Before it is placed for good it may still go elsewhere; once removed,
		// nothing of it is left.
		if task.Status.State.Before(api.TaskAssigned) || task.Status.State == api.TaskRemoved {
			continue
		}
		add(api.Item{Task: task})
		if task.Live() {
			if image := r.view.Image(pinnedDigest(task.Spec.ContainerSpec.Image)); image != nil {
				add(api.Item{Image: image})
			}
			r.addData(task, add)
		}
	}
	r.weave(node.ID, next)
	for _, peer := range r.peers {
		if peer.item.Peer.ID != node.ID {
			next[peer.item.Key()] = peer
		}
	}
	if c := r.view.Cluster(); c != nil {
		info := fleetInfo(c, node, r.servers[node.ID])
		add(api.Item{Fleet: &info})
	}
	return next
}

// addData adds the secrets and configs that a task sees: no other node is sent them.
func (r *roster) addData(task *api.Task, add func(api.Item)) {
	for _, ref := range task.Spec.ContainerSpec.Secrets {
		if secret, ok := r.view.Secrets.Get(string(ref.SecretID)); ok {
			add(api.Item{Secret: secret})
		}
	}
	for _, ref := range task.Spec.ContainerSpec.Configs {
		if config, ok := r.view.Configs.Get(string(ref.ConfigID)); ok {
			add(api.Item{Config: config})
		}
	}
}

// pinnedDigest is the part of a pinned reference that names the image.
func pinnedDigest(reference string) api.ImageID {
	_, id, _ := strings.Cut(reference, "@")
	return api.ImageID(id)
}

// sameObject reports whether two items share their stored object, which never
// changes.
func sameObject(a, b api.Item) bool {
	switch {
	case a.Task != nil:
		return a.Task == b.Task
	case a.Image != nil:
		return a.Image == b.Image
	case a.Secret != nil:
		return a.Secret == b.Secret
	case a.Config != nil:
		return a.Config == b.Config
	default:
		return false
	}
}

// newEntry digests an item without what the agent itself reported and what
// only the store reads, so that committing a status sends nothing back.
func newEntry(item api.Item) entry {
	said := item
	switch {
	case item.Task != nil:
		task := *item.Task
		task.Meta, task.Status = api.Meta{}, api.TaskStatus{}
		said.Task = &task
	case item.Image != nil:
		image := *item.Image
		image.Meta = api.Meta{}
		said.Image = &image
	case item.Secret != nil: // its ID alone: it never changes
		said.Secret = &api.Secret{ID: item.Secret.ID}
	case item.Config != nil:
		said.Config = &api.Config{ID: item.Config.ID}
	}
	raw, err := api.Encode(said)
	if err != nil {
		panic(err) // every noun encodes: a test of api walks them all
	}
	return entry{item: item, sum: sha256.Sum256(raw)}
}

// asSent leaves out of an item what its agent has no more use for: of a task that
// is over, most of its spec. It is of the same digest all the same, so that a
// task's end sends nothing back.
func asSent(item api.Item) api.Item {
	if item.Task != nil && item.Task.Over() {
		item.Task = item.Task.Brief()
	}
	return item
}

// id names the set by its content. The agent's version takes part, because an
// agent that learned to read more must be told again what it passed over.
func (s set) id(epoch uint64, version string) api.SetID {
	if s == nil {
		return api.SetID{}
	}
	h := sha256.New()
	h.Write([]byte(version))
	for _, key := range s.keys() {
		sum := s[key].sum
		h.Write(sum[:])
	}
	return api.SetID{Epoch: epoch, Seq: max(1, binary.BigEndian.Uint64(h.Sum(nil)))}
}

func (s set) keys() []api.ItemKey {
	keys := make([]api.ItemKey, 0, len(s))
	for key := range s {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b api.ItemKey) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Key, b.Key))
	})
	return keys
}

// since lists what must be said to somebody who holds the previous set.
func (s set) since(previous set) (changed []api.Item, removed []api.ItemKey) {
	for _, key := range s.keys() {
		if old, held := previous[key]; !held || old.sum != s[key].sum {
			changed = append(changed, asSent(s[key].item))
		}
	}
	for _, key := range previous.keys() {
		if _, kept := s[key]; !kept {
			removed = append(removed, key)
		}
	}
	return changed, removed
}

package managertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/store"
)

// Log commits entries at once, to one store. It implements store.Proposer.
type Log struct {
	store *store.Store

	mu    sync.Mutex
	index uint64
	count int
	fail  error
	limit int
}

// NewLog returns a log that drives st, which has applied nothing yet.
func NewLog(st *store.Store) *Log { return &Log{store: st} }

// Propose implements store.Proposer.
func (l *Log) Propose(ctx context.Context, entry []byte) (uint64, any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	if l.fail != nil {
		return 0, nil, l.fail
	}
	if l.limit > 0 && len(entry) > l.limit {
		return 0, nil, consensus.ErrTooLarge
	}
	l.index++
	l.count++
	value, err := l.store.Apply(l.index, entry)
	return l.index, value, err
}

// Commits is the number of entries so far.
func (l *Log) Commits() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Fail makes every proposal fail from now on, as after leadership was lost; nil ends that.
func (l *Log) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// Limit makes proposals of more bytes fail as too large; 0 ends that.
func (l *Log) Limit(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = bytes
}

// Raft is a log's membership without a log. The zero Raft has no members.
type Raft struct {
	mu      sync.Mutex
	servers []consensus.Server
}

// NewRaft returns a membership of voters that all answer.
func NewRaft(ids ...api.NodeID) *Raft {
	r := &Raft{}
	for _, id := range ids {
		r.servers = append(r.servers, consensus.Server{ID: string(id), Voter: true, Reachable: true})
	}
	return r
}

// Servers implements manager.Raft.
func (r *Raft) Servers() ([]consensus.Server, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]consensus.Server(nil), r.servers...), nil
}

// Set changes a member, or adds it.
func (r *Raft) Set(s consensus.Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.servers {
		if r.servers[i].ID == s.ID {
			r.servers[i] = s
			return
		}
	}
	r.servers = append(r.servers, s)
}

// AddNonvoter implements manager.Raft.
func (r *Raft) AddNonvoter(_ context.Context, id string) error {
	r.Set(consensus.Server{ID: id, Reachable: true})
	return nil
}

// Promote implements manager.Raft.
func (r *Raft) Promote(_ context.Context, id string) error {
	r.Set(consensus.Server{ID: id, Voter: true, Reachable: true})
	return nil
}

// Demote implements manager.Raft.
func (r *Raft) Demote(_ context.Context, id string) error {
	r.Set(consensus.Server{ID: id, Reachable: true})
	return nil
}

// Remove implements manager.Raft.
func (r *Raft) Remove(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.servers[:0:0]
	for _, s := range r.servers {
		if s.ID != id {
			kept = append(kept, s)
		}
	}
	r.servers = kept
	return nil
}

// ErrTransfer is what Transfer answers: there is nobody to hand over to.
var ErrTransfer = errors.New("no other voter takes over")

// Transfer implements manager.Raft.
func (r *Raft) Transfer(context.Context, string) error { return ErrTransfer }

// caller is the context key of who calls.
type caller struct{}

// As is a context in which a node calls.
func As(ctx context.Context, id api.NodeID) context.Context {
	return context.WithValue(ctx, caller{}, id)
}

// Caller tells who calls, by As.
func Caller(ctx context.Context) (api.NodeID, bool) {
	id, ok := ctx.Value(caller{}).(api.NodeID)
	return id, ok
}

// Platform is what scripted boards run.
var Platform = api.Platform{OS: "linux", Architecture: "arm64"}

// Description is a scripted board's account of itself.
func Description(name string) api.NodeDescription {
	return api.NodeDescription{
		Hostname: name, Platform: Platform, Resources: api.Resources{NanoCPUs: 4e9, MemoryBytes: 1 << 30},
		Engine: api.EngineDescription{EngineVersion: "test", Runtime: "sim"}, BootID: "1",
	}
}

// Node is a member that has been heard of.
func Node(id api.NodeID, name string) *api.Node {
	return &api.Node{
		ID: id, Spec: api.NodeSpec{Role: api.RoleAuto, Availability: api.AvailabilityActive},
		Description: Description(name), Status: api.NodeStatus{State: api.NodeReady, Since: time.Unix(0, 0)},
	}
}

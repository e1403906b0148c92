package agent

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/edgeswarm/edgeswarm/api"
)

// outbox holds the latest status of each task, and which of them the leader
// has not been told. It is as large as the set, however long nobody listens.
type outbox struct {
	mu     sync.Mutex
	latest map[api.TaskID]api.TaskStatus
	untold map[api.TaskID]bool

	news   ring // something is untold
	urgent ring // and it can't wait
}

func newOutbox() *outbox {
	return &outbox{latest: map[api.TaskID]api.TaskStatus{}, untold: map[api.TaskID]bool{}, news: newRing(), urgent: newRing()}
}

// put notes a status and returns true, unless it would take the task back.
func (o *outbox) put(id api.TaskID, s api.TaskStatus, urgent bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if old, known := o.latest[id]; known && !s.Newer(old) && (s.Attempt != old.Attempt || s.State != old.State) {
		return false
	}
	o.latest[id] = s
	o.untold[id] = true
	if urgent {
		o.urgent.ring()
	}
	o.news.ring()
	return true
}

func (o *outbox) get(id api.TaskID) (api.TaskStatus, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.latest[id]
	return s, ok
}

// drop forgets a task that is no longer the node's.
func (o *outbox) drop(id api.TaskID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.latest, id)
	delete(o.untold, id)
}

// all returns every status, for the first report of a session.
func (o *outbox) all() []api.TaskReport {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id := range o.latest {
		o.untold[id] = true
	}
	return o.takeLocked()
}

// take returns what is untold. If telling fails, the session's end makes all
// of it be told again.
func (o *outbox) take() []api.TaskReport {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.takeLocked()
}

func (o *outbox) takeLocked() []api.TaskReport {
	ids := slices.SortedFunc(maps.Keys(o.untold), cmp.Compare[api.TaskID])
	out := make([]api.TaskReport, 0, len(ids))
	for _, id := range ids {
		out = append(out, api.TaskReport{ID: id, Status: o.latest[id]})
	}
	clear(o.untold)
	return out
}

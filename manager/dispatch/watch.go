package dispatch

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// Defaults and bounds of the heartbeat.
const (
	defaultHeartbeat = 1500 * time.Millisecond
	minHeartbeat     = 200 * time.Millisecond
	maxHeartbeat     = time.Minute
	// leastDownAfter keeps a fast heartbeat from making a hiccup a death.
	leastDownAfter = 2 * time.Second
	// greeting is how much longer a node is given at the start of a term: it
	// has to find out first who leads now.
	greeting = time.Second
)

// HeartbeatPeriod is how often a node of this fleet is to report in.
func HeartbeatPeriod(c *api.Cluster) time.Duration {
	if c == nil || c.Spec.HeartbeatPeriod == 0 {
		return defaultHeartbeat
	}
	return min(max(c.Spec.HeartbeatPeriod, minHeartbeat), maxHeartbeat)
}

// DownAfter is how long a node may be silent before it is taken to be down. A
// broken session alone says nothing: edged may be restarting, its tasks running on.
func DownAfter(period time.Duration) time.Duration {
	return max(3*period, leastDownAfter)
}

// leaseOf is how long a node may take itself to be in good standing: less than
// the time after which its tasks are given to others.
func leaseOf(period time.Duration) time.Duration { return DownAfter(period) - period }

// watch is what the leader has heard in this term and does not store. Times are
// this board's monotonic clock, so no wall clock matters.
type watch struct {
	mu    sync.Mutex
	nodes map[api.NodeID]*heard
	tasks map[api.TaskID]api.TaskStatus
}

// heard is what a node said in this term.
type heard struct {
	last        time.Time // for one that said nothing yet, the end of its grace
	spoken      bool
	description *api.NodeDescription
	addrs       []netip.AddrPort
}

func newWatch() *watch {
	return &watch{nodes: map[api.NodeID]*heard{}, tasks: map[api.TaskID]api.TaskStatus{}}
}

// of finds what a node said. One that this term sees for the first time, be it
// that the term has just begun or that the node was just admitted, has its grace.
func (w *watch) of(id api.NodeID, now time.Time) *heard {
	h := w.nodes[id]
	if h == nil {
		h = &heard{last: now.Add(greeting)}
		w.nodes[id] = h
	}
	return h
}

// greet notes a node's Hello.
func (w *watch) greet(id api.NodeID, hello *api.Hello, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[id] = &heard{last: now, spoken: true, description: described(hello.Description), addrs: reachable(hello.Addrs)}
}

// hear takes a report of a node and tells whether anything in it may matter to
// more than the node's being alive.
func (w *watch) hear(v *store.View, id api.NodeID, report *api.Report, now time.Time) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.of(id, now)
	h.last, h.spoken = now, true
	if report.Description != nil {
		if d := described(*report.Description); d != nil {
			h.description, news = d, true
		}
	}
	if report.Addrs != nil {
		h.addrs, news = reachable(report.Addrs), true
	}
	for _, said := range report.Tasks {
		said.Status = told(said.Status)
		// A task that is not, or not there, has left the node's set: the agent
		// drops it by that, and what it says of it is of no use.
		task := v.Task(said.ID)
		if task == nil || task.NodeID != id || !said.Status.State.Valid() {
			continue
		}
		if latest, ok := w.tasks[said.ID]; ok && !supersedes(said.Status, latest) || !supersedes(said.Status, task.Status) {
			continue
		}
		w.tasks[said.ID], news = said.Status, true
	}
	return news
}

// supersedes reports whether a status tells more than the old one: it is newer,
// or says more of the same state, such as that no attempt follows.
func supersedes(said, old api.TaskStatus) bool {
	if said.Attempt != old.Attempt || said.State != old.State {
		return said.Newer(old)
	}
	code := func(s api.TaskStatus) int {
		if s.ExitCode == nil {
			return -1
		}
		return *s.ExitCode
	}
	return said.Message != old.Message || said.Err != old.Err || said.Exhausted != old.Exhausted || said.InMonitor != old.InMonitor ||
		said.ContainerID != old.ContainerID || said.PID != old.PID || code(said) != code(old)
}

// status is the latest that is known of a task.
func (w *watch) status(task *api.Task) api.TaskStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest(task)
}

func (w *watch) latest(task *api.Task) api.TaskStatus {
	if said, ok := w.tasks[task.ID]; ok && supersedes(said, task.Status) {
		return said
	}
	return task.Status
}

// regrant gives every node its grace anew, after this board itself stood still.
func (w *watch) regrant(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.nodes {
		h.last = now.Add(greeting)
	}
}

// down reports whether a node has been silent too long.
func (h *heard) down(period time.Duration, now time.Time) bool {
	return !now.Before(h.last.Add(DownAfter(period)))
}

// silenced reports whether a node that is stored as up has been silent too long.
func (w *watch) silenced(v *store.View, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	period := HeartbeatPeriod(v.Cluster())
	for node := range v.Nodes.All() {
		if w.of(node.ID, now).down(period, now) && node.Status.State != api.NodeDown {
			return true
		}
	}
	return false
}

// nodeFacts are the nodes whose state, description or addresses differ from
// what is stored.
func (w *watch) nodeFacts(v *store.View, now, fleetTime time.Time) (puts []api.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	period := HeartbeatPeriod(v.Cluster())
	for node := range v.Nodes.All() {
		next := *node
		h := w.of(node.ID, now)
		down := h.down(period, now)
		switch {
		case down && node.Status.State != api.NodeDown:
			next.Status.State, next.Status.Since = api.NodeDown, fleetTime
			next.Status.Message = fmt.Sprintf("nothing heard of it for %v", DownAfter(period))
		case !down && h.spoken && node.Status.State != api.NodeReady:
			next.Status.State, next.Status.Since, next.Status.Message = api.NodeReady, fleetTime, ""
		}
		if h.description != nil {
			next.Description = *h.description
		}
		if h.addrs != nil {
			next.Status.Addrs = h.addrs
		}
		if changed := next.Status.State != node.Status.State || !next.Description.Equal(node.Description) ||
			!slices.Equal(next.Status.Addrs, node.Status.Addrs); changed {
			puts = append(puts, &next)
		}
	}
	return puts
}

// forget drops what was heard of nodes and tasks that are no more.
func (w *watch) forget(v *store.View) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, said := range w.tasks {
		if task := v.Task(id); task == nil || !supersedes(said, task.Status) {
			delete(w.tasks, id)
		}
	}
	for id := range w.nodes {
		if v.Node(id) == nil {
			delete(w.nodes, id)
		}
	}
}

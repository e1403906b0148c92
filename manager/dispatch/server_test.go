package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/store"
)

// servers adapts the scripted membership to what this package asks for.
type servers struct{ *managertest.Raft }

func (s servers) Servers() []consensus.Server {
	list, _ := s.Raft.Servers()
	return list
}

// bench is a term's dispatch side with its state, the leader being node "a".
type bench struct {
	*managertest.State
	raft   *managertest.Raft
	server *Server
	heard  <-chan struct{}
	end    context.CancelFunc
	ended  chan error
}

func start(t *testing.T, objects ...api.Object) *bench {
	t.Helper()
	b := &bench{raft: managertest.NewRaft("a"), ended: make(chan error, 1)}
	b.State = managertest.Found(t, time.Now, objects...)
	b.server = New(Config{
		Self: "a", Store: b.Store, Writer: b.Writer, Raft: servers{b.raft}, Caller: managertest.Caller,
		Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	b.heard, _ = b.server.Subscribe()
	ctx, end := context.WithCancel(t.Context())
	b.end = end
	go func() { b.ended <- b.server.Run(ctx) }()
	synctest.Wait()
	return b
}

func (b *bench) stop(t *testing.T) {
	t.Helper()
	b.end()
	if err := <-b.ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

// commit does what the manager's loop does with facts.
func (b *bench) commit(t *testing.T) Facts {
	t.Helper()
	var facts Facts
	b.Change(t, func(tx *store.Tx) {
		facts = b.server.Facts(tx.View, time.Now())
		for _, obj := range facts.Puts() {
			tx.Put(obj)
		}
	})
	return facts
}

func task(id api.TaskID, node api.NodeID) *api.Task {
	return &api.Task{ID: id, ServiceID: "web", ServiceName: "web", Slot: 1, NodeID: node, DesiredState: api.TaskRunning,
		Spec: api.TaskSpec{ContainerSpec: api.ContainerSpec{Image: "web:1@sha256:1"}}, Status: api.TaskStatus{State: api.TaskAssigned}}
}

func hello(have api.SetID) *api.Report {
	return &api.Report{Hello: &api.Hello{Description: managertest.Description("board"), Have: have, Level: 1}}
}

// drain takes what has been sent without waiting for more.
func drain(s *managertest.Session) (got []*api.Assignment) {
	for {
		synctest.Wait()
		select {
		case a := <-s.Assignments():
			got = append(got, a)
		default:
			return got
		}
	}
}

func TestSessionSendsTheSetThenWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := &api.Image{ID: "sha256:1", Names: []string{"docker.io/library/web:1"}}
		b := start(t, managertest.Node("a", "one"), managertest.Node("b", "two"), image, task("t1", "b"), task("t2", "a"))
		defer b.stop(t)
		s := managertest.Open(t.Context(), b.server, "b")
		s.Report(hello(api.SetID{}))
		first := drain(s)
		if len(first) != 1 || !first[0].Full {
			t.Fatalf("hello was answered with %d messages", len(first))
		}
		got := map[api.ItemKey]bool{}
		for _, item := range first[0].Set {
			got[item.Key()] = true
		}
		fleet := api.ItemKey{Kind: "fleet", Key: string(b.View().Cluster().ID)}
		for _, key := range []api.ItemKey{{Kind: "task", Key: "t1"}, {Kind: "image", Key: "sha256:1"}, {Kind: "peer", Key: "a"}, fleet} {
			if !got[key] {
				t.Errorf("the set lacks %v", key)
			}
		}
		if len(got) != 4 {
			t.Errorf("the set holds more than the node needs: %v", got)
		}
		if first[0].Lease <= 0 || first[0].HeartbeatPeriod != defaultHeartbeat || first[0].Lease >= DownAfter(defaultHeartbeat) {
			t.Errorf("lease %v, heartbeat %v", first[0].Lease, first[0].HeartbeatPeriod)
		}

		// A burst is one message, and says only what changed.
		for i := range 20 {
			b.Put(t, task(api.TaskID(fmt.Sprint("n", i)), "b"))
		}
		time.Sleep(settle)
		next := drain(s)
		if len(next) != 1 || next[0].Full || next[0].Previous != first[0].Next || len(next[0].Set) != 20 {
			t.Fatalf("a burst of 20 tasks was %d messages: %+v", len(next), next)
		}

		// What the agent itself reported is not sent back to it.
		before := b.Log.Commits()
		s.Report(&api.Report{Tasks: []api.TaskReport{{ID: "t1", Status: api.TaskStatus{State: api.TaskRunning, Attempt: 1}}}})
		drain(s)
		if facts := b.commit(t); len(facts.Tasks) != 1 || b.Log.Commits() != before+1 {
			t.Fatalf("facts %+v", facts)
		}
		time.Sleep(time.Second)
		for _, more := range drain(s) {
			if len(more.Set) != 0 || more.Next != next[0].Next {
				t.Errorf("its own status was sent to the agent: %+v", more)
			}
		}

		// A task that goes is named.
		b.Change(t, func(tx *store.Tx) { tx.Delete(tx.Task("t1")) })
		time.Sleep(settle)
		last := drain(s)
		if len(last) != 1 || len(last[0].Removed) != 1 || last[0].Removed[0] != (api.ItemKey{Kind: "task", Key: "t1"}) {
			t.Errorf("after a task was deleted: %+v", last)
		}
	})
}

func TestSessionContinuesFromTheSetThatTheNodeHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, managertest.Node("a", "one"), managertest.Node("b", "two"), task("t1", "b"))
		s := managertest.Open(t.Context(), b.server, "b")
		s.Report(hello(api.SetID{}))
		held := drain(s)[0].Next
		b.stop(t) // another leader, which sent nothing yet

		d := New(Config{Self: "a", Store: b.Store, Writer: b.Writer, Raft: servers{b.raft}, Caller: managertest.Caller, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
		ctx, end := context.WithCancel(t.Context())
		defer end()
		go func() { _ = d.Run(ctx) }()
		synctest.Wait()
		s = managertest.Open(ctx, d, "b")
		s.Report(hello(held))
		got := drain(s)
		if len(got) != 1 || got[0].Full || len(got[0].Set) != 0 || got[0].Next != held {
			t.Fatalf("a node that holds the set was sent %+v", got)
		}

		s2 := managertest.Open(ctx, d, "b")
		s2.Report(hello(api.SetID{Epoch: 1, Seq: 12345}))
		if got := drain(s2); len(got) != 1 || !got[0].Full {
			t.Fatalf("a node that holds another set was sent %+v", got)
		}
		<-s.Ended() // replaced by the newer one
		if api.KindOf(s.Err()) != api.Conflict {
			t.Errorf("the older session ended with %v", s.Err())
		}
	})
}

func TestSessionIsForMembersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, managertest.Node("a", "one"), managertest.Node("b", "two"))
		defer b.stop(t)
		s := managertest.Open(t.Context(), b.server, "stranger")
		<-s.Ended()
		if api.KindOf(s.Err()) != api.Denied {
			t.Errorf("a stranger's session: %v", s.Err())
		}
		s = managertest.Open(t.Context(), b.server, "b")
		s.Report(hello(api.SetID{}))
		drain(s)
		b.Change(t, func(tx *store.Tx) { tx.Delete(tx.Node("b")) })
		<-s.Ended()
		if api.KindOf(s.Err()) != api.Denied {
			t.Errorf("a removed node's session: %v", s.Err())
		}
		s = managertest.Open(t.Context(), b.server, "a")
		s.Report(&api.Report{})
		<-s.Ended()
		if api.KindOf(s.Err()) != api.Invalid {
			t.Errorf("a session without hello: %v", s.Err())
		}
	})
}

// An agent that takes nothing must neither stop the leader from leaving nor
// make it remember more.
func TestSlowAgentHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, managertest.Node("a", "one"), managertest.Node("b", "two"))
		s := managertest.Open(t.Context(), b.server, "b")
		s.Report(hello(api.SetID{}))
		for i := range 50 {
			b.Put(t, task(api.TaskID(fmt.Sprint("n", i)), "b"))
			time.Sleep(2 * settle)
			s.Report(&api.Report{}) // its heartbeats still count
		}
		if facts := b.server.Facts(b.View(), time.Now()); len(facts.Nodes) != 0 && facts.Nodes[0].(*api.Node).Status.State == api.NodeDown {
			t.Error("a slow reader was taken to be down")
		}
		b.stop(t)
		<-s.Ended()
		if api.KindOf(s.Err()) != api.NotLeader {
			t.Errorf("the session ended with %v", s.Err())
		}
	})
}

package control

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/store"
)

// watcher reads a stream of progress.
type watcher struct {
	grpc.ServerStream
	ctx context.Context
	out chan *api.ServiceProgress
}

func (w *watcher) Context() context.Context { return w.ctx }

func (w *watcher) Send(p *api.ServiceProgress) error {
	select {
	case w.out <- p:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

func (b *bench) task(id api.TaskID, s *api.Service, slot int) *api.Task {
	return &api.Task{ID: id, ServiceID: s.ID, ServiceName: s.Spec.Name, Slot: slot, NodeID: "b", SpecVersion: s.SpecVersion,
		DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskAssigned}}
}

func TestWatchService(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		s := b.create(t, "web")
		ctx, cancel := context.WithCancel(b.ctx)
		defer cancel()
		w := &watcher{ctx: ctx, out: make(chan *api.ServiceProgress)}
		ended := make(chan error, 1)
		go func() { ended <- b.server.WatchService(&api.GetServiceRequest{Service: "web"}, w) }()
		if first := <-w.out; first.Service.ID != s.ID || first.Converged || len(first.Tasks) != 0 {
			t.Fatalf("first %+v", first)
		}
		b.Put(t, b.task("t1", s, 1), b.task("t2", s, 2))
		b.planned.Store(b.View().Index)
		if next := <-w.out; next.Converged || len(next.Tasks) != 2 || next.Nodes["b"] != "two" {
			t.Fatalf("with tasks %+v", next)
		}
		// Live knowledge counts, though nothing of it is stored.
		b.live.say("t1", api.TaskRunning)
		b.live.say("t2", api.TaskRunning)
		last := <-w.out
		for !last.Converged {
			last = <-w.out
		}
		if last.Tasks[0].Status.State != api.TaskRunning {
			t.Errorf("converged with %+v", last.Tasks[0].Status)
		}
		list, err := b.server.ListServices(b.ctx, &api.ListServicesRequest{})
		if err != nil || list.Services[0].Running != 2 || list.Services[0].Desired != 2 {
			t.Errorf("%+v %v", list, err)
		}

		// A node that is down runs nothing, whatever its tasks said last.
		b.Change(t, func(tx *store.Tx) {
			node := *tx.Node("b")
			node.Status.State = api.NodeDown
			tx.Put(&node)
		})
		if next := <-w.out; next.Converged {
			t.Error("converged on a node that is down")
		}
		// A burst that nobody reads is one message.
		for i := range 20 {
			b.Put(t, b.task(api.TaskID(fmt.Sprint("x", i)), s, 3+i))
			time.Sleep(watchPace)
		}
		<-w.out // on its way since the first
		if next := <-w.out; len(next.Tasks) != 22 {
			t.Errorf("the latest has %d tasks", len(next.Tasks))
		}
		b.Change(t, func(tx *store.Tx) { tx.Delete(tx.Service(s.ID)) })
		if gone := <-w.out; gone.Service != nil {
			t.Errorf("gone %+v", gone)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestConvergedWaitsForThePlanners(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		s := b.create(t, "web")
		b.Put(t, b.task("t1", s, 1), b.task("t2", s, 2))
		b.live.say("t1", api.TaskRunning)
		b.live.say("t2", api.TaskRunning)
		b.planned.Store(b.View().Index)
		if !b.server.progress(b.View(), s.ID).Converged {
			t.Fatal("not converged")
		}
		if _, err := b.server.UpdateService(b.ctx, &api.UpdateServiceRequest{RequestID: "u", Service: "web", Patch: api.ServicePatch{Force: true}}); err != nil {
			t.Fatal(err)
		}
		if b.server.progress(b.View(), s.ID).Converged {
			t.Error("converged right after an update")
		}
	})
}

// That the planners are done with the latest change makes no noise: a watcher
// that looked a moment too early still learns of it.
func TestWatchSeesThePlannersFinishWhileItSends(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		s := b.create(t, "web")
		b.Put(t, b.task("t1", s, 1), b.task("t2", s, 2))
		b.live.say("t1", api.TaskRunning)
		b.live.say("t2", api.TaskRunning)
		b.planned.Store(b.View().Index)
		ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
		defer cancel()
		w := &watcher{ctx: ctx, out: make(chan *api.ServiceProgress)}
		ended := make(chan error, 1)
		go func() { ended <- b.server.WatchService(&api.GetServiceRequest{Service: "web"}, w) }()
		if first := <-w.out; !first.Converged {
			t.Fatalf("at first %+v", first)
		}
		time.Sleep(10 * watchPace) // all earlier news is read
		b.Change(t, func(tx *store.Tx) {
			next := *tx.Service(s.ID)
			next.Spec.Labels = map[string]string{"a": "b"}
			tx.Put(&next)
		})
		synctest.Wait() // it is about to send what it saw
		b.planned.Store(b.View().Index)
		if early := <-w.out; early.Converged {
			t.Fatal("converged before the planners were done")
		}
		select {
		case next := <-w.out:
			if !next.Converged {
				t.Errorf("at last %+v", next)
			}
		case <-ended:
			t.Error("never told that the service converged")
		}
	})
}

func TestTasksAreListedWithWhatIsKnown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		s := b.create(t, "web")
		old := b.task("old", s, 2)
		old.DesiredState, old.Status.State = api.TaskShutdown, api.TaskShutdown
		b.Put(t, b.task("t1", s, 1), old)
		time.Sleep(time.Second)
		b.Put(t, b.task("t2", s, 2))
		b.live.say("t2", api.TaskPreparing)
		resp, err := b.server.ListTasks(b.ctx, &api.ListTasksRequest{Service: "web"})
		if err != nil || len(resp.Tasks) != 3 || resp.Tasks[1].ID != "t2" || resp.Tasks[1].Status.State != api.TaskPreparing || resp.Tasks[2].ID != "old" {
			t.Fatalf("%+v %v", resp, err)
		}
		if resp, _ := b.server.ListTasks(b.ctx, &api.ListTasksRequest{Node: "b", Current: true}); len(resp.Tasks) != 2 {
			t.Errorf("%d current tasks", len(resp.Tasks))
		}
		if got, err := b.server.GetTask(b.ctx, &api.GetTaskRequest{Task: "web.2"}); err != nil || got.Task.ID != "t2" {
			t.Errorf("web.2 is %+v, %v", got, err)
		}
		_, err = b.server.ListTasks(b.ctx, &api.ListTasksRequest{Node: "two"})
		refused(t, err, api.Conflict, "ambiguous")
		_, err = b.server.GetTask(b.ctx, &api.GetTaskRequest{Task: "web.9"})
		refused(t, err, api.NotFound, "web.9")
	})
}

// What is stuck with a caller that does not read ends with the term.
func TestWatchEndsWithTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := managertest.Found(t, time.Now, &api.Service{ID: "web", Spec: spec("web", "web:1", 1)})
		l := &live{state: state, statuses: map[api.TaskID]api.TaskStatus{}, heard: make(chan struct{}, 1)}
		server := New(Config{Store: state.Store, Writer: state.Writer, Raft: servers{managertest.NewRaft("a")}, Live: l, Planned: func() uint64 { return 0 }, Clock: time.Now})
		term, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = server.Run(term); close(ended) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		watched := make(chan error, 1)
		go func() {
			watched <- server.WatchService(&api.GetServiceRequest{Service: "web"}, &watcher{ctx: ctx, out: make(chan *api.ServiceProgress)})
		}()
		synctest.Wait()
		end()
		<-ended
		if err := <-watched; api.KindOf(err) != api.NotLeader {
			t.Errorf("it ended with %v", err)
		}
		if _, err := server.ListNodes(t.Context(), &api.ListNodesRequest{}); api.KindOf(err) != api.NotLeader {
			t.Errorf("after the term: %v", err)
		}
	})
}

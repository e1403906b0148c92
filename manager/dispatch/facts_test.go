package dispatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/store"
)

func cancellable(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}

// loopFor commits facts whenever something is heard, as the manager does, for d.
func (b *bench) loopFor(t *testing.T, d time.Duration) {
	t.Helper()
	for end := time.After(d); ; {
		select {
		case <-b.heard:
			b.commit(t)
		case <-end:
			return
		}
	}
}

func (b *bench) state(id api.NodeID) api.NodeState { return b.View().Node(id).Status.State }

func TestHeartbeatsCommitNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, managertest.Node("a", "one"), managertest.Node("b", "b"), managertest.Node("c", "c"))
		defer b.stop(t)
		ctx, end := cancellable(t)
		defer end()
		leader := func() api.DispatchServer { return b.server }
		for _, id := range []api.NodeID{"a", "b", "c"} {
			agent := &managertest.Agent{ID: id, Name: string(id)}
			go agent.Run(ctx, leader)
		}
		b.loopFor(t, time.Second) // their hellos
		before := b.Log.Commits()
		b.loopFor(t, 350*time.Second) // a thousand heartbeats and more
		if after := b.Log.Commits(); after != before {
			t.Errorf("%d commits in an idle fleet", after-before)
		}
	})
}

func TestNodeGoesDownOnceAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, managertest.Node("a", "one"), managertest.Node("b", "two"))
		defer b.stop(t)
		ctx, end := cancellable(t)
		defer end()
		leader := func() api.DispatchServer { return b.server }
		go (&managertest.Agent{ID: "a", Name: "one"}).Run(ctx, leader)
		agent := &managertest.Agent{ID: "b", Name: "two"}
		first, kill := cancellable(t)
		go agent.Run(first, leader)
		b.loopFor(t, 10*time.Second)

		// Away and back before it counts as down: nothing happens.
		kill()
		b.loopFor(t, 3*time.Second)
		second, kill := cancellable(t)
		before := b.Log.Commits()
		go agent.Run(second, leader)
		b.loopFor(t, 30*time.Second)
		if after := b.Log.Commits(); after != before || b.state("b") != api.NodeReady {
			t.Fatalf("a quick return made %d commits; node is %s", after-before, b.state("b"))
		}

		kill()
		died := time.Now()
		for b.state("b") != api.NodeDown {
			b.loopFor(t, 100*time.Millisecond)
			if time.Since(died) > time.Minute {
				t.Fatal("never taken to be down")
			}
		}
		if took := time.Since(died); took < 3*time.Second || took > 5500*time.Millisecond {
			t.Errorf("down after %v", took)
		}
		b.loopFor(t, time.Minute)
		if after := b.Log.Commits(); after != before+1 {
			t.Errorf("its death made %d commits", after-before)
		}
		third, kill := cancellable(t)
		defer kill()
		go agent.Run(third, leader)
		b.loopFor(t, time.Second)
		if b.state("b") != api.NodeReady || b.state("a") != api.NodeReady {
			t.Errorf("after its return it is %s, the other %s", b.state("b"), b.state("a"))
		}
	})
}

// At the start of a term nobody has been heard of yet.
func TestTermBeginsWithGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, managertest.Node("a", "one"), managertest.Node("b", "two"), managertest.Node("c", "three"))
		defer b.stop(t)
		ctx, end := cancellable(t)
		defer end()
		leader := func() api.DispatchServer { return b.server }
		go (&managertest.Agent{ID: "a", Name: "one"}).Run(ctx, leader)
		b.loopFor(t, 4*time.Second)
		go (&managertest.Agent{ID: "b", Name: "two"}).Run(ctx, leader) // it took its time to find the leader
		b.loopFor(t, time.Second)
		if b.state("b") != api.NodeReady || b.state("c") != api.NodeReady {
			t.Fatal("a node was taken to be down because the leader changed")
		}
		b.loopFor(t, 2*time.Second) // 7 s in all
		if b.state("b") != api.NodeReady || b.state("c") != api.NodeDown {
			t.Errorf("seven seconds into the term b is %s and c %s", b.state("b"), b.state("c"))
		}
	})
}

// A node that is admitted long after the term began has its grace too.
func TestNewMemberIsNotDownBeforeItSpoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, managertest.Node("a", "one"))
		defer b.stop(t)
		ctx, end := cancellable(t)
		defer end()
		leader := func() api.DispatchServer { return b.server }
		go (&managertest.Agent{ID: "a", Name: "one"}).Run(ctx, leader)
		b.loopFor(t, time.Minute)
		node := managertest.Node("n", "new")
		node.Status.State = api.NodeUnknown
		b.Put(t, node)
		before := b.Log.Commits()
		b.loopFor(t, 3*time.Second)
		if b.state("n") != api.NodeUnknown || b.Log.Commits() != before {
			t.Fatalf("not heard of yet, it is %s", b.state("n"))
		}
		go (&managertest.Agent{ID: "n", Name: "new"}).Run(ctx, leader)
		b.loopFor(t, time.Minute)
		if b.state("n") != api.NodeReady || b.Log.Commits() != before+1 {
			t.Errorf("it is %s after %d commits", b.state("n"), b.Log.Commits()-before)
		}
	})
}

// A leader that stood still has heard nobody, and blames nobody for it.
func TestStallOfTheLeaderIsNobodysDeath(t *testing.T) {
	now := time.Now()
	v := store.NewView(managertest.Node("a", "one"), managertest.Node("b", "two"))
	w := newWatch()
	w.hear(v, "a", &api.Report{}, now)
	w.hear(v, "b", &api.Report{}, now)
	now = now.Add(time.Minute)
	if !w.silenced(v, now) {
		t.Fatal("a minute's silence is not noticed")
	}
	w.regrant(now)
	if w.silenced(v, now.Add(DownAfter(defaultHeartbeat))) {
		t.Error("no grace after the stall")
	}
	if !w.silenced(v, now.Add(DownAfter(defaultHeartbeat)+greeting)) {
		t.Error("a grace without end")
	}
}

func TestOnlyFactsAreCommitted(t *testing.T) {
	at := func(state api.TaskState, attempt int) api.TaskStatus {
		return api.TaskStatus{State: state, Attempt: attempt}
	}
	updating := &api.Service{ID: "web", SpecVersion: 2, Rollout: &api.Rollout{Target: 2, State: api.UpdateUpdating}}
	for name, c := range map[string]struct {
		stored       api.TaskStatus
		desired      api.TaskState
		service      *api.Service
		version      uint64
		said         api.TaskStatus
		replaces     api.TaskID
		fact, urgent bool
		heeded       bool // though it is not stored
	}{
		"ready for another's end":               {stored: at(api.TaskAssigned, 0), desired: api.TaskReady, said: at(api.TaskReady, 1), fact: true},
		"ready again":                           {stored: at(api.TaskReady, 1), desired: api.TaskReady, said: at(api.TaskReady, 2)},
		"ready to swap":                         {stored: at(api.TaskAssigned, 0), replaces: "old", said: at(api.TaskReady, 1), heeded: true},
		"ready, and unwanted":                   {stored: at(api.TaskAssigned, 0), replaces: "old", desired: api.TaskShutdown, said: at(api.TaskReady, 1)},
		"ready, on its own":                     {stored: at(api.TaskAssigned, 0), said: at(api.TaskReady, 1)},
		"preparing":                             {stored: at(api.TaskAssigned, 0), said: at(api.TaskPreparing, 0)},
		"starting":                              {stored: at(api.TaskAssigned, 0), said: at(api.TaskStarting, 1)},
		"first running":                         {stored: at(api.TaskAssigned, 0), said: at(api.TaskRunning, 1), fact: true},
		"restart in place":                      {stored: at(api.TaskRunning, 1), said: at(api.TaskRunning, 2)},
		"crash that is followed":                {stored: at(api.TaskRunning, 1), said: at(api.TaskFailed, 1)},
		"crash of one that fails over and over": {stored: at(api.TaskRunning, 1), said: api.TaskStatus{State: api.TaskFailed, Attempt: 5, RecentFailures: api.FaultyAfter}, heeded: true},
		"the same, unwanted":                    {stored: at(api.TaskRunning, 1), desired: api.TaskShutdown, said: api.TaskStatus{State: api.TaskRunning, Attempt: 6, RecentFailures: api.FaultyAfter}},
		"crash that is not":                     {stored: at(api.TaskRunning, 1), said: api.TaskStatus{State: api.TaskFailed, Attempt: 1, Exhausted: true}, fact: true},
		"crash that is not, said late":          {stored: at(api.TaskFailed, 1), said: api.TaskStatus{State: api.TaskFailed, Attempt: 1, Exhausted: true}, fact: true},
		"end of what was to end":                {stored: at(api.TaskRunning, 1), desired: api.TaskShutdown, said: at(api.TaskFailed, 1), fact: true},
		"shut down":                             {stored: at(api.TaskRunning, 1), desired: api.TaskShutdown, said: at(api.TaskShutdown, 1), fact: true},
		"rejected":                              {stored: at(api.TaskAssigned, 0), said: at(api.TaskRejected, 0), fact: true},
		"crash in monitor, no update":           {stored: at(api.TaskRunning, 1), said: api.TaskStatus{State: api.TaskFailed, Attempt: 1, InMonitor: true}},
		"crash in monitor, update":              {stored: at(api.TaskRunning, 1), service: updating, version: 2, said: api.TaskStatus{State: api.TaskFailed, Attempt: 1, InMonitor: true}, fact: true, urgent: true},
		"crash in monitor, old task":            {stored: at(api.TaskRunning, 1), service: updating, version: 1, said: api.TaskStatus{State: api.TaskFailed, Attempt: 1, InMonitor: true}},
		"exhausted in monitor, update":          {stored: at(api.TaskRunning, 1), service: updating, version: 2, said: api.TaskStatus{State: api.TaskFailed, Attempt: 1, InMonitor: true, Exhausted: true}, fact: true, urgent: true},
		"backwards":                             {stored: at(api.TaskRunning, 2), said: at(api.TaskFailed, 1)},
		"running again after its counts":        {stored: at(api.TaskFailed, 1), said: at(api.TaskRunning, 2), fact: true},
	} {
		t.Run(name, func(t *testing.T) {
			stored := task("t", "b")
			stored.Status, stored.SpecVersion, stored.Replaces = c.stored, c.version, c.replaces
			if c.desired != "" {
				stored.DesiredState = c.desired
			}
			objects := []api.Object{managertest.Node("b", "b"), stored}
			if c.service != nil {
				objects = append(objects, c.service)
			}
			v := store.NewView(objects...)
			s := &Server{watch: newWatch()}
			s.watch.hear(v, "b", &api.Report{Tasks: []api.TaskReport{{ID: "t", Status: c.said}}}, time.Now())
			facts := s.Facts(v, time.Now())
			if (len(facts.Tasks) == 1) != c.fact || facts.Urgent != c.urgent {
				t.Errorf("fact %v urgent %v, want %v %v", len(facts.Tasks) == 1, facts.Urgent, c.fact, c.urgent)
			}
			if (len(facts.Unstored) == 1) != c.heeded {
				t.Errorf("heeded: %v, want %v", len(facts.Unstored) == 1, c.heeded)
			}
		})
	}
}

func TestReportsOfOthersTasksAreIgnored(t *testing.T) {
	v := store.NewView(managertest.Node("b", "b"), managertest.Node("c", "c"), task("t", "b"))
	s := &Server{watch: newWatch()}
	for _, id := range []api.TaskID{"t", "unknown"} {
		s.watch.hear(v, "c", &api.Report{Tasks: []api.TaskReport{{ID: id, Status: api.TaskStatus{State: api.TaskFailed, Attempt: 9}}}}, time.Now())
	}
	if got := s.Status(v.Task("t")); got.State != api.TaskAssigned || len(s.watch.tasks) != 0 {
		t.Errorf("a node spoke for another's task: %+v", got)
	}
}

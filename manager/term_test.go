package manager

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
)

func TestCreateScaleRemove(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		before := f.Log.Commits()
		f.create(serviceSpec(6, nil))
		f.within(2*time.Second, "running", func() bool { return f.seen() == 6 })
		f.pass(10 * time.Second)
		if n := f.Log.Commits() - before; n > 3 {
			t.Errorf("creating 6 tasks made %d commits", n)
		}
		for id, agent := range f.agents {
			if n := len(agent.Statuses()); n != 2 {
				t.Errorf("board %s has %d tasks", id, n)
			}
		}
		f.idle()

		before = f.Log.Commits()
		f.update(api.ServicePatch{Replicas: new(uint64(30))})
		f.within(2*time.Second, "scaled up", func() bool { return f.seen() == 30 })
		f.pass(10 * time.Second)
		if n := f.Log.Commits() - before; n > 3 {
			t.Errorf("scaling to 30 made %d commits", n)
		}
		f.update(api.ServicePatch{Replicas: new(uint64(1))})
		f.within(2*time.Second, "scaled down", func() bool { return f.running(1) == 1 })
		f.idle()

		if _, err := f.term.Control().RemoveService(f.ctx, &api.RemoveServiceRequest{RequestID: "rm", Service: "web"}); err != nil {
			t.Fatal(err)
		}
		f.within(5*time.Second, "removed", func() bool { return f.service() == nil && f.View().Tasks.Len() == 0 && f.running(1) == 0 })
		f.idle()
	})
}

func TestIdleFleetCommitsNothing(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.create(serviceSpec(6, nil))
		f.pass(30 * time.Second)
		before := f.Log.Commits()
		f.pass(400 * time.Second) // 1,200 heartbeats
		if n := f.Log.Commits() - before; n != 0 {
			t.Errorf("%d commits", n)
		}
		for id, agent := range f.agents {
			if agent.Gaps() != 0 {
				t.Errorf("board %s saw %d gaps", id, agent.Gaps())
			}
		}
	})
}

// Every wave of an update is three commits at the most, however its tasks
// trickle in.
func TestWaveCommitsThreeTimesAtMost(t *testing.T) {
	for name, order := range map[string]api.UpdateOrder{"stop first": api.StopFirst, "start first": api.StartFirst} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, func(t *testing.T, f *fleet) {
				f.agents["b"].Starts, f.agents["c"].Stops = 700*time.Millisecond, 600*time.Millisecond
				f.create(serviceSpec(6, &api.UpdateConfig{Parallelism: 2, Delay: 5 * time.Second, Order: order}))
				f.pass(20 * time.Second)
				before := f.Log.Commits()
				f.update(api.ServicePatch{Image: new("web:2")})
				f.within(2*time.Minute, "updated", func() bool {
					s := f.service().UpdateStatus
					return s != nil && s.State == api.UpdateCompleted
				})
				f.pass(10 * time.Second)
				waves := f.service().Rollout.Wave
				if waves != 3 || f.running(2) != 6 || f.running(1) != 0 {
					t.Errorf("%d waves; %d of the new, %d of the old run", waves, f.running(2), f.running(1))
				}
				// One more is the user's, one the record of its end.
				if n := f.Log.Commits() - before; n > 3*waves+2 {
					t.Errorf("%d waves made %d commits", waves, n)
				}
				f.idle()
			})
		})
	}
}

// A leader dies five seconds into a delay of ten. Its successor, whose clock
// says 1970, begins the next wave no sooner than ten after the last.
func TestDelaySurvivesTheLeader(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.create(serviceSpec(4, &api.UpdateConfig{Parallelism: 2, Delay: 10 * time.Second}))
		f.pass(20 * time.Second)
		f.update(api.ServicePatch{Image: new("web:2")})
		f.within(10*time.Second, "first wave", func() bool { return f.running(2) == 2 })
		waved := time.Now()
		f.pass(5 * time.Second)
		f.resign()
		f.pass(time.Second)
		zero := time.Now()
		f.lead(func() time.Time { return time.Unix(0, 0).Add(time.Since(zero)) })
		f.within(time.Minute, "second wave", func() bool { return f.service().Rollout.Wave == 2 })
		if took := time.Since(waved); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("the next wave came %v after the last", took)
		}
		f.within(time.Minute, "updated", func() bool { return f.running(2) == 4 && f.running(1) == 0 })
		if f.View().Time.Before(waved) {
			t.Error("fleet time ran backwards")
		}
	})
}

func TestLosingTheLeaderIsANonEvent(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.create(serviceSpec(6, nil))
		f.pass(20 * time.Second)
		before, sent := f.Log.Commits(), len(f.agents["b"].Received())
		for range 5 {
			f.resign()
			f.pass(2 * time.Second)
			f.lead(time.Now)
			f.pass(20 * time.Second)
		}
		if n := f.Log.Commits() - before; n != 0 {
			t.Errorf("five elections made %d commits", n)
		}
		for _, a := range f.agents["b"].Received()[sent:] {
			if a.Full || len(a.Set) > 0 || len(a.Removed) > 0 {
				t.Errorf("the new leader sent %+v to a board that has it all", a)
			}
		}
	})
}

func TestDeadBoardsTasksRunElsewhere(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.create(serviceSpec(6, nil))
		f.pass(20 * time.Second)

		// Away for less than it takes to be down.
		f.kill("c")
		f.pass(3 * time.Second)
		f.boot("c")
		before := f.Log.Commits()
		f.pass(20 * time.Second)
		if n := f.Log.Commits() - before; n != 0 || f.seen() != 6 {
			t.Fatalf("a board that was away for 3 s made %d commits", n)
		}

		f.kill("c")
		lost := f.agents["c"]
		delete(f.agents, "c") // what it says does not count any more
		took := f.within(10*time.Second, "running elsewhere", func() bool { return f.running(1) == 6 })
		if took < 3*time.Second {
			t.Errorf("declared dead after %v", took)
		}
		f.idle()

		// It comes back with what it had: that is stopped there, and nothing else moves.
		f.agents["c"] = lost
		f.boot("c")
		f.within(5*time.Second, "tidied up", func() bool { return f.running(1) == 6 })
		f.idle()
		if f.seen() != 6 || f.View().Node("c").Status.State != api.NodeReady {
			t.Errorf("%d run, the node is %s", f.seen(), f.View().Node("c").Status.State)
		}
	})
}

// A board that holds another set than the leader believes notices, and is sent
// all of it.
func TestGapIsNoticedAndMended(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.create(serviceSpec(3, nil))
		f.pass(10 * time.Second)
		f.agents["b"].Forget()
		f.update(api.ServicePatch{Replicas: new(uint64(6))})
		f.within(5*time.Second, "mended", func() bool { return f.seen() == 6 && f.running(1) == 6 })
		if f.agents["b"].Gaps() != 1 {
			t.Errorf("%d gaps were noticed", f.agents["b"].Gaps())
		}
	})
}

func TestRequestRetriedAcrossTermsCountsOnce(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.create(serviceSpec(1, nil))
		f.pass(10 * time.Second)
		ask := &api.UpdateServiceRequest{RequestID: "once", Service: "web", Patch: api.ServicePatch{Force: true}}
		first, err := f.term.Control().UpdateService(f.ctx, ask)
		if err != nil {
			t.Fatal(err)
		}
		old := f.term
		f.resign()
		if _, err := old.Control().UpdateService(f.ctx, ask); api.KindOf(err) != api.NotLeader {
			t.Errorf("a leader of the past answered %v", err)
		}
		f.lead(time.Now)
		again, err := f.term.Control().UpdateService(f.ctx, ask)
		if err != nil || again.Service.SpecVersion != first.Service.SpecVersion || again.Service.Spec.TaskTemplate.ForceUpdate != 1 {
			t.Errorf("the retry: %+v, %v", again, err)
		}
	})
}

func TestFailingUpdatePauses(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.create(serviceSpec(6, &api.UpdateConfig{Parallelism: 1}))
		f.pass(20 * time.Second)
		for _, agent := range f.agents {
			agent.Crash = func(task *api.Task) bool { return task.SpecVersion == 2 }
		}
		f.update(api.ServicePatch{Image: new("web:2")})
		took := f.within(5*time.Second, "paused", func() bool {
			s := f.service().UpdateStatus
			return s != nil && s.State == api.UpdatePaused
		})
		if took > 3*time.Second || f.running(1) != 5 {
			t.Errorf("paused after %v with %d of the old running", took, f.running(1))
		}
	})
}

// A log that can't take entries now must not end the term, nor lose what was said.
func TestCommitsThatFailAreMadeLater(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.create(serviceSpec(3, nil))
		f.pass(10 * time.Second)
		f.Log.Fail(consensus.ErrBusy)
		f.kill("c")
		f.pass(10 * time.Second)
		if f.View().Node("c").Status.State != api.NodeReady {
			t.Fatal("committed by a log that takes nothing")
		}
		f.Log.Fail(nil)
		f.within(2*time.Second, "down", func() bool { return f.View().Node("c").Status.State == api.NodeDown })
	})
}

// What does not fit into one entry of the log is made in several.
func TestPlanTooLargeForOneEntryIsSplit(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.Log.Limit(16 << 10)
		f.create(serviceSpec(100, nil))
		f.within(5*time.Second, "running", func() bool { return f.seen() == 100 })
		f.update(api.ServicePatch{Replicas: new(uint64(101))})
		f.within(5*time.Second, "running", func() bool { return f.seen() == 101 })
	})
}

func TestVotersFollowTheOperator(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		voters := func() (ids string) {
			servers, _ := f.raft.Servers()
			for _, s := range servers {
				if s.Voter {
					ids += s.ID
				}
			}
			return ids
		}
		if voters() != "abc" {
			t.Fatalf("%s vote", voters())
		}
		if _, err := f.term.Control().UpdateNode(f.ctx, &api.UpdateNodeRequest{RequestID: "d", Node: "c", Role: new(api.RoleWorker)}); err != nil {
			t.Fatal(err)
		}
		f.within(5*time.Second, "one voter", func() bool { return len(voters()) == 1 })
		if _, err := f.term.Control().UpdateNode(f.ctx, &api.UpdateNodeRequest{RequestID: "p", Node: "c", Role: new(api.RoleManager)}); err != nil {
			t.Fatal(err)
		}
		f.within(5*time.Second, "three voters", func() bool { return len(voters()) == 3 })
		for _, item := range f.agents["b"].Items() {
			if item.Fleet != nil && !item.Fleet.Voter {
				t.Error("a voter was not told so")
			}
		}
	})
}

// A part of the term that fails ends all of it, and is named.
func TestFailingPartEndsTheTerm(t *testing.T) {
	broken, others := errors.New("broken"), 0
	err := together(t.Context(), map[string]func(context.Context) error{
		"good": func(ctx context.Context) error { <-ctx.Done(); others++; return nil },
		"bad":  func(context.Context) error { return broken },
	})
	if !errors.Is(err, broken) || err.Error() != "bad: broken" || others != 1 {
		t.Errorf("got %v", err)
	}
}

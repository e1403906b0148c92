package agent

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
	"github.com/edgeswarm/edgeswarm/runtime/sim"
)

func TestRestartOfEdgedAdopts(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"), published(task("b"), 80), task("c"))
		b.after(time.Second)
		pid := b.want("a", api.TaskRunning, 1).PID
		started := len(b.host.Journal())

		b.kill()
		if err := b.host.Kill("c.1", 7); err != nil {
			t.Fatal(err)
		}
		b.after(time.Minute)
		b.begin()
		b.after(time.Second)
		if s := b.want("a", api.TaskRunning, 1); s.PID != pid {
			t.Errorf("PID %d became %d", pid, s.PID)
		}
		b.want("b", api.TaskRunning, 1)
		if s := b.want("c", api.TaskFailed, 1); *s.ExitCode != 7 || !s.InMonitor {
			t.Errorf("an end while edged was away: %+v", s)
		}
		if n := len(b.host.Journal()); n != started+1 { // its end
			t.Errorf("journal: %v", b.host.Journal()[started:])
		}
		if b.writes() != 0 {
			t.Errorf("%d writes for tasks that ran on", b.writes())
		}
		b.after(5 * time.Second)
		b.want("c", api.TaskRunning, 2)

		// An adopted task is a task like another.
		if err := b.host.Kill("a.1", 1); err != nil {
			t.Fatal(err)
		}
		b.after(6 * time.Second)
		b.want("a", api.TaskRunning, 2)
		b.leader.desire("b", api.TaskShutdown)
		b.after(time.Second)
		b.want("b", api.TaskShutdown, 1)
	})
}

// How long a task ran is not forgotten with edged: not that it was long, which
// ends a streak of crashes, and not that it was short.
func TestAdoptedTaskHasRunSinceItStarted(t *testing.T) {
	for name, c := range map[string]struct {
		ran       time.Duration // before edged is restarted, and the task crashes
		away      bool          // it crashes while there is no edged
		inMonitor bool
		wait      time.Duration // for the next attempt
	}{
		"long":                  {time.Hour, false, false, 5 * time.Second},
		"long, edged away":      {time.Hour, true, false, 5 * time.Second},
		"a moment":              {2 * time.Second, false, true, 10 * time.Second},
		"a moment, edged away":  {2 * time.Second, true, true, 10 * time.Second},
		"just out of monitor":   {6 * time.Second, false, false, 10 * time.Second},
		"out of it, edged away": {6 * time.Second, true, false, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *board) {
				b.leader.tasks(task("a"))
				b.after(c.ran)
				b.agent.mu.Lock()
				w := b.agent.workers["a"]
				b.agent.mu.Unlock()
				w.hist.streak = 1 // a crash before, remembered as begin does
				w.save(b.Context())
				b.kill()
				if !c.away {
					b.begin()
					b.after(10 * time.Millisecond)
				}
				if err := b.host.Kill("a.1", 1); err != nil {
					t.Fatal(err)
				}
				ended := time.Now()
				if c.away {
					b.after(time.Hour)
					b.begin()
					ended = time.Now()
				}
				b.after(200 * time.Millisecond)
				if s := b.want("a", api.TaskFailed, 1); s.InMonitor != c.inMonitor {
					t.Errorf("in monitor: %v, want %v", s.InMonitor, c.inMonitor)
				}
				b.after(c.wait)
				if at := b.starts("a"); len(at) != 2 || at[1].Sub(ended).Round(time.Second) != c.wait {
					t.Errorf("started at %v, want again %v after %v", at, c.wait, ended)
				}
			})
		})
	}
}

// Only a task's first start is monitored: one that edged finds in a later
// attempt is past that.
func TestAdoptedLaterAttemptIsNotMonitored(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"))
		b.after(time.Minute)
		if err := b.host.Kill("a.1", 1); err != nil {
			t.Fatal(err)
		}
		b.after(6 * time.Second)
		b.want("a", api.TaskRunning, 2)
		b.restart()
		b.after(time.Second)
		if err := b.host.Kill("a.2", 1); err != nil {
			t.Fatal(err)
		}
		b.after(200 * time.Millisecond)
		if s := b.want("a", api.TaskFailed, 2); s.InMonitor {
			t.Error("the end of a later attempt counts against the update")
		}
		b.after(10 * time.Second)
		b.want("a", api.TaskRunning, 3)
		if err := b.host.Kill("a.3", 1); err != nil {
			t.Fatal(err)
		}
		b.after(200 * time.Millisecond)
		if s := b.want("a", api.TaskFailed, 3); s.InMonitor {
			t.Error("so does that of the one after it")
		}
	})
}

func TestRestartOfEdgedFinishesWhatWasBegun(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("stopping", "ignore TERM", "wait"), task("leaving"), task("orphan"))
		b.after(time.Second)
		b.leader.desire("stopping", api.TaskShutdown)
		b.after(time.Second)
		b.want("stopping", api.TaskDraining, 1)
		b.kill()
		b.leader.unassign("leaving") // and edged learns of it only when it is back
		b.begin()
		b.after(time.Second)
		b.wantRunning("orphan.1", "stopping.1")
		b.after(10 * time.Second)
		b.want("stopping", api.TaskShutdown, 1)
		b.wantRunning("orphan.1")
	})
}

func TestOrphansAreRemoved(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"))
		b.after(time.Second)
		b.kill()
		other := runtime.Container{ID: "stray.1", Task: "stray", Attempt: 1, Image: testImage}
		driver := b.host.Open()
		if err := driver.Prepare(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if _, err := driver.Start(t.Context(), other.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := b.network.Attach(t.Context(), task("stray")); err != nil {
			t.Fatal(err)
		}
		b.begin()
		b.after(time.Second)
		b.wantRunning("a.1")
		if b.network.has("stray") || !b.network.has("a") {
			t.Error("the network keeps the wrong tasks")
		}
	})
}

// TestRebootWithoutManagers is the promise that a board without its managers
// goes on: here it is cut off, loses power twice, and comes back.
func TestRebootWithoutManagers(t *testing.T) {
	inBubble(t, func(b *board) {
		done := task("done", "exit 0")
		done.Spec.RestartPolicy = &api.RestartPolicy{Condition: api.RestartOnFailure}
		ids := []api.TaskID{"a", "b", "c"}
		b.leader.tasks(task("a"), published(task("b"), 8080), task("c"), done, task("gone"))
		b.after(time.Second)
		b.leader.desire("gone", api.TaskShutdown)
		b.after(time.Second)
		b.leader.vanish()
		b.after(time.Minute)
		b.wantRunning("a.1", "b.1", "c.1")

		for attempt := 2; attempt <= 3; attempt++ {
			b.unplug()
			if attempt == 3 {
				b.host.Wipe() // nor does anything remind of the attempts there were
			}
			b.begin()
			b.after(3 * time.Second) // at once: a power cut is no failure of theirs
			for _, id := range ids {
				b.want(id, api.TaskRunning, attempt)
			}
			b.want("done", api.TaskComplete, 1)
			b.want("gone", api.TaskShutdown, 1)
			b.after(time.Hour)
		}
		b.wantRunning("a.3", "b.3", "c.3")
		before := len(b.host.Journal())

		b.leader.appear()
		b.after(10 * time.Second)
		for _, id := range ids {
			b.want(id, api.TaskRunning, 3)
		}
		b.wantRunning("a.3", "b.3", "c.3")
		if n := len(b.host.Journal()); n != before {
			t.Errorf("healthy tasks were touched: %v", b.host.Journal()[before:])
		}
	})
}

// TestTaskThatRunsOnceIsNotRunAgain: its policy forbids a second run, and a
// power cut is no reason for one.
func TestTaskThatRunsOnceIsNotRunAgain(t *testing.T) {
	inBubble(t, func(b *board) {
		once := task("once")
		once.Spec.RestartPolicy = &api.RestartPolicy{Condition: api.RestartNone}
		b.leader.tasks(once)
		b.after(time.Second)
		b.restart()
		b.after(time.Second)
		b.want("once", api.TaskRunning, 1)
		b.reboot()
		b.after(time.Minute)
		if s := b.want("once", api.TaskFailed, 1); !s.Exhausted || !strings.Contains(s.Err, "board restarted") {
			t.Errorf("status %+v", s)
		}
		b.wantRunning()
	})
}

func TestLostStateGoesOnFromWhatTheLeaderKnows(t *testing.T) {
	inBubble(t, func(b *board) {
		done, a := task("done"), task("a")
		done.Status = api.TaskStatus{State: api.TaskComplete, Attempt: 4, Exhausted: true}
		a.Status = api.TaskStatus{State: api.TaskRunning, Attempt: 4}
		b.leader.tasks(done, a)
		b.after(time.Second)
		b.want("done", api.TaskComplete, 4)
		b.want("a", api.TaskRunning, 5)
		b.wantRunning("a.5")
	})
}

func TestRuntimeGoesAndComesBack(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"), task("dies"))
		b.after(time.Second)
		before := len(b.host.Journal())
		b.host.SetDown(true)
		b.leader.tasks(task("late"))
		b.after(10 * time.Second)
		if d := b.leader.board(); d.Engine.RuntimeError == "" || d.Engine.Runtime != "sim 1" {
			t.Errorf("leader knows %+v of a board without its runtime", d.Engine)
		}
		if s := b.want("a", api.TaskRunning, 1); !strings.Contains(s.Message, "does not answer") {
			t.Errorf("status %+v does not say that nobody watches", s)
		}
		if s := b.status("late"); s.State != api.TaskPreparing || !strings.Contains(s.Message, "waits for the container runtime") {
			t.Errorf("status %+v does not say what it waits for", s)
		}
		if err := b.host.Kill("dies.1", 2); err != nil {
			t.Fatal(err)
		}
		b.after(time.Hour)
		b.want("dies", api.TaskRunning, 1)

		b.host.SetDown(false)
		b.after(3 * time.Second)
		if d := b.leader.board(); d.Engine.RuntimeError != "" {
			t.Errorf("leader knows %+v of a board whose runtime is back", d.Engine)
		}
		if s := b.want("a", api.TaskRunning, 1); s.Message != "" {
			t.Errorf("status %+v", s)
		}
		b.want("late", api.TaskRunning, 1)
		b.want("dies", api.TaskFailed, 1)
		b.after(5 * time.Second)
		b.want("dies", api.TaskRunning, 2)
		for _, e := range b.host.Journal()[before:] {
			if e.Task == "a" {
				t.Errorf("a healthy task was touched: %+v", e)
			}
		}
	})
}

// A board on which nothing runs has nobody to miss the runtime, and its leader
// is told of the loss at once all the same.
func TestRuntimeIsMissedAtOnce(t *testing.T) {
	inBubble(t, func(b *board) {
		b.after(time.Minute)
		for range 3 {
			b.host.SetDown(true)
			b.after(1100 * time.Millisecond)
			if d := b.leader.board(); d.Engine.RuntimeError == "" {
				t.Error("the leader does not know that the runtime is gone")
			}
			b.host.SetDown(false)
			b.after(1100 * time.Millisecond)
			if d := b.leader.board(); d.Engine.RuntimeError != "" {
				t.Errorf("the leader does not know that the runtime is back: %s", d.Engine.RuntimeError)
			}
		}
	})
}

func TestBeginsWithoutRuntime(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"))
		b.after(time.Second)
		b.kill()
		b.host.SetDown(true)
		b.begin()
		b.after(3 * time.Second) // its tasks run on, and are given up if it is silent for longer
		if !b.agent.Standing().Connected || b.leader.board().Engine.RuntimeError == "" {
			t.Error("a board without a runtime does not tell its leader")
		}
		b.after(time.Minute)
		if all := b.agent.Tasks(); len(all) != 1 || !strings.Contains(all[0].Status.Message, "waits for the container runtime") {
			t.Errorf("tasks %+v", all)
		}
		b.host.SetDown(false)
		b.after(3 * time.Second)
		b.want("a", api.TaskRunning, 1)
	})
}

// TestBootsTogetherWithItsRuntime: a board that boots is not ready before its
// runtime, and calls one missing that takes too long, but none that takes its time.
func TestBootsTogetherWithItsRuntime(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"))
		b.after(time.Second)
		for _, takes := range []time.Duration{startsWithin / 2, 2 * startsWithin} {
			b.unplug()
			b.heard()
			b.host.SetDown(true)
			b.begin()
			b.after(startsWithin / 2)
			if b.agent.Standing().Connected {
				t.Fatal("it is ready before its runtime")
			}
			b.after(takes - startsWithin/2)
			late := takes > startsWithin
			if b.agent.Standing().Connected != late || late == (b.leader.board().Engine.RuntimeError == "") {
				t.Errorf("after %v without a runtime: connected is %t, the leader knows %+v", takes, b.agent.Standing().Connected, b.leader.board().Engine)
			}
			b.host.SetDown(false)
			b.after(5 * time.Second)
			b.want("a", api.TaskRunning, b.boots+1)
			if !b.agent.Standing().Connected || b.leader.board().Engine.RuntimeError != "" {
				t.Error("its runtime answers, and it is not ready")
			}
			if said := b.heard(); strings.Contains(said, "does not answer") != late {
				t.Errorf("after %v without a runtime it said\n%s", takes, said)
			}
		}
	})
}

// swap makes new take the place of old, as the orchestrator does it.
func (b *board) swap(old api.TaskID, next *api.Task, stopFirst bool) {
	next.Replaces = old
	if stopFirst {
		b.leader.tasks(b.leader.with(old, api.TaskShutdown), next)
	} else {
		b.leader.tasks(next)
	}
}

func TestSwapStopFirst(t *testing.T) {
	for name, port := range map[string]uint16{"ports move": 80, "no ports": 0, "a named one moves": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard(t, func(c runtime.Container) sim.Script {
					return sim.Script{PrepareTime: time.Second, Program: []string{"linger 3s", "wait"}}
				})
				old, next := published(task("old"), port), published(task("new"), port)
				if name == "a named one moves" {
					old, next = given(old, "gpu", "A"), given(next, "gpu", "B", "A")
				}
				b.leader.tasks(old)
				b.after(2 * time.Second)
				b.images.fail("sha256:new", api.Errorf(api.Unavailable, "", "no neighbour has it"))
				next.Spec.ContainerSpec.Image = "web:2@sha256:new"
				b.swap("old", next, true)
				b.after(time.Hour)
				b.want("old", api.TaskRunning, 1) // it serves until the new one can
				b.want("new", api.TaskPreparing, 1)

				b.images.fail("", nil)
				b.after(30 * time.Second)
				b.want("old", api.TaskShutdown, 1)
				b.want("new", api.TaskRunning, 1)
				b.wantRunning("new.1")
				events := map[sim.Op]map[api.TaskID]time.Time{}
				for _, e := range b.host.Journal() {
					if events[e.Op] == nil {
						events[e.Op] = map[api.TaskID]time.Time{}
					}
					events[e.Op][e.Task] = e.At
				}
				ended, started := events[sim.OpEnd]["old"], events[sim.OpStart]["new"]
				if started.Before(ended) {
					t.Errorf("new started at %v, before old ended at %v", started, ended)
				}
				if gap := started.Sub(ended); port == 0 && gap > 100*time.Millisecond {
					t.Errorf("nothing ran for %v, though no port was in the way of making the container before", gap)
				}
			})
		})
	}
}

// TestSwapWithOneThatWillNotStop: it is waited for as long as it may take and a
// while longer, but for ever only if it holds a port, or what the other was given.
func TestSwapWithOneThatWillNotStop(t *testing.T) {
	for name, c := range map[string]struct {
		port uint16
		gpu  string
		want api.TaskState
	}{"in nobody's way": {0, "B", api.TaskRunning}, "with the port": {80, "B", api.TaskReady}, "with the same GPU": {0, "A", api.TaskReady}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *board) {
				b.deaf = "old.1"
				old := given(published(task("old"), c.port), "gpu", "A")
				old.Spec.ContainerSpec.StopGracePeriod = new(3 * time.Second)
				b.leader.tasks(old)
				b.after(time.Second)
				b.swap("old", given(published(task("new"), c.port), "gpu", c.gpu), true)
				b.after(32 * time.Second)
				b.want("new", api.TaskReady, 1)
				b.after(2 * time.Second)
				b.want("new", c.want, 1)
				b.want("old", api.TaskDraining, 1)
				b.after(time.Hour)
				b.want("new", c.want, 1)
			})
		})
	}
}

func TestSwapStartFirst(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("old"))
		b.after(time.Second)
		b.swap("old", task("new"), false)
		b.after(time.Second)
		b.wantRunning("new.1", "old.1")
		b.leader.desire("old", api.TaskShutdown)
		b.after(time.Second)
		b.wantRunning("new.1")
	})
}

func TestSwapWithOneThatIsRejected(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("old"))
		b.after(time.Second)
		bad := task("new")
		bad.Spec.ContainerSpec.Mounts = []api.Mount{{Type: api.MountBind, Source: "/no/such/folder", Target: "/data"}}
		b.swap("old", bad, true)
		b.after(time.Second)
		b.want("new", api.TaskRejected, 1)
		b.want("old", api.TaskShutdown, 1) // the leader's word holds
	})
}

func TestSwapThatIsCalledOff(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("old"))
		b.after(time.Second)
		b.images.fail(testImage, api.Errorf(api.Unavailable, "", "no neighbour has it"))
		b.swap("old", task("new"), true)
		b.after(time.Minute)
		b.wantRunning("old.1")
		b.leader.desire("new", api.TaskShutdown)
		b.after(time.Second)
		b.wantRunning()
		b.want("old", api.TaskShutdown, 1)
		b.want("new", api.TaskShutdown, 1)
	})
}

func TestSwapGoesOnAfterRestart(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(published(task("old"), 80))
		b.after(time.Second)
		b.images.fail(testImage, api.Errorf(api.Unavailable, "", "no neighbour has it"))
		b.swap("old", published(task("new"), 80), true)
		b.after(time.Minute)
		b.restart()
		b.after(time.Minute)
		b.wantRunning("old.1")
		b.images.fail("", nil)
		b.after(15 * time.Second)
		b.want("old", api.TaskShutdown, 1)
		if s := b.status("new"); s.State != api.TaskRunning {
			t.Errorf("new is %+v", s)
		}
	})
}

// TestRebootOfOneThatWaitedForItsNextAttempt: how the attempt ended is told
// to the leader but on no disk, so the board must not tell otherwise later.
func TestRebootOfOneThatWaitedForItsNextAttempt(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("old", "exit 1"))
		b.after(time.Second)
		b.images.fail(testImage, api.Errorf(api.Unavailable, "", "no neighbour has it"))
		b.swap("old", task("new"), true)
		b.after(time.Second)
		b.want("old", api.TaskFailed, 1)
		b.reboot()
		b.after(time.Second)
		b.want("old", api.TaskShutdown, 2)
	})
}

// TestStopOfOneThatEndedWhileEdgedWasAway: its end is its own.
func TestStopOfOneThatEndedWhileEdgedWasAway(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a", "exit 3"))
		b.after(time.Second)
		b.want("a", api.TaskFailed, 1)
		b.kill()
		b.host.SetDown(true)
		b.leader.desire("a", api.TaskShutdown)
		b.begin()
		b.after(time.Second)
		b.host.SetDown(false)
		b.after(3 * time.Second)
		if s := b.want("a", api.TaskFailed, 1); *s.ExitCode != 3 {
			t.Errorf("status %+v", s)
		}
	})
}

// TestPortOfOneThatWasNotStarted: what a former process attached for a task that
// it did not start is let go before the port is given to another.
func TestPortOfOneThatWasNotStarted(t *testing.T) {
	for range 10 { // which of the two comes first is left to chance
		inBubble(t, func(b *board) {
			first := published(task("first", "wait"), 80)
			first.DesiredState = api.TaskReady // all is made, and nothing runs
			b.leader.tasks(first)
			b.after(time.Second)
			if !b.network.has("first") {
				t.Fatal("not attached")
			}
			b.host.SetDown(true)
			b.leader.tasks(b.leader.with("first", api.TaskShutdown), published(task("second", "wait"), 80))
			b.after(time.Second)
			b.restart()
			b.host.SetDown(false)
			b.after(time.Minute)
			b.want("second", api.TaskRunning, 2) // the first was cut off by the restart
		})
	}
}

func TestPortOfAnother(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(published(task("a", "ignore TERM", "wait"), 80))
		b.after(time.Second)
		b.leader.tasks(b.leader.with("a", api.TaskShutdown), published(task("b"), 80)) // b replaces nothing
		b.after(time.Second)
		if s := b.want("b", api.TaskReady, 1); !strings.Contains(s.Message, "80/tcp") {
			t.Errorf("status %+v does not name the port", s)
		}
		b.after(10 * time.Second)
		b.want("b", api.TaskRunning, 1)
		b.wantRunning("b.1")
	})
}

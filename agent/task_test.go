package agent

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
	"github.com/edgeswarm/edgeswarm/runtime/sim"
)

func inBubble(t *testing.T, test func(b *board)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newBoard(t, nil)) })
}

func TestTaskLifecycle(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"))
		b.after(time.Second)
		s := b.want("a", api.TaskRunning, 1)
		if s.ContainerID != "a.1" || s.PID == 0 {
			t.Errorf("status %+v leaves out container or PID", s)
		}
		b.wantRunning("a.1")

		b.leader.desire("a", api.TaskShutdown)
		b.after(time.Second)
		if s = b.want("a", api.TaskShutdown, 1); s.ExitCode == nil || *s.ExitCode != 143 {
			t.Errorf("status %+v, want exit code 143", s)
		}
		if len(b.host.Containers()) != 0 || b.network.has("a") || len(b.logs.open) != 0 {
			t.Error("a task that was shut down leaves container, network or open logs behind")
		}
		if b.logs.removed["a"] {
			t.Error("lines are gone with the task still in the set")
		}

		b.leader.desire("a", api.TaskRemoved)
		b.after(time.Second)
		b.want("a", api.TaskRemoved, 1)
		if !b.logs.removed["a"] {
			t.Error("lines of a removed task are kept")
		}
		b.leader.unassign("a")
		b.after(time.Second)
		if len(b.agent.Tasks()) != 0 || len(b.agent.workers) != 0 {
			t.Error("a task that left the set is remembered")
		}
		if _, ok := b.agent.outbox.get("a"); ok || b.agent.disk.rawRecord("a") != nil {
			t.Error("progress of a task that left the set is remembered")
		}
	})
}

func TestTaskThatLeavesTheSetIsStoppedAndRemoved(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"), task("b"))
		b.after(time.Second)
		b.leader.unassign("a")
		b.after(time.Second)
		b.wantRunning("b.1")
		if b.network.has("a") || !b.logs.removed["a"] {
			t.Error("network or logs are left behind")
		}
		if ops := opsOf(b.host.Journal(), "a"); !slices.Contains(ops, sim.OpSignal) {
			t.Errorf("it was not told to end: %v", ops)
		}
	})
}

func opsOf(journal []sim.Event, id api.TaskID) (ops []sim.Op) {
	for _, e := range journal {
		if e.Task == id {
			ops = append(ops, e.Op)
		}
	}
	return ops
}

func TestReadyWaitsForRunning(t *testing.T) {
	inBubble(t, func(b *board) {
		a := task("a")
		a.DesiredState = api.TaskReady
		b.leader.tasks(a)
		b.after(time.Hour)
		b.want("a", api.TaskReady, 1)
		b.wantRunning()
		b.leader.desire("a", api.TaskRunning)
		b.after(time.Second)
		b.want("a", api.TaskRunning, 1)
	})
}

func TestStopSignalAndGrace(t *testing.T) {
	inBubble(t, func(b *board) {
		polite, stubborn, slow := task("polite", "on INT 0", "wait"), task("stubborn", "ignore TERM", "wait"), task("slow", "ignore TERM", "wait")
		polite.Spec.ContainerSpec.StopSignal = "SIGINT"
		grace := time.Minute
		slow.Spec.ContainerSpec.StopGracePeriod = &grace
		b.leader.tasks(polite, stubborn, slow)
		b.after(time.Second)
		for _, id := range []api.TaskID{"polite", "stubborn", "slow"} {
			b.leader.desire(id, api.TaskShutdown)
		}
		b.after(time.Second)
		if s := b.want("polite", api.TaskShutdown, 1); *s.ExitCode != 0 {
			t.Errorf("polite ended with %d, want 0", *s.ExitCode)
		}
		b.want("stubborn", api.TaskDraining, 1)
		b.after(9500 * time.Millisecond)
		if s := b.want("stubborn", api.TaskShutdown, 1); *s.ExitCode != 137 {
			t.Errorf("stubborn ended with %d, want 137", *s.ExitCode)
		}
		b.want("slow", api.TaskDraining, 1)
		b.after(50 * time.Second)
		b.want("slow", api.TaskShutdown, 1)
	})
}

func TestRestartInPlace(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a", "sleep 1m", "exit 3"))
		b.after(time.Minute + time.Second)
		s := b.want("a", api.TaskFailed, 1)
		if s.Exhausted || s.InMonitor || *s.ExitCode != 3 || s.Err != "exit code 3" || s.Message != "restarts in 5s" {
			t.Errorf("status %+v", s)
		}
		b.after(5 * time.Second)
		s = b.want("a", api.TaskRunning, 2)
		if s.ContainerID != "a.2" || !strings.Contains(s.Message, "exit code 3") {
			t.Errorf("status %+v", s)
		}
		if all := b.host.Containers(); len(all) != 1 || all[0].ID != "a.2" {
			t.Errorf("containers %+v, want the second attempt's only", all)
		}
	})
}

func TestCrashLoopBacksOff(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a", "exit 1"))
		b.after(time.Hour)
		at := b.starts("a")
		var gaps []time.Duration
		for i := range at[1:] {
			gaps = append(gaps, at[i+1].Sub(at[i]).Round(time.Second))
		}
		want := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 5 * time.Minute, 5 * time.Minute}
		if len(gaps) < len(want) || !slices.Equal(gaps[:len(want)], want) {
			t.Errorf("waits between starts: %v, want %v", gaps, want)
		}
		if all := b.host.Containers(); len(all) != 1 {
			t.Errorf("%d containers are kept, want that of the last attempt", len(all))
		}
	})
}

// What took over from tasks that kept failing goes on with their waits, unless
// it does better.
func TestBackoffGoesOnFromTaskToTask(t *testing.T) {
	inBubble(t, func(b *board) {
		moved, better := task("moved", "exit 1"), task("better", "sleep 20s", "exit 1")
		moved.Failures, better.Failures = 2, 2
		b.leader.tasks(moved, better)
		b.after(21 * time.Second)
		if s := b.want("moved", api.TaskFailed, 2); s.NextTry != 40*time.Second || s.RecentFailures != 2 {
			t.Errorf("waits %v after %d failures", s.NextTry, s.RecentFailures)
		}
		if s := b.want("better", api.TaskFailed, 1); s.NextTry != 5*time.Second {
			t.Errorf("what ran for 20 s waits %v", s.NextTry)
		}
	})
}

func TestExhausted(t *testing.T) {
	two, delay := uint64(2), time.Second
	for name, c := range map[string]struct {
		policy  api.RestartPolicy
		program string
		state   api.TaskState
		attempt int
	}{
		"none":               {api.RestartPolicy{Condition: api.RestartNone}, "exit 1", api.TaskFailed, 1},
		"on-failure success": {api.RestartPolicy{Condition: api.RestartOnFailure}, "exit 0", api.TaskComplete, 1},
		"max attempts":       {api.RestartPolicy{MaxAttempts: &two, Delay: &delay}, "exit 1", api.TaskFailed, 3},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *board) {
				a := task("a", c.program)
				a.Spec.RestartPolicy = &c.policy
				b.leader.tasks(a)
				b.after(time.Hour)
				if s := b.want("a", c.state, c.attempt); !s.Exhausted {
					t.Errorf("status %+v, want exhausted", s)
				}
				if len(b.host.Containers()) != 0 || b.network.has("a") {
					t.Error("a task that ended for good keeps its container or network")
				}
				// It stays so, whatever is switched off and on.
				b.restart()
				b.after(time.Minute)
				b.reboot()
				b.after(time.Hour)
				if s := b.want("a", c.state, c.attempt); !s.Exhausted {
					t.Errorf("status %+v after a reboot, want exhausted", s)
				}
				b.leader.desire("a", api.TaskShutdown)
				b.after(time.Second)
				b.want("a", c.state, c.attempt)
			})
		})
	}
}

func TestEndWithinMonitorIsToldAtOnce(t *testing.T) {
	inBubble(t, func(b *board) {
		soon, late := task("soon", "sleep 25s", "exit 1"), task("late", "sleep 35s", "exit 1")
		soon.Monitor, late.Monitor = 30*time.Second, 30*time.Second
		b.after(time.Second)
		begun := time.Now()
		b.leader.tasks(soon, late)
		b.after(26 * time.Second)
		if s := b.leader.status("soon"); !s.InMonitor || s.Exhausted {
			t.Errorf("soon: %+v, want in monitor, not exhausted", s)
		}
		b.after(10 * time.Second)
		if s := b.leader.status("late"); s.State != api.TaskFailed || s.InMonitor {
			t.Errorf("late: %+v, want failed outside of the monitor period", s)
		}
		for _, r := range b.leader.heard() {
			for _, said := range r.report.Tasks {
				if said.ID == "soon" && said.Status.InMonitor {
					if lag := r.at.Sub(begun) - 25*time.Second; lag > 10*time.Millisecond {
						t.Errorf("told %v after the end", lag)
					}
					return
				}
			}
		}
	})
}

func TestRejected(t *testing.T) {
	inBubble(t, func(b *board) {
		badMount, badVolume, badImage := task("mount"), task("volume"), task("image")
		badMount.Spec.ContainerSpec.Mounts = []api.Mount{{Type: api.MountBind, Source: "/no/such/folder", Target: "/data"}}
		badVolume.Spec.ContainerSpec.Mounts = []api.Mount{{Type: api.MountVolume, Source: "../etc", Target: "/data"}}
		badImage.Spec.ContainerSpec.Image = "web@sha256:bad"
		b.images.fail("sha256:bad", api.Errorf(api.Invalid, "", "it has no manifest for this board"))
		b.leader.tasks(badMount, badVolume, badImage)
		b.after(time.Minute)
		for id, text := range map[api.TaskID]string{"mount": "/no/such/folder", "volume": "../etc", "image": "no manifest"} {
			if s := b.want(id, api.TaskRejected, 1); !s.Exhausted || !strings.Contains(s.Err, text) {
				t.Errorf("%s: %+v, want exhausted, naming %s", id, s, text)
			}
		}
		if len(b.host.Containers()) != 0 || b.network.has("mount") {
			t.Error("rejected tasks leave something behind")
		}
	})
}

func TestImageIsWaitedFor(t *testing.T) {
	inBubble(t, func(b *board) {
		b.images.fail(testImage, api.Errorf(api.Unavailable, "", "no neighbour has it"))
		b.leader.tasks(task("a"))
		b.after(10 * time.Minute)
		if s := b.want("a", api.TaskPreparing, 1); !strings.Contains(s.Message, "no neighbour has it") {
			t.Errorf("status %+v does not say what it waits for", s)
		}
		if said := b.leader.status("a"); !strings.Contains(said.Message, "no neighbour has it") {
			t.Errorf("leader knows %+v", said)
		}
		b.images.fail("", nil)
		b.after(11 * time.Second)
		if s := b.want("a", api.TaskRunning, 1); s.Message != "" {
			t.Errorf("status %+v still says what it waited for", s)
		}
	})
}

func TestStartThatFailsIsAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, func(runtime.Container) sim.Script { return sim.Script{StartErr: runtime.ErrInvalid} })
		b.leader.tasks(task("a"))
		b.after(time.Second)
		if s := b.want("a", api.TaskFailed, 1); !s.InMonitor || s.Exhausted {
			t.Errorf("status %+v, want in monitor and to be tried again", s)
		}
		b.after(5 * time.Second)
		b.want("a", api.TaskFailed, 2)
	})
}

func TestShutdownInterruptsEveryStep(t *testing.T) {
	for name, script := range map[string]sim.Script{
		"prepare": {PrepareTime: time.Hour},
		"start":   {StartTime: time.Hour},
		"restart": {Program: []string{"exit 1"}},
		"run":     {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard(t, func(runtime.Container) sim.Script { return script })
				b.leader.tasks(task("a"))
				b.after(2 * time.Second)
				b.leader.desire("a", api.TaskShutdown)
				b.after(time.Second)
				if s := b.status("a"); !s.State.Ended() {
					t.Fatalf("status %+v a second after it was to end", s)
				}
				told := b.leader.with("a", api.TaskShutdown)
				told.Status = b.leader.status("a")
				if !told.Over() {
					t.Errorf("leader knows %+v: not over", told.Status)
				}
				if len(b.host.Containers()) != 0 || b.network.has("a") || len(b.logs.open) != 0 {
					t.Error("something is left behind")
				}
				b.after(time.Hour)
				b.wantRunning()
			})
		})
	}
}

func TestContainerIsWhatTheTaskSays(t *testing.T) {
	inBubble(t, func(b *board) {
		a := task("a")
		a.Spec.Resources = &api.ResourceRequirements{Limits: &api.Resources{NanoCPUs: 5e8, MemoryBytes: 64 << 20}}
		a.Spec.ContainerSpec.Labels = map[string]string{"team": "garden"}
		a.Spec.ContainerSpec.Mounts = []api.Mount{
			{Type: api.MountVolume, Source: "data", Target: "/data"},
			{Type: api.MountVolume, Target: "/scratch"},
			{Type: api.MountTmpfs, Target: "/tmp"},
		}
		a.Spec.ContainerSpec.Env = []string{"A=1", "DOCKER_RESOURCE_SSD=none"}
		given(a, "gpu", "U1", "U2").GenericResources = append(a.GenericResources, api.GenericResource{DiscreteResourceSpec: &api.DiscreteGenericResource{Kind: "ssd", Value: 3}})
		b.leader.tasks(a)
		b.after(time.Second)
		c, ok := b.host.Spec("a.1")
		if !ok {
			t.Fatal("no container")
		}
		if c.Image != testImage || !c.Limits.Equal(*a.Spec.Resources.Limits) || c.NetNS != "/run/netns/a" || c.CgroupParent != "/edgeswarm" || c.Hostname != "a" {
			t.Errorf("container %+v", c)
		}
		if env := strings.Join(c.Spec.Env, " "); env != "A=1 DOCKER_RESOURCE_SSD=none DOCKER_RESOURCE_GPU=U1,U2 DOCKER_RESOURCE_SSD=3" {
			t.Errorf("environment %q", env)
		}
		if c.Labels["team"] != "garden" || c.Labels[LabelTask] != "a" || c.Labels[LabelName] != "web" {
			t.Errorf("labels %v", c.Labels)
		}
		if len(c.Mounts) != 3 || c.Mounts[0].Type != api.MountBind || c.Mounts[0].Source != b.volumes+"/data" || c.Mounts[2].Type != api.MountTmpfs {
			t.Errorf("mounts %+v", c.Mounts)
		}
	})
}

// TestATaskOfANetworkServesUntilOthersKnow: it goes on for a moment after it was
// told to end, and has said so.
func TestATaskOfANetworkServesUntilOthersKnow(t *testing.T) {
	inBubble(t, func(b *board) {
		networked := task("a")
		networked.Addresses = []api.NetworkAddr{{Network: "n"}}
		b.leader.tasks(networked)
		b.after(time.Second)
		b.want("a", api.TaskRunning, 1)
		b.leader.desire("a", api.TaskShutdown)
		b.after(leaveTime - 200*time.Millisecond)
		b.want("a", api.TaskDraining, 1)
		b.wantRunning("a.1")
		b.after(time.Second)
		b.want("a", api.TaskShutdown, 1)
		b.wantRunning()
	})
}

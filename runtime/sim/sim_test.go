package sim_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
	"github.com/edgeswarm/edgeswarm/runtime/runtimetest"
	"github.com/edgeswarm/edgeswarm/runtime/sim"
)

func TestConformance(t *testing.T) {
	runtimetest.Run(t, func(t *testing.T) runtimetest.Fixture {
		const image = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
		host := sim.NewHost(sim.Config{Image: image})
		return runtimetest.Fixture{
			Driver:    host.Open(),
			Reopen:    func() runtime.Driver { return host.Open() },
			Interrupt: func() { host.SetDown(true) },
			Restore:   func() { host.SetDown(false) },
			Image:     image,
			Command:   sim.Program,
		}
	})
}

func prepared(t *testing.T, d *sim.Driver, task api.TaskID, command ...string) runtime.Container {
	t.Helper()
	c := runtime.Container{ID: runtime.ContainerID(task, 1), Task: task, Attempt: 1, Spec: api.ContainerSpec{Command: command}}
	if err := d.Prepare(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBubbleEndsWhileContainersRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sim.NewHost(sim.Config{})
		d := host.Open()
		for task, command := range map[api.TaskID][]string{
			"web": {"/bin/web"}, "job": sim.Program("sleep 1h", "exit 3"), "slow": sim.Program("linger 1m", "wait"),
		} {
			if _, err := d.Start(t.Context(), prepared(t, d, task, command...).ID); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		if err := d.Stop(t.Context(), "slow.1", "SIGTERM", time.Hour); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("stop took %v, want the minute it lingers", took)
		}
	})
}

func TestRebootLosesProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sim.NewHost(sim.Config{})
		d := host.Open()
		c := prepared(t, d, "web", sim.Program("sleep 1m", "exit 1")...)
		if _, err := d.Start(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		host.Reboot()
		time.Sleep(2 * time.Minute) // virtual: the old process's timer must not end the new one
		got := host.Containers()
		if len(got) != 1 || got[0].State != runtime.Exited || got[0].Exit.Code != sim.CodeUnknown {
			t.Fatalf("after a reboot: %+v, want one container that ended nobody knows how", got)
		}
	})
}

func TestScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad image")
		host := sim.NewHost(sim.Config{Script: func(c runtime.Container) sim.Script {
			switch c.Task {
			case "slow":
				return sim.Script{PrepareTime: time.Second, StartTime: time.Minute, Program: []string{"exit 5"}}
			case "bad":
				return sim.Script{PrepareErr: bad}
			}
			return sim.Script{StartErr: bad}
		}})
		d := host.Open()
		begun := time.Now()
		c := prepared(t, d, "slow")
		if _, err := d.Start(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != time.Minute+time.Second {
			t.Errorf("prepare and start took %v", took)
		}
		if exit, err := d.Wait(t.Context(), c.ID); err != nil || exit.Code != 5 {
			t.Errorf("wait: %+v, %v", exit, err)
		}
		if err := d.Prepare(t.Context(), runtime.Container{ID: "bad.1", Task: "bad"}); !errors.Is(err, bad) {
			t.Errorf("prepare: %v", err)
		}
		if _, err := d.Start(context.Background(), prepared(t, d, "other").ID); !errors.Is(err, bad) {
			t.Errorf("start: %v", err)
		}
	})
}

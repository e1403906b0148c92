package containerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// dockerConfig is an image's configuration as Docker writes it.
type dockerConfig struct {
	Healthcheck map[string]any
	Shell       []string `json:",omitempty"`
}

func testHealthcheck(r *rig) {
	long := strings.Repeat("x", 10000) // more than a label can hold
	for name, c := range map[string]struct {
		config dockerConfig
		want   *api.HealthConfig
	}{
		"all": {dockerConfig{Healthcheck: map[string]any{
			"Test": []string{"CMD", "up", long}, "Interval": 1e9, "Timeout": 2e9, "StartPeriod": 3e9, "StartInterval": 4e9, "Retries": 5,
		}}, &api.HealthConfig{
			Test: []string{"CMD", "up", long}, Interval: time.Second, Timeout: 2 * time.Second, StartPeriod: 3 * time.Second, StartInterval: 4 * time.Second, Retries: 5,
		}},
		"shell":        {dockerConfig{Healthcheck: map[string]any{"Test": []string{"CMD-SHELL", "a || b"}}}, &api.HealthConfig{Test: []string{"CMD-SHELL", "a || b"}}},
		"its shell":    {dockerConfig{Healthcheck: map[string]any{"Test": []string{"CMD-SHELL", "a"}}, Shell: []string{"ash", "-ec"}}, &api.HealthConfig{Test: []string{"CMD", "ash", "-ec", "a"}}},
		"none":         {dockerConfig{Healthcheck: map[string]any{"Test": []string{"NONE"}}}, &api.HealthConfig{Test: []string{"NONE"}}},
		"times only":   {dockerConfig{Healthcheck: map[string]any{"Interval": 1e9}}, &api.HealthConfig{Interval: time.Second}},
		"unknown kind": {dockerConfig{Healthcheck: map[string]any{"Test": []string{"TELEPATHY", "a"}}}, nil},
		"ours":         {dockerConfig{Healthcheck: map[string]any{"Test": []string{"TCP", "80"}}}, nil},
		"broken":       {dockerConfig{Healthcheck: map[string]any{"Test": []string{"CMD"}}}, nil},
	} {
		made := r.container(func(rc *runtime.Container) {
			rc.Image, rc.Spec.Command = r.daemon.image(r.T, r.driver, c.config), []string{"/bin/sh"}
		})
		r.prepare(made)
		reopened := r.daemon.driver(r.T)
		if got, err := reopened.Healthcheck(r.context(), made.ID); err != nil || !reflect.DeepEqual(got, c.want) {
			r.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

// testExecLeavesNothing: a probe that is cut off, over and over, costs nothing
// that stays.
func testExecLeavesNothing(r *rig) {
	c := r.sleeper()
	before := r.processes(c)
	for range 5 {
		ctx, cancel := context.WithTimeout(r.context(), 200*time.Millisecond)
		var out strings.Builder
		_, err := r.driver.Exec(ctx, c.ID, runtime.Process{Args: []string{"/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"}}, runtime.Streams{Stdout: &out, Stderr: &out})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			r.Fatalf("exec: %v", err)
		}
	}
	// The sleeps that the killed shells had begun are init's to end with.
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for r.processes(c) > before+1 {
		select {
		case <-tick.C:
		case <-deadline:
			r.Fatalf("%d processes, %d before the execs", r.processes(c), before)
		}
	}
	left, err := os.ReadDir(filepath.Join(r.daemon.dir, "run", "exec"))
	if err != nil && !os.IsNotExist(err) || len(left) > 0 {
		r.Errorf("pipes left behind: %v, %v", left, err)
	}
}

func (r *rig) processes(c runtime.Container) int {
	r.Helper()
	resp, err := r.driver.tasks.ListPids(r.context(), &tasks.ListPidsRequest{ContainerID: c.ID})
	if err != nil {
		r.Fatal(err)
	}
	return len(resp.Processes)
}

package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
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

// TestExecCutOffWhileStarting: what starts slowly, and is not waited for, is gone
// when the call returns.
func TestExecCutOffWhileStarting(t *testing.T) {
	// A runc that is slow to say that the process runs, which it does by then.
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal(err)
	}
	slow := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n%s \"$@\"\ncode=$?\ncase \" $* \" in *\" exec \"*) sleep 1;; esac\nexit $code\n", runc)
	if err := os.WriteFile(filepath.Join(slow, "runc"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "PATH="+slow+":"+os.Getenv("PATH"))
	c := r.sleeper()
	for _, cut := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 500 * time.Millisecond} {
		for name, cutOff := range map[string]func() (context.Context, context.CancelFunc){
			"deadline": func() (context.Context, context.CancelFunc) { return context.WithTimeout(r.context(), cut) },
			"cancel": func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(r.context())
				time.AfterFunc(cut, cancel)
				return ctx, cancel
			},
		} {
			ctx, cancel := cutOff()
			_, err := r.driver.Exec(ctx, c.ID, runtime.Process{Args: []string{"/bin/sh", "-c", "exec sleep 1000"}}, runtime.Streams{Stdin: silent{ctx}, Stdout: &strings.Builder{}})
			<-ctx.Done() // the daemon's clock may be a little ahead
			if !errors.Is(err, ctx.Err()) {
				t.Errorf("exec cut off by %s after %v: %v", name, cut, err)
			}
			cancel()
			if left := r.sleeps(c); left > 0 {
				t.Fatalf("cut off by %s after %v: %d processes are left", name, cut, left)
			}
		}
	}
}

// silent is input that does not come.
type silent struct{ ctx context.Context }

func (s silent) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, io.EOF
}

// sleeps counts the processes of the container that sleep for a long time.
func (r *rig) sleeps(c runtime.Container) (n int) {
	r.Helper()
	resp, err := r.driver.tasks.ListPids(r.context(), &tasks.ListPidsRequest{ContainerID: c.ID})
	if err != nil {
		r.Fatal(err)
	}
	for _, p := range resp.Processes {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid)) // it may have ended meanwhile
		if strings.Contains(string(line), "1000") {
			n++
		}
	}
	return n
}

func (r *rig) processes(c runtime.Container) int {
	r.Helper()
	resp, err := r.driver.tasks.ListPids(r.context(), &tasks.ListPidsRequest{ContainerID: c.ID})
	if err != nil {
		r.Fatal(err)
	}
	return len(resp.Processes)
}

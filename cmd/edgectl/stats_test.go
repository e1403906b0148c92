package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// looks answers what a busy task, one in the board's network, and one that has
// ended use, at the nth look.
func looks(f *fleet) func(int, *api.UsageRequest) (*api.UsageResponse, error) {
	return func(call int, _ *api.UsageRequest) (*api.UsageResponse, error) {
		passed := time.Duration(call) * time.Second
		usage := func(task int, container string, u *api.Usage) api.TaskUsage {
			t := f.tasks[task]
			status := t.Status
			status.ContainerID = container
			node := f.nodes[task]
			return api.TaskUsage{TaskBrief: api.TaskBrief{ID: t.ID, ServiceName: t.ServiceName, Slot: task + 1, Status: status}, NodeID: node.ID, NodeName: node.Name(), Usage: u}
		}
		return &api.UsageResponse{
			Tasks: []api.TaskUsage{
				usage(0, "t1.1", &api.Usage{
					Up: time.Hour + passed, CPU: passed * 3 / 2, Memory: 48 << 20, MemoryLimit: 64 << 20, Pids: 7, PidsLimit: 100,
					NetReceived: 1234, NetSent: 999_950, BlockRead: 8192, BlockWritten: 1_500_000_000,
				}),
				usage(1, fmt.Sprint("t0.", call), &api.Usage{Up: passed, CPU: passed, Memory: -1, Pids: -1}),
				usage(2, "", nil),
			},
			Silent: []api.SilentBoard{{NodeID: f.nodes[2].ID, NodeName: "board3", Err: "it is down"}},
		}, nil
	}
}

func TestTaskStats(t *testing.T) {
	for name, args := range map[string]string{"task-stats": "--no-stream", "task-stats-json": "--no-stream --no-trunc --format json"} {
		f := newFleet()
		var asked *api.UsageRequest
		answer := looks(f)
		f.usage = func(call int, r *api.UsageRequest) (*api.UsageResponse, error) {
			asked = r
			return answer(call, r)
		}
		r := f.edgectl(t, append([]string{"task", "stats", "web", "cam.1", "-a"}, split(args)...)...)
		if r.code != 0 || r.err != "board3 tells nothing of its tasks: it is down\n" {
			t.Fatalf("exit %d: %s", r.code, r.err)
		}
		golden(t, name, r.out)
		same(t, "request", asked, &api.UsageRequest{Of: []string{"web", "cam.1"}, All: true})
		if f.looks != 2 {
			t.Errorf("%d looks", f.looks)
		}
	}
}

// Whoever looks on does so until it has seen enough, and is told of a board
// that is silent only once.
func TestTaskStatsGoOn(t *testing.T) {
	f := newFleet()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answer := looks(f)
	f.usage = func(call int, r *api.UsageRequest) (*api.UsageResponse, error) {
		if call == 4 {
			cancel()
		}
		return answer(call, r)
	}
	r := f.edgectlWith(ctx, t, nil, "task", "stats", "--format", "{{.Name}} {{.CPUPerc}}")
	if strings.Count(r.out, "web.1 150.00%\nweb.2 --\nweb.3 --\n") < 2 || strings.Count(r.err, "board3") != 1 {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestTaskStatsRefused(t *testing.T) {
	f := newFleet()
	f.usage = func(int, *api.UsageRequest) (*api.UsageResponse, error) {
		return nil, api.Errorf(api.NotFound, "", "no service or task is called nope: see edgectl service ls, and edgectl task ls")
	}
	if r := f.edgectl(t, "task", "stats", "nope"); r.code == 0 || !strings.Contains(r.err, "called nope") || r.out != "" {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f.usage = looks(f)
	if r := f.edgectl(t, "task", "stats", "--no-stream", "--format", "{{.Cpu}}"); r.code == 0 || !strings.Contains(r.err, ".CPUPerc") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

// On a screen only as much is drawn as there is room for.
func TestStatsAreCutToTheScreen(t *testing.T) {
	for width, shown := range map[int]int{79: 22, 80: 22, 81: 11, 200: 7} {
		var out bytes.Buffer
		s := stats{out: &out} // no terminal: 80 by 24
		if err := s.draw(strings.Repeat(strings.Repeat("x", width)+"\n", 100), true); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\x1b[J"), "\n")
		if len(lines) != shown+2 || !strings.Contains(lines[shown], fmt.Sprintf("… and %d more", 100-shown)) {
			t.Errorf("width %d: %d lines: %q", width, len(lines), out.String())
		}
	}
	var out bytes.Buffer
	if err := (&stats{out: &out}).draw("a\nb\n", false); err != nil || out.String() != "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0B 0B", 999: "999B 999B", 1000: "1000B 1kB", 1536: "1.5KiB 1.54kB", 999_999: "976.6KiB 1MB", 48 << 20: "48MiB 50.3MB"} {
		if got := binarySize(n) + " " + decimalSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

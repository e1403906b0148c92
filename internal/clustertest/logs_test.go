package clustertest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

// reader follows what a service writes.
type reader struct {
	mu      sync.Mutex
	lines   []string // what tasks wrote
	notices []string // what the fleet said of them
}

func follow(t *testing.T, ctx context.Context, b *clustertest.Board, service string) *reader {
	t.Helper()
	stream, err := b.Board().Logs(ctx, &api.LogsRequest{Service: service, Follow: true, Tail: -1})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{}
	go func() { // ends with ctx
		for line, err := stream.Recv(); err == nil; line, err = stream.Recv() {
			r.mu.Lock()
			if text := string(line.Data); strings.HasPrefix(text, "edgeswarm: ") {
				r.notices = append(r.notices, text)
			} else {
				r.lines = append(r.lines, text)
			}
			r.mu.Unlock()
		}
	}()
	return r
}

func (r *reader) read() (lines, notices []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines), slices.Clone(r.notices)
}

// sees waits until so many lines were read, and checks that they are those that
// were written, each once and for each task in order.
func (r *reader) sees(t *testing.T, f *clustertest.Fleet, what string, written map[string]int) {
	t.Helper()
	total := 0
	for _, n := range written {
		total += n
	}
	f.Within(30*time.Second, what, func() error {
		if lines, notices := r.read(); len(lines) < total {
			return fmt.Errorf("%d of %d lines, and %q", len(lines), total, notices)
		}
		return nil
	})
	f.Pass(10 * time.Second) // what came twice would come by now
	lines, _ := r.read()
	seen := map[string]int{}
	for _, line := range lines {
		task, n := "", 0
		if _, err := fmt.Sscanf(line, "%s %d", &task, &n); err != nil || n != seen[task] {
			t.Fatalf("%s: %q comes where line %d of %s should", what, line, seen[task], task)
		}
		seen[task]++
	}
	for task, n := range written {
		if seen[task] != n {
			t.Errorf("%s: %d lines of %s, and not %d", what, seen[task], task, n)
		}
	}
}

// TestFollowedLogsGoOn through rescheduling, restarts of edged on the boards
// that hold the lines, cut cables, and the leader's death: each line once.
func TestFollowedLogsGoOn(t *testing.T) {
	formed(t, 5, 15, func(t *testing.T, f *clustertest.Fleet) {
		asked := f.Others(f.Leader())[0]
		create(t, asked, "web", 4)
		f.Within(20*time.Second, "running", f.Converged(asked, "web", 4))
		written := map[string]int{}
		write := func(n int) {
			for task, node := range f.Running("web") {
				for _, b := range f.Boards {
					if b.ID() == node {
						for range n {
							b.Write(task, fmt.Sprintf("%s %d", task, written[string(task)]))
							written[string(task)]++
						}
					}
				}
			}
		}
		write(3)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := follow(t, ctx, asked, "web")
		r.sees(t, f, "what was there", written)
		write(3)
		r.sees(t, f, "what came", written)

		for _, b := range f.Others(asked) {
			b.Stop() // its tasks go on, and write
			write(2)
			f.Pass(3 * time.Second)
			b.Start()
			write(2)
			f.Within(30*time.Second, "back", f.Converged(asked, "web", 4))
		}
		write(2)
		r.sees(t, f, "after restarts of edged", written)

		f.Partition([]*clustertest.Board{asked})
		write(2)
		f.Pass(12 * time.Second) // longer than streams live
		write(2)
		f.Heal()
		f.Within(time.Minute, "whole again", f.Converged(asked, "web", 4))
		write(1)
		r.sees(t, f, "after a cut cable", written)

		change(t, asked, "web", image("web:2"))
		f.Within(time.Minute, "updated", f.Converged(asked, "web", 4))
		write(2)
		r.sees(t, f, "of new tasks", written)

		if leader := f.Leader(); leader != asked {
			leader.Kill()
			write(1)
			f.Pass(2 * time.Second)
			leader.Start()
			f.Within(time.Minute, "led again", f.Converged(asked, "web", 4))
			write(1)
			r.sees(t, f, "after the leader's death", written)
		}
	})
}

// TestASlowLogReaderCostsNothing: what it does not read stays on the boards,
// and tasks go on.
func TestASlowLogReaderCostsNothing(t *testing.T) {
	formed(t, 3, 16, func(t *testing.T, f *clustertest.Fleet) {
		asked := f.Boards[0]
		create(t, asked, "web", 3)
		f.Within(20*time.Second, "running", f.Converged(asked, "web", 3))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stream, err := asked.Board().Logs(ctx, &api.LogsRequest{Service: "web", Follow: true, Tail: -1})
		if err != nil {
			t.Fatal(err)
		}
		const each, size = 3000, 1000
		for task, node := range f.Running("web") {
			for _, b := range f.Boards {
				if b.ID() == node {
					for i := range each {
						b.Write(task, fmt.Sprintf("%s %d %s", task, i, strings.Repeat("x", size)))
					}
				}
			}
		}
		f.Pass(time.Minute) // nobody reads
		read := 0
		for _, b := range f.Boards {
			read += b.Read()
		}
		if most := 1 << 20 / size * 2; read > most {
			t.Errorf("%d of %d lines were read for somebody who reads none", read, 3*each)
		}
		seen := map[api.TaskID]int{}
		for range 3 * each {
			line, err := stream.Recv()
			if err != nil {
				t.Fatalf("after %v: %v", seen, err)
			}
			if want := fmt.Sprintf("%s %d ", line.TaskID, seen[line.TaskID]); !strings.HasPrefix(string(line.Data), want) {
				t.Fatalf("%.60q comes where %q should", line.Data, want)
			}
			seen[line.TaskID]++
		}
		if len(seen) != 3 {
			t.Errorf("%v", seen)
		}
	})
}

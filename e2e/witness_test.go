package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// processes are a board's running containers by container ID (TASK.ATTEMPT),
// with the process ID of each, by containerd's own word.
func (f *fleet) processes(board int) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		out, err := f.board(board).Exec(ctx, "ctr", "--address", f.board(board).Containerd(), "--namespace", "edgeswarm", "tasks", "ls")
		if err != nil {
			return nil, err
		}
		if strings.Contains(out, "UNKNOWN") {
			continue // a shim did not answer containerd in its time
		}
		running := map[string]string{}
		for _, line := range strings.Split(out, "\n")[1:] {
			if fields := strings.Fields(line); len(fields) == 3 && fields[2] == "RUNNING" {
				running[fields[0]] = fields[1]
			}
		}
		return running, nil
	}
}

// allProcesses are those of several boards.
func (f *fleet) allProcesses(boards ...int) map[string]string {
	f.t.Helper()
	all := map[string]string{}
	for _, i := range boards {
		p, err := f.processes(i)
		f.do(err)
		maps.Copy(all, p)
	}
	return all
}

// untouched fails the test if one of those containers runs no more, or as
// another process.
func (f *fleet) untouched(before map[string]string, boards ...int) {
	f.t.Helper()
	now := f.allProcesses(boards...)
	for id, pid := range before {
		if now[id] != pid {
			f.t.Errorf("a healthy task was touched: container %s was process %s, is %q", id, pid, now[id])
		}
	}
}

// holds reports whether a board's containerd has an image's content: every
// blob that the image of the archive consists of.
func (f *fleet) holds(board int, digests []string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := f.board(board).Exec(ctx, "ctr", "--address", f.board(board).Containerd(), "--namespace", "edgeswarm", "content", "ls", "-q")
	f.do(err)
	have := strings.Fields(out)
	for _, d := range digests {
		if !slices.Contains(have, d) {
			return false
		}
	}
	return true
}

// watcher looks at services' tasks all the time, and notes what must not be: a
// task whose (attempt, state) moves backwards.
type watcher struct {
	stop func() (samples int, faults []string)
}

type standing struct {
	attempt int
	state   api.TaskState
}

// watch asks the boards in turn for a list of tasks until stopped. See is called
// with each sample, and when it was begun and complete; it may be nil.
func (f *fleet) watch(list []string, boards []int, see func(tasks []taskRow, begun, complete time.Time)) *watcher {
	ctx, cancel := context.WithCancel(f.t.Context())
	var wg sync.WaitGroup
	var faults []string
	samples := 0
	wg.Go(func() {
		last := map[string]standing{}
		tick := time.NewTicker(150 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			begun := time.Now()
			tasks, err := rows[taskRow](f, boards[i%len(boards)], list...)
			if err == nil {
				samples++
				for _, r := range tasks {
					now := standing{r.Attempt, api.TaskState(r.State())}
					before, known := last[r.ID]
					if !now.state.Valid() {
						faults = append(faults, fmt.Sprintf("task %s has the unknown state %q", r.ID, r.CurrentState))
					}
					if known && (now.attempt < before.attempt || now.attempt == before.attempt && now.state.Before(before.state)) {
						faults = append(faults, fmt.Sprintf("task %s (%s) moved backwards: attempt %d %s, then attempt %d %s", r.ID, r.Name, before.attempt, before.state, now.attempt, now.state))
					}
					last[r.ID] = now
				}
				if see != nil {
					see(tasks, begun, time.Now())
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return &watcher{stop: func() (int, []string) { cancel(); wg.Wait(); return samples, faults }}
}

// end stops the watch, and fails the test for each fault.
func (w *watcher) end(f *fleet) {
	f.t.Helper()
	samples, faults := w.stop()
	if samples < 5 {
		f.t.Errorf("only %d samples were taken: they prove nothing", samples)
	}
	for _, fault := range faults {
		f.t.Error(fault)
	}
}

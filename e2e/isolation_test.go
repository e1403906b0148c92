package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestAnIsolatedWorkerRebootsTwice: a board that no manager reaches starts its
// tasks again after each reboot; when it is back, the fleet has exactly what
// was asked for, and no healthy task was touched on the way.
func TestAnIsolatedWorkerRebootsTwice(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(1, "1")
	lead := f.leader(1)
	lone := f.other(lead)
	third := f.other(lead, lone)
	f.must(lead, "node", "demote", f.board(lone).Name())
	f.until("the board is a worker", patient, func() error { return f.voters(lead, 1) })
	f.feed(lead, []byte(secretWord), "secret", "create", "pw")
	f.must(lead, "service", "create", "--quiet", "--name", "web", "--replicas", "6", "--secret", "pw", "web:1")
	own := attempts(f.allProcesses(lone))
	if len(own) == 0 {
		t.Fatal("the worker has no task to start again")
	}
	spared := f.allProcesses(lead, third)
	w := f.watch([]string{"service", "ps", "web"}, []int{lead, third}, nil)
	there := f.watch([]string{"node", "ps", f.board(lone).Name()}, []int{lead}, nil)

	f.do(f.lab.Cut(t.Context(), f.board(lone)))
	for reboot := 1; reboot <= 2; reboot++ {
		f.do(f.board(lone).Kill(t.Context()))
		f.do(f.board(lone).Start(t.Context()))
		f.until(fmt.Sprintf("tasks run again after reboot %d with no manager reachable", reboot), patient, func() error {
			now, err := f.processes(lone)
			if err != nil {
				return err
			}
			again := attempts(now)
			for task, attempt := range own {
				if again[task] <= attempt {
					return fmt.Errorf("task %s was at attempt %d and is at %d", task, attempt, again[task])
				}
			}
			if len(again) != len(own) {
				return fmt.Errorf("%d tasks run of %d", len(again), len(own))
			}
			own = again
			return f.secretLies(1, 2, 3)
		})
	}
	f.until("the lone board sees no leader", patient, func() error {
		if s := f.try(lone, "status", "--format", "{{.Leader}}"); s.Code != 0 || strings.TrimSpace(s.Out) != "" {
			return fmt.Errorf("status: %q %s", s.Out, s.Err)
		}
		return nil
	})
	f.until("the fleet gives the board up", patient, func() error {
		nodes, err := f.nodes(lead)
		if n := nodes[f.board(lone).Name()]; err == nil && n.Status != "Down" {
			err = fmt.Errorf("%+v", n)
		}
		return err
	})
	for _, r := range f.runs(third, "web", 6) {
		if index(r.Node) == lone {
			t.Errorf("%s counts as running on a board that nobody reaches", r.Name)
		}
	}
	f.untouched(spared, lead, third)
	spared = f.allProcesses(lead, third)

	f.do(f.lab.Heal(t.Context()))
	f.until("the board is back", patient, func() error {
		nodes, err := f.nodes(lead)
		if n := nodes[f.board(lone).Name()]; err == nil && n.Status != "Ready" {
			err = fmt.Errorf("%+v", n)
		}
		return err
	})
	f.exactly("web", 6)
	f.untouched(spared, lead, third)
	w.end(f)
	there.end(f)
}

// attempts are the running tasks of containers, each with its attempt.
func attempts(processes map[string]string) map[string]int {
	byTask := map[string]int{}
	for id := range processes {
		task, n, _ := strings.Cut(id, ".")
		attempt, _ := strconv.Atoi(n)
		byTask[task] = max(byTask[task], attempt)
	}
	return byTask
}

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// create declares a service and does not wait for it.
func (f *fleet) create(name string, args ...string) {
	f.t.Helper()
	f.must(1, append([]string{"service", "create", "--detach", "--name", name, "--update-monitor", "500ms", "--stop-grace-period", "2s"}, args...)...)
}

// remove removes services, and waits until no container of them is left.
func (f *fleet) remove(service string) {
	f.t.Helper()
	tasks, err := f.tasks(1, service)
	f.do(err)
	f.must(1, "service", "rm", service)
	f.until("the containers of "+service+" are gone", patient, func() error {
		for i := 1; i <= f.n; i++ {
			running, err := f.processes(i)
			if err != nil {
				return err
			}
			for id := range running {
				task, _, _ := strings.Cut(id, ".")
				if slices.ContainsFunc(tasks, func(r taskRow) bool { return r.ID == task }) {
					return fmt.Errorf("container %s still runs on board%d", id, i)
				}
			}
		}
		return nil
	})
}

// on counts tasks by board.
func on(tasks []taskRow) map[string]int {
	n := map[string]int{}
	for _, r := range tasks {
		n[r.Node]++
	}
	return n
}

// TestPlacement: how many tasks there are, and on which boards.
func TestPlacement(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(1, "1", "2")
	f.part("scale", (*fleet).scales)
	f.part("rollback", (*fleet).rollsBack)
	f.part("drain and pause", (*fleet).drains)
	f.part("global", (*fleet).isGlobal)
	f.part("constraints", (*fleet).constrains)
	f.part("rebalance", (*fleet).rebalances)
}

func (f *fleet) scales() {
	f.create("s", "--replicas", "2", "web:1")
	f.runs(1, "s", 2)
	before := f.allProcesses(1, 2, 3)
	f.must(2, "service", "scale", "--detach", "s=5")
	f.runs(2, "s", 5)
	f.untouched(before, 1, 2, 3)
	f.must(3, "service", "scale", "--detach", "s=1")
	f.runs(3, "s", 1)
	f.exactly("s", 1)
	f.must(1, "service", "scale", "--detach", "s=0")
	f.runs(1, "s", 0)
	f.exactly("s", 0)
	f.remove("s")
}

func (f *fleet) rollsBack() {
	f.create("r", "--replicas", "2", "--env", "A=1", "web:1")
	f.runs(1, "r", 2)
	f.must(1, "service", "update", "--quiet", "--image", "web:2", "--env-add", "A=2", "r")
	for _, r := range f.runs(2, "r", 2) {
		if !strings.HasPrefix(r.Image, "web:2@") {
			f.t.Errorf("%s runs %s after the update", r.Name, r.Image)
		}
	}
	f.must(2, "service", "rollback", "--quiet", "r")
	for _, r := range f.runs(3, "r", 2) {
		if !strings.HasPrefix(r.Image, "web:1@") {
			f.t.Errorf("%s runs %s after the rollback", r.Name, r.Image)
		}
		if env := f.must(3, "task", "exec", r.ID, "sh", "-c", "echo $A"); env != "1\n" {
			f.t.Errorf("%s has A=%q after the rollback", r.Name, env)
		}
	}
	f.exactly("r", 2)
	f.remove("r")
}

func (f *fleet) drains() {
	f.create("d", "--replicas", "6", "web:1")
	f.runs(1, "d", 6)
	spared := f.allProcesses(1, 3)
	f.must(1, "node", "update", "--availability", "drain", "board2")
	f.until("no task of the drained board counts", patient, func() error {
		running := f.runs(3, "d", 6)
		if n := on(running)["board2"]; n != 0 {
			return fmt.Errorf("%d run there", n)
		}
		return nil
	})
	f.exactly("d", 6)
	f.untouched(spared, 1, 3)

	f.must(1, "node", "update", "--availability", "pause", "board3")
	f.must(1, "node", "update", "--availability", "active", "board2")
	spared = f.allProcesses(1, 3)
	held := on(f.runs(1, "d", 6))["board3"]
	f.must(1, "service", "scale", "--detach", "d=9")
	if now := on(f.runs(1, "d", 9)); now["board3"] != held {
		f.t.Errorf("a paused board went from %d tasks to %d: %v", held, now["board3"], now)
	}
	f.untouched(spared, 1, 3)
	f.must(1, "node", "update", "--availability", "active", "board3")
	f.remove("d")
}

func (f *fleet) isGlobal() {
	everywhere := map[string]int{"board1": 1, "board2": 1, "board3": 1}
	f.create("g", "--mode", "global", "web:1")
	if at := on(f.runs(1, "g", 3)); !maps.Equal(at, everywhere) {
		f.t.Errorf("a global service runs at %v", at)
	}
	f.must(1, "node", "update", "--availability", "drain", "board2")
	f.runs(1, "g", 2)
	f.exactly("g", 2)
	f.must(1, "node", "update", "--availability", "active", "board2")
	if at := on(f.runs(1, "g", 3)); !maps.Equal(at, everywhere) {
		f.t.Errorf("a global service runs at %v after a drain", at)
	}
	f.remove("g")
}

func (f *fleet) constrains() {
	f.must(1, "node", "update", "--label-add", "zone=attic", "board3")
	f.must(1, "node", "demote", "board2")
	f.until("one voter is left", patient, func() error { return f.voters(1, 1) })
	nodes, err := f.nodes(1)
	f.do(err)
	var workers []string
	for name, n := range nodes {
		if n.Role == "worker" {
			workers = append(workers, name)
		}
	}
	arch := host.Platform().Architecture
	for name, want := range map[string]struct {
		constraint string
		boards     []string // nil for none
	}{
		"label":     {"node.labels.zone==attic", []string{"board3"}},
		"not-label": {"node.labels.zone!=attic", []string{"board1", "board2"}},
		"hostname":  {"node.hostname==board1", []string{"board1"}},
		"role":      {"node.role==worker", workers},
		"os":        {"node.platform.os==linux", []string{"board1", "board2", "board3"}},
		"arch":      {"node.platform.arch==" + arch, []string{"board1", "board2", "board3"}},
		"no-arch":   {"node.platform.arch!=" + arch, nil},
	} {
		f.create(name, "--replicas", "3", "--constraint", want.constraint, "web:1")
		if want.boards == nil {
			f.until("the service says why it does not run", soon, func() error {
				tasks, err := f.tasks(1, name)
				if err == nil && (len(tasks) != 3 || tasks[0].State() != "pending" || !strings.Contains(tasks[0].Error, want.constraint)) {
					err = fmt.Errorf("%s", steer.Table(tasks))
				}
				return err
			})
		} else if at := on(f.runs(1, name, 3)); slices.ContainsFunc(slices.Collect(maps.Keys(at)), func(b string) bool { return !slices.Contains(want.boards, b) }) {
			f.t.Errorf("%s: runs at %v, want %v only", want.constraint, at, want.boards)
		}
		f.must(1, "service", "rm", name)
	}
	f.must(1, "node", "update", "--role", "auto", "board2")
	f.whole(3)
}

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestKinds: what a service is, and what of its boards it is placed by, beyond
// labels and names.
func TestKinds(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(1, "1")
	f.part("generic resources", (*fleet).shares)
}

// restartEdged ends a board's edged as its unit does, and starts it again: what
// its card says counts from then on.
func (f *fleet) restartEdged(i int) {
	f.t.Helper()
	f.do(f.board(i).Signal(f.t.Context(), "edged", syscall.SIGTERM))
	f.do(f.board(i).StartEdged())
}

// says waits until `node inspect --pretty` of a board has a line.
func (f *fleet) says(board int, line string) {
	f.t.Helper()
	f.until(fmt.Sprintf("board%d says %q", board, line), soon, func() error {
		out := f.must(f.other(board), "node", "inspect", "--pretty", f.board(board).Name())
		if !slices.ContainsFunc(strings.Split(out, "\n"), func(l string) bool { return strings.TrimSpace(l) == line }) {
			return fmt.Errorf("it says\n%s", out)
		}
		return nil
	})
}

// shared reads from each task of a service that runs what it was given, and
// checks that no other has it, and that the fleet says the same of it.
func (f *fleet) shared(service, variable string, n int) map[string]string {
	f.t.Helper()
	given, holders := map[string]string{}, map[string]string{}
	for _, r := range f.runs(2, service, n) {
		given[r.ID] = strings.TrimSpace(f.must(2, "task", "exec", r.ID, "sh", "-c", "echo $"+variable))
		key := r.Node + " " + given[r.ID]
		if other, taken := holders[key]; taken || given[r.ID] == "" {
			f.t.Errorf("%s has %s=%q, and so has %s", r.ID, variable, given[r.ID], other)
		}
		holders[key] = r.ID
		if out := f.must(3, "task", "inspect", "--format", "{{range .GenericResources}}{{with .NamedResourceSpec}}{{.Kind}}={{.Value}}{{end}}{{end}}", r.ID); strings.TrimSpace(out) != "gpu="+given[r.ID] {
			f.t.Errorf("task inspect says %q of %s, which has %s", out, r.ID, given[r.ID])
		}
	}
	return given
}

// shares: what an operator says that a board has is given to tasks, each its own,
// and stays theirs whatever becomes of leaders and of edged.
func (f *fleet) shares() {
	ids := func() string { return f.must(1, "node", "ls", "--format", "{{.ID}} {{.Hostname}}") }
	members := ids()
	f.do(f.board(1).Set("node-generic-resource", "[gpu=U1, gpu=U2]"))
	f.do(f.board(2).Set("node-generic-resource", "ssd=3"))
	f.restartEdged(1)
	f.restartEdged(2)
	f.whole(3)
	f.says(1, "Generic resources: gpu=U1, gpu=U2")
	f.says(2, "Generic resources: ssd=3")
	if now := ids(); now != members {
		f.t.Errorf("members are\n%s, and were\n%s", now, members)
	}

	f.create("ml", "--replicas", "3", "--generic-resource", "gpu=1", "web:1")
	f.until("two run, and the third says why it does not", patient, func() error {
		tasks, err := f.tasks(2, "ml")
		waiting := slices.DeleteFunc(slices.Clone(tasks), func(r taskRow) bool { return r.state() == "running" })
		if err == nil && (len(tasks) != 3 || len(waiting) != 1 || waiting[0].Error != "no suitable node: 2 have no generic resource gpu, 1 lacks generic resource gpu (1 asked, 0 free)") {
			err = fmt.Errorf("%s", table(tasks))
		}
		return err
	})
	f.must(1, "service", "scale", "--detach", "ml=2")
	given := f.shared("ml", "DOCKER_RESOURCE_GPU", 2)
	before := f.allProcesses(1, 2, 3)
	lead := f.leader(2)
	for _, i := range slices.Compact([]int{lead, 1}) {
		f.do(f.board(i).Signal(f.t.Context(), "edged", syscall.SIGKILL))
		f.do(f.board(i).StartEdged())
		f.whole(3)
	}
	f.untouched(before, 1, 2, 3)
	if now := f.shared("ml", "DOCKER_RESOURCE_GPU", 2); !maps.Equal(now, given) {
		f.t.Errorf("tasks have %v after leader and edged were killed, and had %v", now, given)
	}

	// Swapped one by one on the one board, where none is free.
	f.must(1, "service", "update", "--quiet", "--env-add", "A=1", "ml")
	f.shared("ml", "DOCKER_RESOURCE_GPU", 2)
	f.exactly("ml", 2)
	if out := f.must(1, "service", "inspect", "--pretty", "ml"); !strings.Contains(out, "Generic resources: gpu=1\n") {
		f.t.Errorf("service inspect says\n%s", out)
	}

	f.do(f.board(1).Set("node-generic-resource", "[gpu=U2]"))
	f.restartEdged(1)
	f.until("the task whose share is gone says why it has none", patient, func() error {
		tasks, err := f.tasks(2, "ml")
		waits := slices.ContainsFunc(tasks, func(r taskRow) bool {
			return r.state() == "pending" && r.Error == "no suitable node: 2 have no generic resource gpu, 1 lacks generic resource gpu (1 asked, 0 free)"
		})
		if err == nil && !waits {
			err = fmt.Errorf("%s", table(tasks))
		}
		return err
	})
	f.exactly("ml", 1)
	f.must(1, "service", "update", "--quiet", "--generic-resource-rm", "gpu", "--generic-resource-add", "ssd=1", "ml")
	for _, r := range f.runs(1, "ml", 2) {
		if env := f.must(1, "task", "exec", r.ID, "sh", "-c", "echo $DOCKER_RESOURCE_GPU $DOCKER_RESOURCE_SSD"); r.Node != "board2" || strings.TrimSpace(env) != "1" {
			f.t.Errorf("%s is on %s with %q", r.Name, r.Node, env)
		}
	}
	f.remove("ml")
	f.do(f.board(1).Set("node-generic-resource", ""))
	f.restartEdged(1)
	f.whole(3)
	for say, flag := range map[string]string{
		`"gpu=U1": "U1" is not an amount from 1`: "gpu=U1", "NAME=value": "gpu", `"0" is not an amount`: "gpu=0", "letters, digits": "g pu=1",
	} {
		f.refused(1, say, "service", "create", "--name", "new", "--generic-resource", flag, "web:1")
	}
}

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/internal/lab"
	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// TestKinds: what a service is, and what of its boards it is placed by, beyond
// labels and names.
func TestKinds(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(1, "1")
	f.part("generic resources", (*fleet).shares)
	f.part("what rules boards out", (*fleet).rulesOut)
	f.part("spread", (*fleet).spreads)
	f.part("a constraint that stops holding", (*fleet).follows)
	f.part("drain, start-first", (*fleet).drainsStartFirst)
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
		waiting := slices.DeleteFunc(slices.Clone(tasks), func(r taskRow) bool { return r.State() == "running" })
		if err == nil && (len(tasks) != 3 || len(waiting) != 1 || waiting[0].Error != "no suitable node: 2 have no generic resource gpu, 1 lacks generic resource gpu (1 asked, 0 free)") {
			err = fmt.Errorf("%s", steer.Table(tasks))
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
			return r.State() == "pending" && r.Error == "no suitable node: 2 have no generic resource gpu, 1 lacks generic resource gpu (1 asked, 0 free)"
		})
		if err == nil && !waits {
			err = fmt.Errorf("%s", steer.Table(tasks))
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

// waitsWith waits until a service has so many running, and the rest says why not.
func (f *fleet) waitsWith(service string, running int, why string) {
	f.t.Helper()
	f.until(fmt.Sprintf("%s runs %d and says %q of the others", service, running, why), patient, func() error {
		tasks, err := f.tasks(2, service)
		run, waiting := 0, 0
		for _, r := range tasks {
			switch {
			case r.State() == "running":
				run++
			case r.State() == "pending" && r.Error == "no suitable node: "+why:
				waiting++
			}
		}
		if err == nil && (run != running || waiting == 0 || run+waiting != len(tasks)) {
			err = fmt.Errorf("%d run, %d say so:%s", run, waiting, steer.Table(tasks))
		}
		return err
	})
	f.exactly(service, running)
	f.must(1, "service", "rm", service)
}

// rulesOut: what a service asks for is counted on every board, and what waits
// says with counts for what.
func (f *fleet) rulesOut() {
	arch := f.foreignImage("foreign")
	for name, c := range map[string]struct {
		running int
		why     string
		args    []string
	}{
		"few":     {3, "3 have their most replicas", []string{"--replicas", "4", "--replicas-max-per-node", "1", "web:1"}},
		"port":    {3, "3 have port 18080/tcp in use", []string{"--replicas", "4", "--publish", "mode=host,target=8080,published=18080", "web:1"}},
		"large":   {0, "3 lack 1000 GB free", []string{"--reserve-memory", "1000g", "web:1"}},
		"busy":    {0, "3 lack 900 CPU free", []string{"--reserve-cpu", "900", "web:1"}},
		"model":   {0, "3 do not meet node.model==zx81", []string{"--constraint", "node.model==zx81", "web:1"}},
		"memory":  {0, "3 do not meet node.memory==1m", []string{"--constraint", "node.memory==1m", "web:1"}},
		"class":   {0, "3 have no tpm device", []string{"--device", "class=tpm", "web:1"}},
		"foreign": {0, "3 run " + host.Platform().String() + ", which the image is not for", []string{"web:foreign"}},
	} {
		f.create(name, c.args...)
		f.waitsWith(name, c.running, c.why)
	}
	if arch == host.Platform().Architecture {
		f.t.Error("the foreign image is of this machine")
	}
	f.create("any", "--constraint", "node.model!=zx81", "--constraint", "node.memory!=1m", "--constraint", "node.device!=tpm", "--constraint", "node.id!=none", "web:1")
	f.runs(2, "any", 1)
	f.must(1, "service", "rm", "any")
}

func (f *fleet) zones(zones ...string) {
	f.t.Helper()
	for i, zone := range zones {
		f.must(1, "node", "update", "--label-add", "zone="+zone, f.board(i+1).Name())
	}
}

// spreads: a preference evens tasks out over its values, before boards.
func (f *fleet) spreads() {
	f.zones("attic", "attic", "cellar")
	f.create("even", "--replicas", "4", "--placement-pref", "spread=node.labels.zone", "web:1")
	if at := on(f.runs(2, "even", 4)); !maps.Equal(at, map[string]int{"board1": 1, "board2": 1, "board3": 2}) {
		f.t.Errorf("spread over zones, tasks are at %v", at)
	}
	f.create("plain", "--replicas", "3", "web:1")
	if at := on(f.runs(2, "plain", 3)); len(at) != 3 {
		f.t.Errorf("spread by service, three tasks are at %v", at)
	}
	f.remove("even")
	f.remove("plain")
}

// follows: a constraint that no longer holds moves the task, also one that the
// spec has now and the task's own, of before an update, had not.
func (f *fleet) follows() {
	f.zones("attic", "attic", "attic")
	f.create("c", "--constraint", "node.labels.zone==attic", "web:1")
	home := f.runs(2, "c", 1)[0].Node
	f.zone(home, "cellar")
	f.until("the task has left", patient, func() error {
		if at := on(f.runs(2, "c", 1)); at[home] > 0 {
			return fmt.Errorf("it is at %v", at)
		}
		return nil
	})
	f.exactly("c", 1)
	f.remove("c")

	f.zones("attic", "attic", "attic")
	f.create("u", "--replicas", "2", "--update-delay", "1h", "web:1")
	f.runs(2, "u", 2)
	f.must(1, "service", "update", "--detach", "--env-add", "A=1", "--constraint-add", "node.labels.zone!=cellar", "u")
	var old taskRow
	f.until("one of two is changed, the other is as it was", patient, func() error {
		var before []taskRow
		for _, r := range f.runs(2, "u", 2) {
			if s := f.try(2, "task", "exec", r.ID, "sh", "-c", "echo $A"); s.Code == 0 && s.Out == "\n" {
				before = append(before, r)
			}
		}
		if len(before) != 1 {
			return fmt.Errorf("%d are as they were", len(before))
		}
		old = before[0]
		return nil
	})
	f.zone(old.Node, "cellar")
	f.until("the one whose own spec has no such constraint has left", patient, func() error {
		for _, r := range f.runs(2, "u", 2) {
			if r.Node == old.Node {
				return fmt.Errorf("%s is still on %s", r.Name, r.Node)
			}
		}
		return nil
	})
	f.remove("u")
}

// zone labels one board, by name.
func (f *fleet) zone(board, zone string) {
	f.t.Helper()
	f.must(1, "node", "update", "--label-add", "zone="+zone, board)
}

// drainsStartFirst: where the service starts first, a drain stops a task only when
// the one elsewhere runs.
func (f *fleet) drainsStartFirst() {
	// It runs once it is healthy, and so not before somebody has looked a few times.
	f.create("first", "--update-order", "start-first", "--health-cmd", "true", "--health-interval", "3s", "web:1")
	home := f.runs(2, "first", 1)[0].Node
	fewest := 1
	w := f.watch([]string{"service", "ps", "first"}, []int{1, 2, 3}, func(tasks []taskRow, _, _ time.Time) {
		running := 0
		for _, r := range tasks {
			if r.State() == "running" {
				running++
			}
		}
		fewest = min(fewest, running)
	})
	f.must(1, "node", "update", "--availability", "drain", home)
	f.until("it runs elsewhere only", patient, func() error {
		if at := on(f.runs(2, "first", 1)); at[home] > 0 {
			return fmt.Errorf("it is at %v", at)
		}
		return nil
	})
	f.exactly("first", 1)
	w.end(f)
	if fewest < 1 {
		f.t.Error("for a moment nothing of it ran")
	}
	f.must(1, "node", "update", "--availability", "active", home)
	f.remove("first")
}

// foreignImage puts web:VERSION into the fleet, for boards of an architecture
// that none of these has.
func (f *fleet) foreignImage(version string) (platform string) {
	f.t.Helper()
	arch := "riscv64"
	if host.Platform().Architecture == arch {
		arch = "arm64"
	}
	var archive bytes.Buffer
	f.do(lab.WebImage(&archive, bin, version, arch))
	if s := f.feed(1, archive.Bytes(), "image", "load", "--quiet"); s.Code != 0 {
		f.t.Fatalf("load web:%s for %s: %s", version, arch, s.Err)
	}
	return arch
}

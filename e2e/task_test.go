package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// TestTasks: what a service says of its tasks is what they are.
func TestTasks(t *testing.T) {
	t.Parallel()
	f := formed(t, 2)
	f.load(1, "1")
	f.part("restart in place", (*fleet).restarts)
	f.part("moves off", (*fleet).movesOff)
	f.part("health", (*fleet).probes)
	f.part("secrets", (*fleet).keepsSecrets)
	f.part("templates", (*fleet).fillsIn)
	f.part("exec", (*fleet).execs)
	f.part("host network", (*fleet).usesTheHostsNetwork)
	f.part("mounts", (*fleet).mounts)
	f.part("memory", (*fleet).limitsMemory)
	f.part("volumes", (*fleet).keepsData)
	f.part("stats", (*fleet).tellsWhatTasksUse)
	f.part("events", (*fleet).tellsWhatHappens)
}

func (f *fleet) restarts() {
	f.create("again", "--restart-delay", "100ms", "--entrypoint", "sh", "web:1", "-c", "sleep 1; exit 3")
	w := f.watch([]string{"service", "ps", "again"}, []int{1, 2}, nil)
	id := ""
	f.until("a third attempt of the same task", patient, func() error {
		tasks, err := f.tasks(2, "again")
		if err != nil || len(tasks) == 0 {
			return fmt.Errorf("%d tasks: %w", len(tasks), err)
		}
		if id == "" {
			id = tasks[0].ID
		}
		if len(tasks) != 1 || tasks[0].ID != id {
			f.t.Fatalf("the task was replaced and not restarted in place:%s", steer.Table(tasks))
		}
		if tasks[0].Attempt < 3 {
			return fmt.Errorf("%s", steer.Table(tasks))
		}
		return nil
	})
	w.end(f)
	f.remove("again")

	f.create("once", "--restart-condition", "none", "--entrypoint", "sh", "web:1", "-c", "exit 0")
	f.until("a task that may not be restarted is complete", patient, func() error {
		tasks, err := f.tasks(1, "once")
		if err == nil && (len(tasks) != 1 || tasks[0].State() != "complete" || tasks[0].Attempt != 1) {
			err = fmt.Errorf("%s", steer.Table(tasks))
		}
		return err
	})
	f.remove("once")
}

func (f *fleet) execs() {
	f.create("x", "--env", "COLOUR=blue", "--workdir", "/bin", "--user", "web", "--hostname", "kitchen", "--constraint", "node.hostname==board2", "web:1")
	f.runs(1, "x", 1)
	if s := f.try(1, "task", "exec", "x.1", "sh", "-c", "echo out; echo err >&2; exit 7"); s.Code != 7 || s.Out != "out\n" || s.Err != "err\n" {
		f.t.Errorf("exec: exit %d, %q, %q", s.Code, s.Out, s.Err)
	}
	if s := f.feed(1, []byte("to and fro"), "task", "exec", "-i", "x.1", "cat"); s.Code != 0 || s.Out != "to and fro" {
		f.t.Errorf("exec -i: exit %d, %q, %q", s.Code, s.Out, s.Err)
	}
	if got, want := f.must(2, "task", "exec", "x.1", "sh", "-c", "echo $COLOUR $PWD $(id -u) $(hostname)"), "blue /bin 1000 kitchen\n"; got != want {
		f.t.Errorf("the task is %q, want %q", got, want)
	}
	if s := f.try(1, "task", "exec", "x.1", "/no/such/program"); s.Code != 125 || strings.Count(s.Err, "\n") != 1 {
		f.t.Errorf("exec of nothing: exit %d, %q", s.Code, s.Err)
	}
	f.remove("x")
}

func (f *fleet) usesTheHostsNetwork() {
	f.create("h", "--network", "host", "--constraint", "node.hostname==board2", "web:1", "--listen", ":9090")
	f.runs(1, "h", 1)
	f.until("it answers on its board's own port", soon, func() error {
		ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
		defer cancel()
		out, err := f.lab.LAN(ctx, "busybox", "wget", "-q", "-O", "-", "http://"+f.board(2).IP()+":9090/")
		if err == nil && !strings.HasPrefix(out, "version 1 ") {
			err = fmt.Errorf("%q", out)
		}
		return err
	})
	f.remove("h")
}

func (f *fleet) mounts() {
	shared := f.t.TempDir()
	f.do(os.WriteFile(filepath.Join(shared, "hello"), []byte("from the board"), 0o644))
	f.create("m", "--constraint", "node.hostname==board2",
		"--mount", "type=bind,src="+shared+",dst=/shared",
		"--mount", "type=bind,src="+shared+",dst=/fixed,readonly",
		"--mount", "type=volume,src=data,dst=/data",
		"--mount", "type=tmpfs,dst=/fast,tmpfs-size=1m", "web:1")
	f.runs(1, "m", 1)
	exec := func(script string) said { return f.try(1, "task", "exec", "m.1", "sh", "-c", script) }
	for script, want := range map[string]struct {
		out string
		ok  bool
	}{
		"cat /shared/hello": {"from the board", true},
		"cat /fixed/hello":  {"from the board", true},
		"echo -n task > /shared/reply && echo -n kept > /data/file": {"", true},
		"echo x > /fixed/reply":                     {"", false},
		"dd if=/dev/zero of=/fast/a bs=64k count=8": {"", true},
		"dd if=/dev/zero of=/fast/b bs=64k count=32; ended=$?; rm /fast/b; exit $ended": {"", false},
		"mount | while read a b c d e f; do [ $c = /fast ] && echo -n $e; done; true":   {"tmpfs", true},
	} {
		if s := exec(script); (s.Code == 0) != want.ok || s.Out != want.out {
			f.t.Errorf("%s: exit %d, %q, %q", script, s.Code, s.Out, s.Err)
		}
	}
	if reply, err := os.ReadFile(filepath.Join(shared, "reply")); err != nil || string(reply) != "task" {
		f.t.Errorf("what the task wrote is %q on the board: %v", reply, err)
	}
	f.must(1, "service", "update", "--quiet", "--force", "m")
	f.runs(1, "m", 1)
	if s := exec("cat /data/file"); s.Out != "kept" {
		f.t.Errorf("a volume held %q for the next task: %s", s.Out, s.Err)
	}
	if s := exec("ls /fast"); s.Out != "" {
		f.t.Errorf("a tmpfs held %q for the next task", s.Out)
	}
	f.remove("m")
}

func (f *fleet) limitsMemory() {
	f.create("big", "--limit-memory", "16m", "--restart-condition", "none", "--entrypoint", "dd", "web:1", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	f.until("a task that takes too much is killed, and says why", patient, func() error {
		tasks, err := f.tasks(1, "big")
		if err == nil && (len(tasks) != 1 || tasks[0].State() != "failed" || !strings.Contains(tasks[0].Error, "memory")) {
			err = fmt.Errorf("%s", steer.Table(tasks))
		}
		return err
	})
	f.remove("big")
	f.create("small", "--limit-memory", "128m", "--restart-condition", "none", "--entrypoint", "dd", "web:1", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	f.until("a task within its limit ends well", patient, func() error {
		tasks, err := f.tasks(1, "small")
		if err == nil && (len(tasks) != 1 || tasks[0].State() != "complete") {
			err = fmt.Errorf("%s", steer.Table(tasks))
		}
		return err
	})
	f.remove("small")
}

package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// counting prints a line after the other, each with its number.
var counting = []string{"--entrypoint", "sh", "web:1", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done"}

// TestProgramsAreKilled: a task needs neither edged nor containerd to go on.
func TestProgramsAreKilled(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(1, "1")
	f.must(1, append([]string{"service", "create", "--quiet", "--name", "count", "--mode", "global"}, counting...)...)
	before := f.allProcesses(1, 2, 3)
	if len(before) != 3 {
		t.Fatalf("%d containers run of 3", len(before))
	}
	w := f.watch([]string{"service", "ps", "count"}, []int{1, 2, 3}, nil)
	lead := f.leader(1)
	other := f.other(lead)
	follower := f.begin(f.other(lead, other), "service", "logs", "-f", "count")
	for _, i := range []int{other, lead} {
		f.edgedIsKilled(i, before)
	}
	f.containerdIsKilled(other, before)
	w.end(f)
	f.untouched(before, 1, 2, 3)
	want := f.counted(1)
	f.until("who follows the logs has read them all, each line once", soon, func() error {
		got := f.countedIn(follower.printed())
		for task, n := range want {
			if got[task] < n {
				return fmt.Errorf("%s is at line %d, and the follower at %d", task, n, got[task])
			}
		}
		return nil
	})
	for _, r := range f.runs(1, "count", 3) {
		if r.Attempt != 1 || r.History {
			t.Errorf("%s on %s is at attempt %d: it was started again", r.Name, r.Node, r.Attempt)
		}
	}
	if tasks, err := f.tasks(1, "count"); err != nil || len(tasks) != 3 {
		t.Errorf("tasks were replaced: %v%s", err, steer.Table(tasks))
	}
}

// edgedIsKilled kills edged alone; the tasks are adopted by the next one, and
// what they wrote meanwhile is not lost.
func (f *fleet) edgedIsKilled(i int, before map[string]string) {
	f.t.Helper()
	f.do(f.board(i).Signal(f.t.Context(), "edged", syscall.SIGKILL))
	f.untouched(before, 1, 2, 3)
	f.do(f.board(i).StartEdged())
	f.whole(3)
	f.untouched(before, 1, 2, 3)
	last := f.counted(f.other(i))
	f.until("each task is heard again", soon, func() error {
		now := f.counted(f.other(i))
		for task, n := range last {
			if now[task] < n+10 {
				return fmt.Errorf("%s was at line %d and is at %d", task, n, now[task])
			}
		}
		if len(now) != 3 {
			return fmt.Errorf("%d tasks write of 3", len(now))
		}
		return nil
	})
}

// counted reads all that the counting tasks wrote, fails the test for a line
// that is missing, twice there or out of order, and returns each one's last.
func (f *fleet) counted(asked int) map[string]int {
	f.t.Helper()
	return f.countedIn(f.must(asked, "service", "logs", "count"))
}

func (f *fleet) countedIn(logs string) map[string]int {
	f.t.Helper()
	last := map[string]int{}
	for line := range strings.Lines(logs) {
		who, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		var n int
		if _, err := fmt.Sscanf(text, " line %d", &n); !ok || err != nil {
			f.t.Fatalf("logs: %q is not a line of the tasks", line)
		}
		who = strings.TrimSpace(who)
		if n != last[who]+1 {
			f.t.Errorf("logs of %s: line %d comes after line %d", who, n, last[who])
		}
		last[who] = n
	}
	return last
}

// containerdIsKilled kills containerd under a running edged.
func (f *fleet) containerdIsKilled(i int, before map[string]string) {
	f.t.Helper()
	own := f.allProcesses(i)
	f.do(f.board(i).Signal(f.t.Context(), "containerd", syscall.SIGKILL))
	name := f.board(i).Name()
	says := func(trouble bool) func() error {
		return func() error {
			nodes, err := f.nodes(f.other(i))
			n := nodes[name]
			if err == nil && (n.Status != "Ready" || strings.Contains(n.Message, "containerd") != trouble || (n.Ails == "runs no tasks") != trouble) {
				err = fmt.Errorf("node ls says of %s: %s, %s: %q", name, n.Status, n.Ails, n.Message)
			}
			return err
		}
	}
	f.until("node ls says that containerd is gone", soon, says(true))
	for id, pid := range own {
		if _, err := os.Stat("/proc/" + pid); err != nil {
			f.t.Errorf("container %s died with containerd: %v", id, err)
		}
	}
	f.do(f.board(i).StartContainerd(f.t.Context()))
	f.until("the board recovers by itself", soon, says(false))
	f.untouched(before, 1, 2, 3)
	f.must(f.other(i), "service", "create", "--quiet", "--name", "after", "--constraint", "node.hostname=="+name, "web:1")
	f.must(f.other(i), "service", "rm", "after")
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// TestJobs: what completed is not run again, whatever becomes of leaders, of
// edged and of boards, and no more runs at once than may.
func TestJobs(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(1, "1")
	f.part("on every board", (*fleet).runsGlobalJob)
	f.part("a few at a time", (*fleet).runsReplicatedJob)
}

// diary is a file of the machine's in which a job's tasks write when they begin
// and when they end: it knows of a task whatever the fleet says of it.
type diary struct{ dir string }

func newDiary(f *fleet) diary {
	f.t.Helper()
	d := diary{f.t.TempDir()}
	f.do(os.WriteFile(d.file(), nil, 0o666))
	return d
}

func (d diary) file() string { return filepath.Join(d.dir, "log") }

// job declares a job whose tasks take so many seconds each.
func (d diary) job(f *fleet, name, seconds string, args ...string) {
	f.t.Helper()
	args = append([]string{"service", "create", "--detach", "--name", name, "--restart-condition", "on-failure",
		"--mount", "type=bind,src=" + d.dir + ",dst=/diary", "--env", "ME={{.Node.Hostname}}/{{.Task.Slot}}", "--entrypoint", "sh"}, args...)
	f.must(1, append(args, "web:1", "-c", "echo begin $ME >>/diary/log; sleep "+seconds+"; echo end $ME >>/diary/log")...)
}

// read tells how many tasks began and ended, which ended, and how many ran at
// once at most.
func (d diary) read(f *fleet) (began, ended, most int, who map[string]int) {
	f.t.Helper()
	raw, err := os.ReadFile(d.file())
	f.do(err)
	who = map[string]int{}
	for line := range strings.Lines(string(raw)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "end "); ok {
			ended++
			who[name]++
		} else {
			began++
		}
		most = max(most, began-ended)
	}
	return began, ended, most, who
}

// completes waits until so many tasks of a job have completed, by the fleet's word.
func (f *fleet) completes(name string, n int) {
	f.t.Helper()
	f.until(fmt.Sprintf("%d tasks of %s complete", n, name), patient, func() error {
		tasks, err := f.tasks(2, name)
		done := 0
		for _, r := range tasks {
			if r.State() == "complete" {
				done++
			}
		}
		if err == nil && done != n {
			err = fmt.Errorf("%d have:%s", done, steer.Table(tasks))
		}
		return err
	})
}

func (f *fleet) runsGlobalJob() {
	d := newDiary(f)
	d.job(f, "once", "2", "--mode", "global-job")
	f.completes("once", 3)
	if began, ended, _, who := d.read(f); began != 3 || ended != 3 || len(who) != 3 {
		f.t.Fatalf("%d began, %d ended: %v", began, ended, who)
	}
	lead := f.leader(2)
	f.do(f.board(lead).Signal(f.t.Context(), "edged", syscall.SIGKILL))
	f.do(f.board(lead).StartEdged())
	f.whole(3)
	off := f.other(lead)
	f.do(f.board(off).Kill(f.t.Context()))
	f.do(f.board(off).Start(f.t.Context()))
	f.whole(3)
	name := f.board(f.other(lead, off)).Name()
	f.must(1, "node", "update", "--availability", "drain", name)
	f.must(1, "node", "update", "--availability", "active", name)
	// A sign that the leader has planned since, and that boards do as they are told.
	f.create("sign", "--mode", "global", "web:1")
	f.runs(2, "sign", 3)
	f.remove("sign")
	f.completes("once", 3)
	if began, _, _, who := d.read(f); began != 3 {
		f.t.Errorf("%d began of 3, all of which had completed: %v", began, who)
	}
	f.must(1, "service", "update", "--detach", "--force", "once")
	f.until("a forced run of it has ended everywhere", patient, func() error {
		if began, ended, _, who := d.read(f); began != 6 || ended != 6 || len(who) != 3 {
			return fmt.Errorf("%d began, %d ended: %v", began, ended, who)
		}
		return nil
	})
	f.must(1, "service", "rm", "once")
}

func (f *fleet) runsReplicatedJob() {
	d := newDiary(f)
	d.job(f, "six", "3", "--mode", "replicated-job", "--replicas", "6", "--max-concurrent", "2")
	f.until("two are at work", patient, func() error {
		if began, ended, _, _ := d.read(f); began-ended != 2 {
			return fmt.Errorf("%d began, %d ended", began, ended)
		}
		return nil
	})
	for range 2 {
		lead := f.leader(2)
		f.do(f.board(lead).Signal(f.t.Context(), "edged", syscall.SIGKILL))
		f.do(f.board(lead).StartEdged())
		f.whole(3)
	}
	f.completes("six", 6)
	began, ended, most, who := d.read(f)
	if began != 6 || ended != 6 || most != 2 {
		f.t.Errorf("%d began and %d ended of 6, at most %d at once: %v", began, ended, most, who)
	}
	slots := map[string]bool{}
	for name := range who {
		_, slot, _ := strings.Cut(name, "/")
		slots[slot] = true
	}
	if len(slots) != 6 {
		f.t.Errorf("6 completed, as %v", who)
	}
	f.must(1, "service", "rm", "six")
}

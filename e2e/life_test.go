package e2e

import (
	"errors"
	"fmt"
	"strings"

	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// probes: a task with a check runs only once it is healthy, and unhealthy it
// has failed.
func (f *fleet) probes() {
	f.create("h", "--detach", "--health-cmd", "test -f /up", "--health-interval", "300ms", "--health-retries", "2", "--health-start-period", "1m",
		"--health-start-interval", "300ms", "--restart-delay", "1m", "--entrypoint", "sh", "web:1", "-c", "sleep 4; touch /up; sleep 4; rm /up; sleep 100")
	for _, step := range []struct{ state, says string }{
		{"starting", "health check fails: exit code 1"}, {"running", ""}, {"failed", "unhealthy: exit code 1"},
	} {
		f.until("the task is "+step.state, soon, func() error {
			tasks, err := f.tasks(1, "h")
			if err == nil && (len(tasks) != 1 || tasks[0].State() != step.state || !strings.Contains(tasks[0].Error, step.says)) {
				err = fmt.Errorf("%s", steer.Table(tasks))
			}
			return err
		})
	}
	f.remove("h")
}

// movesOff: what keeps failing on one board is tried on the other.
func (f *fleet) movesOff() {
	f.create("bad", "--detach", "--restart-delay", "100ms", "--entrypoint", "sh", "web:1", "-c", "exit 3")
	f.until("a task that failed five times is tried elsewhere", patient, func() error {
		tasks, err := f.tasks(1, "bad")
		if err == nil && (len(tasks) < 2 || tasks[0].Node == tasks[1].Node) {
			err = fmt.Errorf("%s", steer.Table(tasks))
		}
		return err
	})
	f.remove("bad")
}

// fillsIn: templates are filled in by what is so on the task's board.
func (f *fleet) fillsIn() {
	f.create("t", "--constraint", "node.hostname==board2", "--hostname", "{{.Service.Name}}-{{.Task.Slot}}", "--env", "WHERE={{.Node.Hostname}}",
		"--mount", "type=volume,src={{.Service.Name}}-data,dst=/data", "web:1")
	f.runs(1, "t", 1)
	if got, want := f.must(1, "task", "exec", "t.1", "sh", "-c", "echo $WHERE $(hostname)"), "board2 t-1\n"; got != want {
		f.t.Errorf("the task is %q, want %q", got, want)
	}
	if v, err := f.volumes(1, "t-data"); err != nil || len(v) != 1 {
		f.t.Errorf("volumes %+v: %v", v, err)
	}
	f.remove("t")
	f.until("its volume may go", soon, func() error {
		if s := f.try(1, "volume", "rm", "t-data"); s.Code != 0 {
			return errors.New(s.Err)
		}
		return nil
	})
}

package rollout

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func service(replicas uint64, index, specVersion uint64) *api.Service {
	s := &api.Service{ID: "svc", Meta: api.Meta{Version: api.Version{Index: index}}, SpecVersion: specVersion}
	s.Spec.Name, s.Spec.TaskTemplate = "web", made(specVersion)
	s.Spec.Mode.Replicated = &api.ReplicatedService{Replicas: &replicas}
	return s
}

// made is what each version of the spec makes tasks of.
func made(specVersion uint64) api.TaskSpec {
	return api.TaskSpec{ContainerSpec: api.ContainerSpec{Image: fmt.Sprintf("web:%d", specVersion)}}
}

func task(slot int, spec uint64, state api.TaskState) *api.Task {
	return &api.Task{
		ID: api.TaskID(fmt.Sprintf("t%d.%d", slot, spec)), ServiceName: "web", Slot: slot, Spec: made(spec), SpecVersion: spec, NodeID: "n1",
		DesiredState: api.TaskRunning, Status: api.TaskStatus{State: state, Attempt: 1},
	}
}

var names = map[api.NodeID]string{"n1": "board1"}

func moment(s *api.Service, converged bool, tasks ...*api.Task) *api.ServiceProgress {
	return &api.ServiceProgress{Service: s, Tasks: tasks, Nodes: names, Converged: converged}
}

func TestPlainPrintsEachChangeOnce(t *testing.T) {
	var out bytes.Buffer
	p := NewPlain(&out)
	s := service(2, 1, 1)
	failed := task(2, 1, api.TaskFailed)
	failed.Status.Err = "exit 1"
	again := task(2, 1, api.TaskRunning)
	again.Status.Attempt = 2
	for _, m := range []*api.ServiceProgress{
		moment(s, false), moment(s, false),
		moment(s, false, task(1, 1, api.TaskPreparing), task(2, 1, api.TaskPreparing)),
		moment(s, false, task(1, 1, api.TaskRunning), failed),
		moment(s, false, task(1, 1, api.TaskRunning), failed),
		moment(s, true, task(1, 1, api.TaskRunning), again),
		moment(s, true, again, task(1, 1, api.TaskRunning)),
	} {
		p.Show(Look(m))
	}
	p.Say("verify: done")
	p.Say("verify: done")
	want := `overall progress: 0 out of 2 tasks
web.1: preparing on board1
web.2: preparing on board1
web.1: running on board1
web.2: failed on board1: exit 1
overall progress: 1 out of 2 tasks
web.2: running on board1 (attempt 2)
overall progress: 2 out of 2 tasks
verify: done
`
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", &out, want)
	}
}

func TestAnUpdateCountsOnlyNewTasks(t *testing.T) {
	s := service(3, 1, 2)
	s.Rollout = &api.Rollout{Target: 2, State: api.UpdateUpdating}
	leaving := task(1, 1, api.TaskRunning)
	leaving.DesiredState = api.TaskShutdown
	v := Look(moment(s, false, leaving, task(1, 2, api.TaskRunning), task(2, 2, api.TaskStarting), task(2, 1, api.TaskRunning), task(3, 1, api.TaskRunning)))
	if v.Running != 1 || v.Total != 3 || len(v.Steps) != 3 || !v.Steps[0].Done || v.Steps[1].State != api.TaskStarting || v.Steps[2].State != "" {
		t.Errorf("%+v", v)
	}
}

func TestAGlobalServiceIsShownByNode(t *testing.T) {
	s := service(0, 1, 1)
	s.Spec.Mode = api.ServiceMode{Global: &api.GlobalService{}}
	v := Look(moment(s, false, task(0, 1, api.TaskRunning)))
	if v.Total != 1 || v.Running != 1 || v.Steps[0].Key != "board1" || v.Steps[0].Name != "web.board1" {
		t.Errorf("%+v", v)
	}
}

func TestTerminalRedrawsItsBlock(t *testing.T) {
	var out bytes.Buffer
	term := NewTerminal(&out, func() (int, int) { return 72, 24 })
	s := service(2, 1, 1)
	pending := task(2, 1, api.TaskPending)
	pending.NodeID = ""
	pending.Status.Message = "no suitable\x1b[2J node (insufficient memory on 3 nodes)"
	term.Show(Look(moment(s, false, task(1, 1, api.TaskRunning), pending)))
	first := out.String()
	if !strings.Contains(first, "1/2: running   [=======================================>] board") || strings.Contains(first, "\x1b") {
		t.Errorf("first drawing:\n%q", first)
	}
	for line := range strings.Lines(first) {
		if n := len([]rune(strings.TrimSpace(line))); n >= 72 {
			t.Errorf("a line of %d wraps: %q", n, line)
		}
	}
	out.Reset()
	term.Say("verify: done")
	if !strings.HasPrefix(out.String(), "\x1b[3A\r\x1b[J") || !strings.HasSuffix(out.String(), "verify: done\n") {
		t.Errorf("second drawing: %q", &out)
	}
}

func TestATerminalHasRoomForItsHeightOnly(t *testing.T) {
	var out bytes.Buffer
	term := NewTerminal(&out, func() (int, int) { return 80, 10 })
	s := service(30, 1, 1)
	var tasks []*api.Task
	for i := 1; i <= 30; i++ {
		state := api.TaskRunning
		if i == 30 {
			state = api.TaskPreparing
		}
		tasks = append(tasks, task(i, 1, state))
	}
	term.Show(Look(moment(s, false, tasks...)))
	if n := strings.Count(out.String(), "\n"); n > 9 || !strings.Contains(out.String(), "30/30: preparing") || !strings.Contains(out.String(), "and 24 more") {
		t.Errorf("%d lines:\n%s", n, &out)
	}
}

// with gives a service a rollout.
func with(s *api.Service, target uint64, state api.UpdateState, message string) *api.Service {
	s.Rollout = &api.Rollout{Target: target, State: state, Total: 2, Failed: 1}
	s.UpdateStatus = &api.UpdateStatus{State: state, Message: message, StartedAt: new(time.Time)}
	return s
}

func TestJudge(t *testing.T) {
	done := task(1, 2, api.TaskRunning)
	for _, c := range []struct {
		name     string
		since    *api.Service
		rollback bool
		moments  []*api.ServiceProgress
		want     Verdict
		say      string
	}{
		{"a moment before the change", service(1, 5, 2), false, []*api.ServiceProgress{moment(service(1, 4, 2), true, done)}, Stale, ""},
		{"a new service runs", service(1, 5, 1), false, []*api.ServiceProgress{moment(service(1, 5, 1), true, done)}, Settled, ""},
		{"an update ends", service(1, 5, 2), false, []*api.ServiceProgress{
			moment(with(service(1, 6, 2), 2, api.UpdateUpdating, ""), false, done),
			moment(with(service(1, 7, 2), 2, api.UpdateCompleted, ""), true, done)}, Done, ""},
		{"it ended before the first look", with(service(1, 5, 2), 2, api.UpdateUpdating, ""), false, []*api.ServiceProgress{
			moment(with(service(1, 7, 2), 2, api.UpdateCompleted, ""), true, done)}, Done, ""},
		{"it pauses", service(1, 5, 2), false, []*api.ServiceProgress{
			moment(with(service(1, 7, 2), 2, api.UpdatePaused, "task t1 failed"), false, done)}, Done, "paused: task t1 failed;"},
		{"a pause without a reason", service(1, 5, 2), false, []*api.ServiceProgress{
			moment(with(service(1, 7, 2), 2, api.UpdatePaused, ""), false, done)}, Done, "1 of 2 tasks failed"},
		{"an older pause is no news", with(service(3, 5, 2), 2, api.UpdatePaused, "old"), false, []*api.ServiceProgress{
			moment(with(service(3, 5, 2), 2, api.UpdatePaused, "old"), false, done)}, Waiting, ""},
		{"it rolls back", service(1, 5, 2), false, []*api.ServiceProgress{
			moment(with(service(1, 7, 3), 3, api.UpdateRollbackStarted, "too many failed"), false, done),
			moment(with(service(1, 8, 3), 3, api.UpdateRollbackCompleted, "too many failed"), true, done)}, Done, "rolled back: too many failed"},
		{"a rollback that was asked for", service(1, 5, 3), true, []*api.ServiceProgress{
			moment(with(service(1, 7, 3), 3, api.UpdateRollbackStarted, ""), false, done),
			moment(with(service(1, 8, 3), 3, api.UpdateRollbackCompleted, ""), true, done)}, Done, ""},
		{"a rollback that pauses", service(1, 5, 3), true, []*api.ServiceProgress{
			moment(with(service(1, 8, 3), 3, api.UpdateRollbackPaused, "no"), false, done)}, Done, "rollback of service web paused"},
		{"it is removed", service(1, 5, 3), false, []*api.ServiceProgress{{}}, Done, "removed meanwhile"},
		{"a converged service that rolls on", service(1, 5, 2), false, []*api.ServiceProgress{
			moment(with(service(1, 6, 2), 2, api.UpdateUpdating, ""), true, done)}, Waiting, ""},
	} {
		j := Judge{Since: c.since, Rollback: c.rollback}
		var got Verdict
		var err error
		for _, m := range c.moments {
			got, err = j.Judge(m)
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != c.want || (c.say == "") != (err == nil) || !strings.Contains(text, c.say) {
			t.Errorf("%s: %v, %v; want %v, %q", c.name, got, err, c.want, c.say)
		}
	}
}

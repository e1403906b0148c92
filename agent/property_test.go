package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime/sim"
)

// event is something that may happen to a board; arg picks among its targets.
type event struct {
	what string
	arg  int
}

var happenings = []string{
	"assign", "assign", "assign with port", "swap", "swap start-first", "shut down", "remove", "unassign", "kill", "kill",
	"restart edged", "reboot", "lose leader", "find leader", "cut session", "runtime down", "runtime up", "disk full", "disk free",
	"pass", "pass", "pass", "pass long",
}

var programs = [][]string{
	nil, {"wait"}, {"exit 0"}, {"exit 3"}, {"sleep 7s", "exit 1"}, {"ignore TERM", "wait"}, {"linger 4s", "wait"}, {"sleep 2m", "exit 0"},
}

// TestWhateverHappens plays random events and checks what must hold at every
// moment, and that the board ends as it should when all is well again.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// Drawn before, because rapid must not unwind a goroutine of the bubble.
		events := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) event {
			return event{rapid.SampledFrom(happenings).Draw(rt, "what"), rapid.IntRange(0, 1000).Draw(rt, "arg")}
		}), 5, 40).Draw(rt, "events")
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			p := &play{board: newBoard(t, nil), last: map[api.TaskID]api.TaskStatus{}}
			p.leader.alter(func() { p.leader.lease, p.leader.period = 2*time.Minute, time.Minute })
			for _, e := range events {
				p.happen(e)
				p.check()
			}
			p.heal()
			wrong = slices.Concat(p.wrong, p.leader.violations(), p.network.violations())
			p.leader.complain, p.network.complain = nil, nil // told by rapid
		})
		if len(wrong) > 0 {
			rt.Fatalf("%s", strings.Join(wrong, "\n"))
		}
	})
}

type play struct {
	*board
	made  int
	last  map[api.TaskID]api.TaskStatus // seen by this process
	wrong []string
}

func (p *play) complain(format string, args ...any) {
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

// assigned picks a task of the set for which ok holds.
func (p *play) assigned(arg int, ok func(*api.Task) bool) *api.Task {
	var fit []*api.Task
	for _, item := range p.leader.items {
		if item.Task != nil && ok(item.Task) {
			fit = append(fit, item.Task)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	slices.SortFunc(fit, func(a, b *api.Task) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return fit[arg%len(fit)]
}

func (p *play) make(arg int, port uint16) *api.Task {
	p.made++
	made := published(task(api.TaskID(fmt.Sprintf("t%02d", p.made)), programs[arg%len(programs)]...), port)
	conditions := []api.RestartCondition{api.RestartAny, api.RestartAny, api.RestartOnFailure, api.RestartNone}
	made.Spec.RestartPolicy = &api.RestartPolicy{Condition: conditions[arg/10%len(conditions)]}
	return made
}

func wantedTask(t *api.Task) bool { return t.DesiredState == api.TaskRunning }

func (p *play) happen(e event) {
	switch e.what {
	case "assign":
		p.leader.tasks(p.make(e.arg, 0))
	case "assign with port":
		if p.assigned(0, func(t *api.Task) bool { return wantedTask(t) && len(claimsOf(t)) > 0 }) == nil {
			p.leader.tasks(p.make(e.arg, 80)) // a scheduler gives a port once
		}
	case "swap":
		if old := p.assigned(e.arg, wantedTask); old != nil {
			var port uint16
			for _, held := range claimsOf(old) {
				port = held.number
			}
			p.swap(old.ID, p.make(e.arg, port), true)
		}
	case "swap start-first":
		if old := p.assigned(e.arg, func(t *api.Task) bool { return wantedTask(t) && len(claimsOf(t)) == 0 }); old != nil {
			p.swap(old.ID, p.make(e.arg, 0), false)
		}
	case "shut down":
		if old := p.assigned(e.arg, wantedTask); old != nil {
			p.leader.desire(old.ID, api.TaskShutdown)
		}
	case "remove":
		if old := p.assigned(e.arg, func(*api.Task) bool { return true }); old != nil {
			p.leader.desire(old.ID, api.TaskRemoved)
		}
	case "unassign":
		if old := p.assigned(e.arg, func(*api.Task) bool { return true }); old != nil {
			p.leader.unassign(old.ID)
		}
	case "kill":
		if ids := p.running(); len(ids) > 0 {
			if err := p.host.Kill(ids[e.arg%len(ids)], 9); err != nil {
				p.complain("%v", err)
			}
		}
	case "pass":
		p.after(time.Duration(e.arg) * 10 * time.Millisecond)
	case "pass long":
		p.after(time.Duration(e.arg) * time.Second)
	default:
		p.fail(e.what)
	}
	synctest.Wait()
}

// fail is the events that break something, and those that mend it.
func (p *play) fail(what string) {
	switch what {
	case "restart edged":
		p.restart()
		clear(p.last) // a new process has not said anything yet
	case "reboot":
		p.reboot()
		clear(p.last)
	case "lose leader":
		p.leader.vanish()
	case "find leader":
		p.leader.appear()
	case "cut session":
		p.leader.alter(p.leader.cut)
	case "runtime down":
		p.host.SetDown(true)
	case "runtime up":
		p.host.SetDown(false)
	case "disk full":
		p.fillDisk(true)
	case "disk free":
		p.fillDisk(false)
	}
}

// check is what must hold at every moment.
func (p *play) check() {
	for _, brief := range p.agent.Tasks() {
		s, said := p.agent.outbox.get(brief.ID)
		old, known := p.last[brief.ID]
		if known && !said {
			p.complain("task %s has no status any more", brief.ID)
		}
		if known && s.State != old.State && !s.Newer(old) {
			p.complain("task %s went from %s of attempt %d to %s of %d", brief.ID, old.State, old.Attempt, s.State, s.Attempt)
		}
		if said {
			p.last[brief.ID] = s
		}
	}
	runs := map[string]bool{}
	for _, id := range p.running() {
		task, _, _ := strings.Cut(id, ".")
		if runs[task] {
			p.complain("task %s runs twice", task)
		}
		runs[task] = true
	}
	started := map[string]bool{}
	for _, e := range p.host.Journal() {
		if e.Op == sim.OpStart {
			if started[e.ID] {
				p.complain("attempt %s was started twice", e.ID)
			}
			started[e.ID] = true
		}
	}
}

// heal mends all that is broken, lets time pass, and checks that what should
// run does, once, and nothing else.
func (p *play) heal() {
	for _, mend := range []string{"disk free", "runtime up", "find leader"} {
		p.fail(mend)
	}
	p.after(20 * time.Minute)
	before := map[api.TaskID]api.TaskStatus{}
	for _, item := range p.leader.items {
		before[item.Task.ID] = p.status(item.Task.ID)
	}
	p.after(time.Second)
	p.check()
	if have := p.agent.Standing().Have; have != p.leader.has() {
		p.complain("holds %v, want %v", have, p.leader.has())
	}
	wanted := map[string]bool{}
	for _, item := range p.leader.items {
		s := p.status(item.Task.ID)
		ended := *item.Task
		ended.Status = s
		switch {
		case wantedTask(item.Task) && !ended.Over():
			if s.State != api.TaskRunning && s.State != api.TaskFailed && s.State != api.TaskComplete {
				p.complain("task %s is %+v when all is well", item.Task.ID, s)
			}
			if s.State == api.TaskRunning {
				wanted[s.ContainerID] = true
			}
		case !ended.Over():
			p.complain("task %s is %s and not over: %+v", item.Task.ID, item.Task.DesiredState, s)
		}
		if said := p.leader.status(item.Task.ID); before[item.Task.ID].Newer(said) {
			p.complain("leader knows of task %s: %+v, but it was %+v a second ago", item.Task.ID, said, before[item.Task.ID])
		}
	}
	for _, id := range p.running() {
		if !wanted[id] {
			p.complain("%s runs and should not", id)
		}
		delete(wanted, id)
	}
	for id := range wanted {
		p.complain("%s is said to run and does not", id)
	}
	for _, c := range p.host.Containers() {
		if p.leader.items[api.ItemKey{Kind: "task", Key: string(c.Task)}].Task == nil {
			p.complain("container %s of no task is left", c.ID)
		}
	}
}

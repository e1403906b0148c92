package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestIdleBoardWritesNothing(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"), task("b"))
		b.after(time.Minute)
		before, file := b.writes(), filepath.Join(b.dir, "agent.db")
		heard := len(b.leader.heard())
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		b.after(time.Hour)
		if b.writes() != before {
			t.Errorf("%d writes in an idle hour", b.writes()-before)
		}
		if now, err := os.Stat(file); err != nil || now.ModTime() != info.ModTime() {
			t.Error("the file was written to in an idle hour")
		}
		if n := len(b.leader.heard()) - heard; n < 3500 || n > 3700 {
			t.Errorf("%d heartbeats in an hour, want one each second", n)
		}
		for _, r := range b.leader.heard()[heard:] {
			if r.report.Hello != nil || len(r.report.Tasks) > 0 || r.report.Description != nil {
				t.Fatalf("an idle board reports %+v", r.report)
			}
		}
		if left := time.Until(b.agent.Standing().Until); left < 2*time.Second {
			t.Errorf("the lease has %v left", left)
		}
	})
}

func TestChangeOfLeaderIsNoEvent(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"))
		b.after(time.Second)
		events, writes := len(b.host.Journal()), b.writes()
		for range 10 {
			b.leader.alter(b.leader.cut)
			b.after(200 * time.Millisecond)
			if !b.agent.Standing().Connected {
				t.Fatal("no new session after 200 ms")
			}
		}
		if hello := last(b.leader.greeted()); hello.Have != b.leader.has() {
			t.Errorf("hello has %v, want %v", hello.Have, b.leader.has())
		}
		if len(b.host.Journal()) != events || b.writes() != writes {
			t.Error("a change of leader touched tasks or disk")
		}
	})
}

func TestReportsSurviveALostSession(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a", "sleep 1m", "exit 0"))
		b.after(time.Second)
		b.leader.vanish()
		b.after(2 * time.Minute) // restarts meanwhile, unheard
		if said := b.leader.status("a"); said.Attempt != 1 {
			t.Fatalf("leader knows %+v", said)
		}
		b.leader.appear()
		b.after(6 * time.Second)
		if said := b.leader.status("a"); said.Attempt < 2 {
			t.Errorf("leader knows %+v", said)
		}
	})
}

// TestNewLeaderIsToldAll: what was said to one leader, another may not know.
func TestNewLeaderIsToldAll(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"), task("b", "exit 0"))
		b.after(time.Second)
		b.leader.alter(func() {
			clear(b.leader.seen)
			b.leader.cut()
		})
		b.after(time.Second)
		b.want("a", api.TaskRunning, 1)
		b.want("b", api.TaskComplete, 1)
	})
}

func TestSetSentAnewChangesNothing(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.assign(api.Item{Fleet: &api.FleetInfo{ID: "fleet"}}, api.Item{Task: task("a")})
		b.after(time.Second)
		told, events := len(b.leader.told()), len(b.host.Journal())
		b.leader.alter(func() {
			b.leader.seq = 77 // another leader's name for the same set
			b.leader.cut()
		})
		b.after(time.Second)
		if have := b.agent.Standing().Have; have.Seq != 77 {
			t.Errorf("holds %v", have)
		}
		if len(b.leader.told()) != told || len(b.host.Journal()) != events {
			t.Error("the same set touched something")
		}
	})
}

func TestSilentLeaderIsLeft(t *testing.T) {
	inBubble(t, func(b *board) {
		b.after(time.Second)
		sessions := len(b.leader.greeted())
		b.leader.alter(func() { b.leader.mute = true })
		b.after(4 * time.Second)
		if len(b.leader.greeted()) == sessions {
			t.Error("no new session, though the lease has passed without a word")
		}
		b.leader.alter(func() { b.leader.mute = false })
		b.after(20 * time.Second)
		if !b.agent.Standing().Connected {
			t.Error("no session though the leader speaks again")
		}
	})
}

func TestGapOpensANewSession(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"), task("b"))
		b.after(time.Second)
		sessions := len(b.leader.greeted())
		b.leader.alter(func() {
			b.leader.seq += 5 // changes that got lost
			delete(b.leader.items, api.ItemKey{Kind: "task", Key: "b"})
			b.leader.send(&api.Assignment{Previous: b.leader.id(), Next: b.leader.id()})
		})
		b.after(time.Second)
		if n := len(b.leader.greeted()); n != sessions+1 {
			t.Fatalf("%d sessions, want one more than %d", n, sessions)
		}
		if have := b.agent.Standing().Have; have != b.leader.has() {
			t.Errorf("holds %v, want %v", have, b.leader.has())
		}
		b.wantRunning("a.1")
	})
}

func TestPastOfTheFleetIsRefused(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.alter(func() { b.leader.epoch = 3 })
		b.leader.assign(api.Item{Fleet: &api.FleetInfo{ID: "fleet"}}, api.Item{Task: task("a")})
		b.after(time.Second)
		b.leader.alter(func() {
			b.leader.epoch, b.leader.seq = 2, 100 // a manager that was away during the recovery
			delete(b.leader.items, api.ItemKey{Kind: "task", Key: "a"})
			b.leader.cut()
		})
		b.after(time.Minute)
		b.wantRunning("a.1")
		if err := b.agent.Standing().Err; err == nil || !strings.Contains(err.Error(), "epoch 2") {
			t.Errorf("session error %v does not say why", err)
		}

		b.leader.alter(func() { // another fleet has epochs of its own
			b.leader.items = map[api.ItemKey]api.Item{{Kind: "fleet", Key: "other"}: {Fleet: &api.FleetInfo{ID: "other"}}}
		})
		b.after(10 * time.Second)
		b.wantRunning()
		if have := b.agent.Standing().Have; have.Epoch != 2 {
			t.Errorf("holds %v", have)
		}
	})
}

func TestNodeIsToldOfFleetAndPeers(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.assign(
			api.Item{Fleet: &api.FleetInfo{ID: "fleet", Voter: true}},
			api.Item{Peer: &api.Peer{ID: "node2", Name: "board2"}}, api.Item{Peer: &api.Peer{ID: "node3"}},
		)
		b.after(time.Second)
		if told := b.leader.told(); len(told) != 1 || !told[0].fleet.Voter || len(told[0].peers) != 2 {
			t.Fatalf("told %+v", told)
		}
		b.leader.tasks(task("a"))
		b.after(time.Second)
		if told := b.leader.told(); len(told) != 1 {
			t.Error("told of a change that was of a task only")
		}
		b.leader.change(nil, []api.ItemKey{{Kind: "peer", Key: "node2"}})
		b.after(time.Second)
		if told := b.leader.told(); len(told) != 2 || len(told[1].peers) != 1 {
			t.Fatalf("told %+v", told)
		}
		b.leader.vanish()
		b.restart()
		b.after(time.Second)
		if told := b.leader.told(); len(told) != 3 || told[2].fleet.ID != "fleet" || len(told[2].peers) != 1 {
			t.Fatalf("told %+v after a restart without a leader", told)
		}
	})
}

func TestDescriptionIsSentWhenItChanges(t *testing.T) {
	inBubble(t, func(b *board) {
		b.after(time.Second)
		if d := b.leader.board(); d.Hostname != "board1" || d.Engine.Runtime != "sim 1" || d.Engine.RuntimeError != "" {
			t.Fatalf("hello describes %+v", d)
		}
		b.rename("kitchen")
		b.changed <- struct{}{}
		b.after(100 * time.Millisecond)
		if b.leader.board().Hostname != "kitchen" {
			t.Errorf("leader knows %+v", b.leader.board())
		}
	})
}

func TestFullDisk(t *testing.T) {
	inBubble(t, func(b *board) {
		once := task("once", "sleep 1m", "exit 0")
		once.Spec.RestartPolicy = &api.RestartPolicy{Condition: api.RestartNone}
		b.leader.tasks(task("a"), task("crash", "sleep 1m", "exit 1"), once)
		b.after(time.Second)
		have := b.agent.Standing().Have
		b.fillDisk(true)
		b.leader.tasks(task("b"))
		b.after(2 * time.Minute)
		if got := last(b.leader.greeted()).Have; got != have {
			t.Errorf("hello says it holds %v, but only %v is on disk", got, have)
		}
		if d := b.leader.board(); !strings.Contains(d.Engine.RuntimeError, "no space left") {
			t.Errorf("leader knows %+v of a board with a full disk", d.Engine)
		}
		b.wantRunning("a.1")
		if s := b.status("crash"); s.State != api.TaskFailed || !strings.Contains(s.Message, "no space left") {
			t.Errorf("status %+v does not say what it waits for", s)
		}
		b.want("once", api.TaskComplete, 1)
		if _, kept := b.host.Spec("once.1"); kept {
			t.Error("the container of an ended task takes up room on a full disk")
		}
		b.fillDisk(false)
		b.after(15 * time.Second)
		b.wantRunning("a.1", "b.1", "crash.2")
		b.restart()
		b.after(time.Second)
		b.want("once", api.TaskComplete, 1)
		if d := b.leader.board(); d.Engine.RuntimeError != "" {
			t.Errorf("leader knows %+v of a board with room on its disk", d.Engine)
		}
	})
}

func TestFind(t *testing.T) {
	inBubble(t, func(b *board) {
		old, now, other := task("abc1"), task("abc2"), task("xyz")
		other.ServiceName, other.Slot = "api", 2
		old.DesiredState = api.TaskShutdown
		b.leader.tasks(old, now, other)
		b.after(time.Second)
		for ref, want := range map[string]api.TaskID{"abc1": "abc1", "x": "xyz", "web.1": "abc2", "api.2": "xyz"} {
			if f, err := b.agent.Find(ref); err != nil || f.Task.ID != want {
				t.Errorf("find %q: %+v, %v; want %s", ref, f.Task, err, want)
			}
		}
		for ref, want := range map[string]api.Kind{"abc": api.Conflict, "q": api.NotFound, "": api.NotFound, "web.2": api.NotFound} {
			if _, err := b.agent.Find(ref); api.KindOf(err) != want {
				t.Errorf("find %q: %v, want %s", ref, err, want)
			}
		}
		var ids []api.TaskID
		for _, brief := range b.agent.Tasks() {
			ids = append(ids, brief.ID)
		}
		if len(ids) != 3 || ids[0] != "xyz" || ids[1] != "abc1" {
			t.Errorf("tasks %v, want them by service and slot", ids)
		}
	})
}

func TestManyStatusesAreOneReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, nil)
		b.after(500 * time.Millisecond)
		before := len(b.leader.heard())
		var all []*api.Task
		for _, id := range strings.Split("a b c d e f g h i j k l m n o p", " ") {
			all = append(all, task(api.TaskID(id)))
		}
		b.leader.tasks(all...)
		b.after(300 * time.Millisecond)
		if n := len(b.leader.heard()) - before; n > 2 {
			t.Errorf("%d reports of 16 tasks that began together", n)
		}
		for _, a := range all {
			b.want(a.ID, api.TaskRunning, 1)
		}
	})
}

func last[T any](all []T) T { return all[len(all)-1] }

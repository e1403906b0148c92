package agent

import (
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Of a set that comes in parts nothing happens before it is whole: wherever it
// breaks off, what runs goes on and what is held stays what it was.
func TestPartsAreOneAssignment(t *testing.T) {
	inBubble(t, func(b *board) {
		b.leader.tasks(task("a"), task("b"))
		b.after(time.Second)
		held, writes := b.agent.Standing().Have, b.writes()
		next := api.SetID{Seq: 50}
		part := func(more bool, set []api.Item, gone ...api.ItemKey) *api.Assignment {
			return &api.Assignment{More: more, Full: true, Previous: held, Next: next, Set: set, Removed: gone}
		}
		first := part(true, []api.Item{{Task: task("c")}})
		send := func(parts ...*api.Assignment) {
			b.leader.alter(func() {
				for _, p := range parts {
					b.leader.send(p)
					if !p.More {
						b.leader.seq = p.Next.Seq
					}
				}
			})
			b.after(time.Second)
		}
		unchanged := func(when string) {
			t.Helper()
			if have := b.agent.Standing().Have; have != held || b.writes() != writes {
				t.Fatalf("%s: holds %v after %d writes, want %v after %d", when, have, b.writes(), held, writes)
			}
			b.wantRunning("a.1", "b.1")
		}

		send(first)
		unchanged("amid the parts")
		b.leader.alter(b.leader.cut)
		b.after(time.Second)
		unchanged("the session broke amid the parts")

		// A part of before the break does not count afterwards.
		send(part(false, []api.Item{{Task: task("a")}, {Task: task("b")}}))
		if have := b.agent.Standing().Have; have != next {
			t.Fatalf("holds %v", have)
		}
		b.wantRunning("a.1", "b.1")

		held, next = next, api.SetID{Seq: 60}
		writes = b.writes()
		send(part(true, []api.Item{{Task: task("a")}}))
		b.restart()
		writes = b.writes()
		b.after(time.Second)
		unchanged("edged was restarted amid the parts")

		send(part(true, []api.Item{{Task: task("a")}}), part(true, []api.Item{{Task: task("c")}}), part(false, []api.Item{{Task: task("d")}}))
		b.wantRunning("a.1", "c.1", "d.1")
		if have := b.agent.Standing().Have; have != next {
			t.Errorf("holds %v, want %v", have, next)
		}
	})
}

// Parts of two assignments that are mixed up end the session.
func TestPartsOfAnotherAssignmentAreAGap(t *testing.T) {
	var g gathering
	if whole, err := g.add(&api.Assignment{More: true, Next: api.SetID{Seq: 2}}); whole != nil || err != nil {
		t.Fatal(whole, err)
	}
	if _, err := g.add(&api.Assignment{Next: api.SetID{Seq: 3}}); err == nil {
		t.Error("a part of another assignment was taken")
	}
}

// A slow line is no silence, as long as parts come in.
func TestPartsMayTakeTheirTime(t *testing.T) {
	inBubble(t, func(b *board) {
		b.after(time.Second)
		held, sessions := b.agent.Standing().Have, len(b.leader.greeted())
		b.leader.alter(func() { b.leader.mute = true }) // as one is that is busy sending
		for i := range 5 {
			b.leader.alter(func() {
				b.leader.send(&api.Assignment{More: i < 4, Previous: held, Next: api.SetID{Seq: 9}, Set: []api.Item{{Task: task(api.TaskID(rune('a' + i)))}}})
			})
			b.after(8 * time.Second)
			if i == 4 {
				break
			}
			if len(b.leader.greeted()) != sessions {
				t.Fatal("the session was given up amid the parts")
			}
		}
		if len(b.running()) != 5 {
			t.Errorf("running: %v", b.running())
		}
	})
}

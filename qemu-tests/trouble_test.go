package qemutests

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/steer"
	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
	"github.com/edgeswarm/edgeswarm/qemu-tests/disk"
	"github.com/edgeswarm/edgeswarm/qemu-tests/ethernet"
)

// formed is a fleet of boards that were powered on together, with the service
// web on each of them.
func formed(t *testing.T, kinds ...board.Kind) *fleet {
	t.Helper()
	f := newFleet(t)
	for _, kind := range kinds {
		f.plug(kind, f.card(kind))
	}
	f.power(f.boards...)
	f.up(f.boards...)
	f.whole(booting, f.boards...)
	f.load(f.boards[0], "web:1")
	f.must(f.boards[0], "service", "create", "--detach", "--name", "web", "--mode", "global", "--publish", "mode=host,target=8080", "web:1")
	f.answers(f.boards[0], "web", "1", len(kinds))
	return f
}

// TestPartition: the leader is cut off from the others. They go on with another;
// it accepts nothing and its tasks run on; healed, all know what was accepted.
func TestPartition(t *testing.T) {
	f := formed(t, board.Virt, board.Virt, board.Virt)
	lead := f.leader(f.boards[0])
	rest := f.others(lead)
	before := f.shell(lead, "pidof webd")
	f.lan.Partition([]string{lead.Name()}, []string{rest[0].Name(), rest[1].Name()})
	f.until("the majority accepts a write", patient, func() error {
		return accepted(f.edgectl(rest[0]).Try(nil, "service", "update", "--detach", "--label-add", "side=majority", "web"))
	})
	if s := f.edgectl(lead).Try(nil, "service", "update", "--detach", "--label-add", "side=minority", "web"); s.Code == 0 {
		t.Error("a leader that is alone accepts a write")
	}
	f.until("the board that is cut off is said to be down", patient, func() error {
		nodes, err := f.edgectl(rest[1]).Nodes()
		if n := nodes[lead.hostname]; err == nil && !strings.HasPrefix(n.Status, "Down") {
			err = fmt.Errorf("%+v", n)
		}
		return err
	})
	f.lan.Heal()
	f.whole(patient, f.boards...)
	for _, b := range f.boards {
		f.labelled(b, "side", "majority")
	}
	if after := f.shell(lead, "pidof webd"); after != before {
		t.Errorf("the tasks of the board that was cut off were processes %s and are %s", before, after)
	}
}

// TestPoorLAN: frames are lost, late, doubled and out of order. A fleet forms and works.
func TestPoorLAN(t *testing.T) {
	f := newFleet(t)
	for range 3 {
		f.plug(board.Virt, f.card(board.Virt))
	}
	for _, b := range f.boards {
		f.do(f.lan.SetLink(b.Name(), ethernet.Link{Loss: 0.03, Duplicate: 0.03, Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond}))
	}
	f.power(f.boards...)
	f.up(f.boards...)
	f.whole(booting, f.boards...)
	f.load(f.boards[0], "web:1")
	f.must(f.boards[0], "service", "create", "--detach", "--name", "web", "--replicas", "3", "--publish", "mode=host,target=8080", "web:1")
	f.answers(f.boards[1], "web", "1", 3)
}

// TestMixed: one image of two platforms, on boards of both.
func TestMixed(t *testing.T) {
	f := formed(t, board.Virt, board.PC)
	for i, want := range []string{"aarch64", "x86_64"} {
		if got := f.shell(f.boards[i], "uname -m"); got != want {
			t.Errorf("%s is %s", f.boards[i].Name(), got)
		}
	}
}

// TestRaspberryPi3: a Pi 3 is a member like others.
func TestRaspberryPi3(t *testing.T) {
	f := formed(t, board.Virt, board.RaspberryPi3)
	if model := f.shell(f.boards[1], "tr -d '\\0' </proc/device-tree/model"); !strings.HasPrefix(model, "Raspberry Pi 3 Model B") {
		t.Errorf("it is a %q", model)
	}
}

// TestClock1970: a board that wakes up in 1970 comes back, and its tasks with it.
func TestClock1970(t *testing.T) {
	f := formed(t, board.Virt, board.Virt)
	late := f.others(f.leader(f.boards[0]))[0]
	f.do(late.PowerCut(disk.Nothing))
	f.do(late.Start(f.life, board.Boot{Clock: time.Unix(0, 0)}))
	f.up(late)
	f.whole(booting, f.boards...)
	f.answers(late, "web", "1", 2)
}

// TestBadCard: the leader's card fails to write, and later is full. Another leads;
// what is wrong is told; nothing acknowledged is lost; a good card, and all is well.
func TestBadCard(t *testing.T) {
	f := formed(t, board.Virt, board.Virt, board.Virt)
	for name, fault := range map[string]disk.Fault{"failing": {Writes: true}, "full": {Full: true}} {
		f.part(name, func(f *fleet) {
			sick := f.leader(f.boards[0])
			well := f.others(sick)
			sick.Card().Break(fault)
			for i := range 5 { // what makes it notice
				f.until("a write is accepted", patient, func() error {
					return accepted(f.edgectl(well[0]).Try(nil, "service", "update", "--detach", "--label-add", fmt.Sprintf("%s=%d", name, i), "web"))
				})
			}
			sick.Card().Break(disk.Fault{})
			f.do(sick.PowerCut(disk.Some))
			f.power(sick)
			f.up(sick)
			f.whole(booting, f.boards...)
			for _, b := range f.boards {
				f.labelled(b, name, "4")
			}
		})
	}
}

// TestSlowBoard: a board with a quarter of a CPU is a member like others.
func TestSlowBoard(t *testing.T) {
	f := newFleet(t)
	for range 2 {
		f.plug(board.Virt, f.card(board.Virt))
	}
	f.power(f.boards...)
	f.do(f.boards[1].SlowCPU(0.25))
	f.up(f.boards...)
	f.whole(booting, f.boards...)
}

// points is at how many places of a card's life its plug is pulled.
const points = 50

// TestCardPulledMidWrite: one board writes down all that its card is told while
// it takes in images and changes. At each of many points its plug is pulled; it
// comes up, and knows all that was acknowledged before.
func TestCardPulledMidWrite(t *testing.T) {
	f := newFleet(t)
	b := f.plug(board.Virt, f.card(board.Virt))
	f.power(b)
	f.up(b)
	f.whole(booting, b)
	rec, err := b.Card().Record(f.path(b, "journal"))
	f.do(err)
	t.Cleanup(func() { _ = rec.Close() })
	w := written{}
	w.note(rec, "image web:1", func() { f.load(b, "web:1") })
	w.note(rec, "service web", func() {
		f.must(b, "service", "create", "--detach", "--name", "web", "--replicas", "2", "--publish", "mode=host,target=8080", "web:1")
	})
	f.runs(b, "web", 2)
	for i := range 10 {
		w.note(rec, fmt.Sprint("label ", i), func() {
			f.must(b, "service", "update", "--detach", "--label-add", fmt.Sprint("n=", i), "web")
		})
	}
	w.note(rec, "image web:2", func() { f.load(b, "web:2") })
	f.do(b.PowerCut(disk.Nothing))
	t.Logf("%d writes and flushes were recorded", rec.Len())

	r := rand.New(rand.NewPCG(*seed, 0))
	var gate sync.Mutex // the recording is read by one at a time
	t.Run("points", func(t *testing.T) {
		for i := range points {
			n, survive := r.IntN(rec.Len()+1), disk.Survive(i%2)
			t.Run(fmt.Sprint("write ", n), func(t *testing.T) {
				t.Parallel()
				g := newFleet(t)
				g.key, g.fleetKey = f.key, f.fleetKey
				gate.Lock()
				card, err := rec.Card(n, g.dir+"/card.overlay", survive, *seed)
				gate.Unlock()
				g.do(err)
				b := g.plug(board.Virt, card)
				g.power(b)
				g.up(b)
				g.whole(booting, b)
				w.check(g, b, n)
			})
		}
	})
}

// written is what was acknowledged, and when.
type written struct{ log []acknowledged }

type acknowledged struct {
	what     string
	from, to int // begun and acknowledged after so many writes
}

func (w *written) note(rec *disk.Recording, what string, do func()) {
	from := rec.Len()
	do()
	w.log = append(w.log, acknowledged{what, from, rec.Len()})
}

// check asks a board that knows the first n writes for all that was acknowledged by then.
func (w *written) check(f *fleet, b *member, n int) {
	for _, a := range w.log {
		if a.to > n {
			return
		}
		var err error
		switch kind, name, _ := strings.Cut(a.what, " "); kind {
		case "image":
			err = listed(f.edgectl(b), name)
		case "service":
			f.answers(b, name, "1", 2)
		case "label":
			err = w.labelled(f, b, name, n)
		}
		if err != nil {
			f.t.Errorf("%s was acknowledged after write %d, the plug was pulled after write %d: %v", a.what, a.to, n, err)
		}
	}
}

// labelled looks for a label's value; a later one that was under way is as good.
func (w *written) labelled(f *fleet, b *member, value string, n int) error {
	s := f.edgectl(b).Try(nil, "service", "inspect", "--format", "{{.Spec.Labels.n}}", "web")
	got := strings.TrimSpace(s.Out)
	for _, a := range w.log {
		if name, ok := strings.CutPrefix(a.what, "label "); ok && name >= value && a.from <= n && name == got {
			return accepted(s)
		}
	}
	return errors.Join(accepted(s), fmt.Errorf("it knows %q", got))
}

// listed tells whether an image is there.
func listed(e steer.Edgectl, name string) error {
	s := e.Try(nil, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
	if err := accepted(s); err != nil {
		return err
	}
	for line := range strings.Lines(s.Out) {
		if strings.TrimSpace(line) == name {
			return nil
		}
	}
	return fmt.Errorf("image ls says %q", s.Out)
}

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"pgregory.net/rapid"
)

// Any run of updates, some decided on an old view, leaves two managers with
// the same bytes, also one that was restored from a snapshot on the way; obeys
// a model of who may win; and never turns time back.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a, b := New(Config{}), New(Config{})
		log := &chain{stores: []*Store{a, b}}
		m := model{services: map[string]row{}}
		views := []*View{a.View()}
		for step := range rapid.IntRange(1, 40).Draw(r, "steps") {
			if rapid.IntRange(0, 9).Draw(r, "restore") == 0 {
				fresh := New(Config{})
				if err := fresh.Restore(bytes.NewReader(snapshotOf(r, b))); err != nil {
					r.Fatal(err)
				}
				log.stores[1], b = fresh, fresh
			}
			view := views[rapid.IntRange(max(0, len(views)-4), len(views)-1).Draw(r, "view")]
			tx, op := newTx(view), Op{User: rapid.Bool().Draw(r, "user")}
			if rapid.Bool().Draw(r, "request") {
				op.Request = api.RequestID(rapid.SampledFrom([]string{"r1", "r2", "r3"}).Draw(r, "id"))
			}
			for range rapid.IntRange(1, 3).Draw(r, "changes") {
				randomChange(r, tx, step)
			}
			if tx.Empty() {
				continue
			}
			clock := epoch.Add(time.Duration(rapid.IntRange(-1000, 1000).Draw(r, "clock")) * time.Hour)
			entry, err := tx.encode(op, clock)
			if err != nil {
				r.Fatal(err)
			}
			before := a.View()
			_, value, err := log.Propose(context.Background(), entry)
			if err != nil {
				r.Fatal(err)
			}
			m.check(r, tx, op, value.(outcome), a.View())
			if a.View().Time.Before(before.Time) {
				r.Fatalf("time went from %v to %v", before.Time, a.View().Time)
			}
			views = append(views, a.View())
		}
		if one, two := snapshotOf(r, a), snapshotOf(r, b); !bytes.Equal(one, two) {
			r.Fatal("two managers differ")
		}
	})
}

func randomChange(r *rapid.T, tx *Tx, step int) {
	id := rapid.SampledFrom([]string{"s1", "s2", "s3", "s4"}).Draw(r, "service")
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "name")
	old := tx.Service(api.ServiceID(id))
	switch kind := rapid.IntRange(0, 4).Draw(r, "kind"); {
	case kind == 0 && old != nil:
		tx.Delete(old)
	case old != nil:
		next := *old
		next.Spec.Name, next.SpecVersion = name, uint64(step)
		tx.Put(&next)
	default:
		tx.Put(service(id, name))
	}
}

// model is what a person would say the rules are, for services alone.
type model struct {
	services map[string]row
	requests map[api.RequestID]uint64
}

type row struct {
	name    string
	version uint64
}

func (m *model) check(r *rapid.T, tx *Tx, op Op, out outcome, after *View) {
	if m.requests == nil {
		m.requests = map[api.RequestID]uint64{}
	}
	if at, known := m.requests[op.Request]; known {
		if !out.repeated || out.record.Index != at {
			r.Fatalf("a known request: %+v, want index %d", out, at)
		}
		m.agree(r, after)
		return
	}
	next := map[string]row{}
	for id, s := range m.services {
		next[id] = s
	}
	fits := true
	for _, c := range tx.changes {
		if c.deleted != nil {
			fits = fits && m.services[c.key].version == c.deleted.Head().Version.Index
			delete(next, c.key)
		}
		if c.put != nil {
			base := c.put.Head().Version.Index
			if c.deleted == nil {
				fits = fits && m.services[c.key].version == base
			}
			next[c.key] = row{c.put.(*api.Service).Spec.Name, after.Index}
		}
	}
	names := map[string]bool{}
	for _, s := range next {
		fits = fits && !names[s.name]
		names[s.name] = true
	}
	if fits != (out.refused == nil) {
		r.Fatalf("fits: %v, refused: %v", fits, out.refused)
	}
	if out.refused != nil && out.refused.Kind != api.Conflict {
		r.Fatalf("refused with %v", out.refused)
	}
	if fits {
		m.services = next
		if op.Request != "" {
			m.requests[op.Request] = after.Index
		}
	}
	m.agree(r, after)
}

func (m *model) agree(r *rapid.T, v *View) {
	if v.Services.Len() != len(m.services) {
		r.Fatalf("%d services, want %d", v.Services.Len(), len(m.services))
	}
	for id, want := range m.services {
		s := v.Service(api.ServiceID(id))
		if s == nil || s.Spec.Name != want.name || s.Version.Index != want.version || v.ServiceByName(want.name) != s {
			r.Fatalf("service %s: %+v, want %+v", id, s, want)
		}
	}
}

// A table after any changes is the table built anew from what is in it.
func TestTableIndexesStayTrue(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		v := NewView()
		for range rapid.IntRange(1, 30).Draw(r, "steps") {
			var puts, deletes []api.Object
			for range rapid.IntRange(1, 4).Draw(r, "n") {
				task := &api.Task{
					ID:        api.TaskID(rapid.StringMatching(`[abx\x00]{1,3}`).Draw(r, "id")),
					ServiceID: api.ServiceID(rapid.StringMatching(`[ab\x00\x01]{0,2}`).Draw(r, "service")),
				}
				if rapid.Bool().Draw(r, "put") {
					puts = append(puts, task)
				} else {
					deletes = append(deletes, task)
				}
			}
			v = v.With(puts, deletes)
		}
		byService := map[api.ServiceID]int{}
		for task := range v.Tasks.All() {
			byService[task.ServiceID]++
		}
		total := 0
		for id, want := range byService {
			got := 0
			for task := range v.TasksOf(id) {
				if got++; task.ServiceID != id || v.Task(task.ID) != task {
					r.Fatalf("index of %q holds %+v", id, task)
				}
			}
			if got != want {
				r.Fatalf("index of %q holds %d of %d", id, got, want)
			}
			total += got
		}
		if total != v.Tasks.Len() || v.Tasks.indexes[0].Len() != total {
			r.Fatalf("%d indexed of %d", v.Tasks.indexes[0].Len(), v.Tasks.Len())
		}
	})
}

func full(t testing.TB) *bench {
	b := newBench(t)
	b.put(cluster(), service("s1", "web"), task(1), task(2), &api.Node{ID: "n1"}, &api.Image{ID: "sha256:a", Names: []string{"web:1"}})
	b.do(Op{Request: "r1", User: true}, func(tx *Tx) { tx.Put(service("s2", "shop")) })
	return b
}

func TestSnapshotRoundTrip(t *testing.T) {
	b := full(t)
	raw := b.snapshot()
	s := New(Config{})
	if err := s.Restore(bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	v := s.View()
	if v.Index != 2 || !v.Time.Equal(epoch) || v.Tasks.Len() != 2 || v.ServiceByName("shop") == nil || !v.Cluster().Touched {
		t.Errorf("%+v", v)
	}
	if r, ok := v.Request("r1"); !ok || r.Key != "s2" {
		t.Errorf("requests: %+v", r)
	}
	if !bytes.Equal(snapshotOf(t, s), raw) {
		t.Error("a restored state writes another snapshot")
	}
}

func TestDamagedOrNewerSnapshotLeavesTheStateAlone(t *testing.T) {
	b := full(t)
	raw := b.snapshot()
	before := b.View()
	for cut := range len(raw) {
		if err := b.Restore(bytes.NewReader(raw[:cut])); !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut at %d of %d: %v", cut, len(raw), err)
		}
	}
	for at := range raw {
		bad := bytes.Clone(raw)
		bad[at] ^= 0x20
		if err := b.Restore(bytes.NewReader(bad)); err == nil {
			t.Fatalf("a changed byte at %d was not noticed", at)
		}
	}
	head, _ := api.Encode(snapshotHeader{Magic: snapshotMagic, Format: format + 1, MinReader: format + 1})
	if err := b.Restore(bytes.NewReader(append([]byte{byte(len(head))}, head...))); !errors.Is(err, ErrUnknownFormat) {
		t.Errorf("a newer snapshot: %v", err)
	}
	if b.View() != before {
		t.Error("a refused snapshot changed the state")
	}
}

func FuzzApply(f *testing.F) {
	seed := full(f)
	for _, e := range seed.log.entries {
		f.Add(e)
	}
	payload, _ := api.Encode(change{Deletes: []target{{Table: "service", Key: "s1", Version: 1}}, User: true})
	entry, _ := api.Encode(envelope{Format: 1, MinReader: 1, Request: "x", Time: epoch, Payload: payload})
	f.Add(entry)
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, c := full(t), full(t)
		_, err1 := b.Apply(9, raw)
		_, err2 := c.Apply(9, raw)
		if fmt.Sprint(err1) != fmt.Sprint(err2) || !bytes.Equal(b.snapshot(), c.snapshot()) {
			t.Errorf("two managers differ: %v, %v", err1, err2)
		}
		if err1 != nil && !errors.Is(err1, ErrMalformed) && !errors.Is(err1, ErrUnknownFormat) {
			t.Errorf("unclear error: %v", err1)
		}
	})
}

// What the fuzzer finds in the payload is hidden behind the envelope.
func FuzzApplyPayload(f *testing.F) {
	for _, e := range full(f).log.entries {
		env, _, err := decodeEntry(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(env.Payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		raw, err := api.Encode(envelope{Format: 1, MinReader: 1, Time: epoch, Payload: payload})
		if err != nil {
			t.Fatal(err)
		}
		b := full(t)
		if _, err := b.Apply(9, raw); err != nil && b.View().Index != 2 {
			t.Errorf("an entry that failed changed the state: %v", err)
		}
		s := New(Config{})
		if err := s.Restore(bytes.NewReader(b.snapshot())); err != nil {
			t.Errorf("the state can't be restored from its own snapshot: %v", err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	f.Add(full(f).snapshot())
	f.Add(newBench(f).snapshot())
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := New(Config{})
		if err := s.Restore(bytes.NewReader(raw)); err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownFormat) {
			t.Errorf("unclear error: %v", err)
		}
	})
}

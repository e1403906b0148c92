package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestUpdatePutsAndDeletes(t *testing.T) {
	b := newBench(t)
	first := b.put(service("s1", "web"))
	if first.Index != 1 || first.Table != "service" || first.Key != "s1" || first.Repeated {
		t.Errorf("result %+v", first)
	}
	old := b.View()
	s := old.Service("s1")
	if s.Version.Index != 1 || !s.CreatedAt.Equal(epoch) || !s.UpdatedAt.Equal(epoch) {
		t.Errorf("metadata %+v", s.Meta)
	}
	b.now = epoch.Add(time.Minute)
	changed := *s
	changed.Spec.Name = "shop"
	b.put(&changed)
	v := b.View()
	if got := v.Service("s1"); got.Version.Index != 2 || !got.CreatedAt.Equal(epoch) || !got.UpdatedAt.Equal(b.now) {
		t.Errorf("metadata %+v", got.Meta)
	}
	if v.ServiceByName("web") != nil || v.ServiceByName("shop") == nil {
		t.Error("the index of names is not kept")
	}
	if old.ServiceByName("web") != s || s.Spec.Name != "web" || old.Index != 1 {
		t.Error("an older view changed")
	}
	b.do(Op{}, func(tx *Tx) { tx.Delete(tx.Service("s1")) })
	if b.View().Services.Len() != 0 || b.View().ServiceByName("shop") != nil {
		t.Error("it was not deleted")
	}
}

func TestEmptyUpdateProposesNothing(t *testing.T) {
	b := newBench(t)
	b.put(service("s1", "web"))
	r := b.do(Op{Request: "r"}, func(tx *Tx) {
		tx.About(tx.Service("s1"))
		made := service("s2", "shop")
		tx.Put(made)
		tx.Delete(made)
		if !tx.Empty() {
			t.Error("a put that was taken back counts")
		}
	})
	if b.log.index != 1 || r.Index != 1 || r.Key != "s1" {
		t.Errorf("%d entries, result %+v", b.log.index, r)
	}
}

func TestTxSeesItsOwnChanges(t *testing.T) {
	b := newBench(t)
	b.put(service("s1", "web"))
	b.do(Op{}, func(tx *Tx) {
		tx.Put(service("s2", "shop"))
		if tx.ServiceByName("shop") == nil {
			t.Error("a put is not seen")
		}
		tx.Delete(tx.Service("s1"))
		if tx.ServiceByName("web") != nil {
			t.Error("a delete is not seen")
		}
		tx.Put(service("s1", "web")) // another of the same key and name
	})
	if s := b.View().Service("s1"); s == nil || s.Version.Index != 2 || !s.CreatedAt.Equal(b.View().Time) {
		t.Errorf("replaced: %+v", s)
	}
}

func TestErrorOfTheDeciderChangesNothing(t *testing.T) {
	b := newBench(t)
	no := errors.New("no")
	_, err := b.writer.Update(context.Background(), Op{}, func(tx *Tx) error { tx.Put(service("s1", "web")); return no })
	if err != no || b.log.index != 0 {
		t.Errorf("%v, %d entries", err, b.log.index)
	}
}

func TestConflicts(t *testing.T) {
	b := newBench(t)
	b.put(service("s1", "web"), service("s2", "shop"))
	stale := *b.View().Service("s1")
	fresh := stale
	fresh.SpecVersion = 7
	b.put(&fresh)
	for _, c := range []struct {
		what, words string
		fn          func(*Tx)
	}{
		{"a change of what has changed", "service s1 has changed since version 1", func(tx *Tx) { tx.Put(&stale) }},
		{"a delete of what has changed", "service s1 has changed since version 1", func(tx *Tx) { tx.Delete(&stale) }},
		{"a second creation", "service s1 exists already", func(tx *Tx) { tx.Put(service("s1", "other")) }},
		{"a change of what is not there", "service s9 does not exist any more", func(tx *Tx) {
			gone := service("s9", "gone")
			gone.Version.Index = 1
			tx.Put(gone)
		}},
		{"a taken name", `name "shop" is in use by service s2`, func(tx *Tx) { tx.Put(service("s3", "shop")) }},
		{"one name twice in one entry", `name "new" is in use by service s`, func(tx *Tx) { tx.Put(service("s3", "new"), service("s4", "new")) }},
		{"one bad among good", `name "shop" is in use by service s2`, func(tx *Tx) { tx.Put(service("s3", "fine"), service("s4", "shop")) }},
	} {
		before := b.View()
		_, err := b.try(Op{Request: "r", User: true}, c.fn)
		t.Run(c.what, func(t *testing.T) { wantKind(t, err, api.Conflict, c.words) })
		after := b.View()
		if after.Services.objects != before.Services.objects || after.Index != before.Index+1 {
			t.Errorf("%s: a refused entry changed something", c.what)
		}
		if _, known := after.Request("r"); known {
			t.Errorf("%s: a refused request is remembered", c.what)
		}
	}
	swap1, swap2 := *b.View().Service("s1"), *b.View().Service("s2")
	swap1.Spec.Name, swap2.Spec.Name = "shop", "web"
	b.put(&swap1, &swap2)
	if b.View().ServiceByName("web").ID != "s2" {
		t.Error("two names were not swapped in one entry")
	}
}

func TestAnImagesNamesAreItsOwn(t *testing.T) {
	b := newBench(t)
	b.put(&api.Image{ID: "sha256:a", Names: []string{"web:1", "web:latest"}})
	_, err := b.try(Op{}, func(tx *Tx) { tx.Put(&api.Image{ID: "sha256:b", Names: []string{"web:2", "web:latest"}}) })
	wantKind(t, err, api.Conflict, `name "web:latest" is in use by image sha256:a`)
	b.do(Op{}, func(tx *Tx) {
		a := *tx.Image("sha256:a")
		a.Names = []string{"web:1"}
		tx.Put(&a)
		tx.Put(&api.Image{ID: "sha256:b", Names: []string{"web:2", "web:latest"}})
	})
	if b.View().ImageByName("web:latest").ID != "sha256:b" {
		t.Error("the name did not move")
	}
}

func TestFleetTimeNeverGoesBack(t *testing.T) {
	b := newBench(t)
	b.put(service("s1", "a"))
	b.now = time.Unix(0, 0) // the next leader has no clock
	b.put(service("s2", "b"))
	if s := b.View().Service("s2"); !s.CreatedAt.Equal(epoch) || !b.View().Time.Equal(epoch) {
		t.Errorf("created at %v, fleet time %v", s.CreatedAt, b.View().Time)
	}
}

func TestRetryOfARequestDoesNothingAgain(t *testing.T) {
	b := newBench(t)
	lost := errors.New("leadership lost")
	b.log.lose = lost
	create := func(tx *Tx) { tx.Put(service("s1", "web")) }
	if _, err := b.try(Op{Request: "r1"}, create); !errors.Is(err, lost) {
		t.Fatal(err)
	}
	r := b.do(Op{Request: "r1"}, func(*Tx) { t.Error("the decision was made a second time") })
	if !r.Repeated || r.Index != 1 || r.Key != "s1" || r.Table != "service" {
		t.Errorf("%+v", r)
	}
	if b.log.index != 1 {
		t.Errorf("%d entries", b.log.index)
	}
}

// A retry that was decided before the first try was applied.
func TestEntryOfAKnownRequestChangesNothing(t *testing.T) {
	b := newBench(t)
	tx := newTx(b.View())
	tx.Put(service("s2", "web"))
	second, err := tx.encode(Op{Request: "r1", User: true}, b.now)
	if err != nil {
		t.Fatal(err)
	}
	b.do(Op{Request: "r1"}, func(tx *Tx) { tx.Put(service("s1", "web")) })
	_, value, err := b.log.Propose(context.Background(), second)
	out := value.(outcome)
	if err != nil || out.refused != nil || !out.repeated || out.record.Key != "s1" || out.record.Index != 1 {
		t.Errorf("%+v %v", out, err)
	}
	if b.View().Services.Len() != 1 || b.View().Service("s1").Version.Index != 1 {
		t.Error("it was done twice")
	}
}

func TestRequestMemoryIsBounded(t *testing.T) {
	b := newBench(t)
	for i := range RequestMemory + 10 {
		b.do(Op{Request: api.RequestID(fmt.Sprint(i))}, func(tx *Tx) { tx.Put(service(fmt.Sprint("s", i), fmt.Sprint(i))) })
	}
	v := b.View()
	if _, ok := v.Request("9"); ok || v.requests.byID.Len() != RequestMemory || v.requests.order.Len() != RequestMemory {
		t.Errorf("remembers %d", v.requests.byID.Len())
	}
	if r, ok := v.Request("10"); !ok || r.Index != 11 {
		t.Errorf("the oldest that is left: %+v %v", r, ok)
	}
}

func TestFirstWriteOfAUserTouchesTheFleet(t *testing.T) {
	b := newBench(t)
	b.put(cluster())
	b.put(service("s1", "made by the fleet"))
	if b.View().Cluster().Touched {
		t.Fatal("touched by what no user did")
	}
	b.do(Op{User: true}, func(tx *Tx) { tx.Put(service("s2", "web")) })
	c := b.View().Cluster()
	if !c.Touched || c.Version.Index != 3 {
		t.Errorf("cluster %+v", c)
	}
	b.do(Op{User: true}, func(tx *Tx) { tx.Put(service("s3", "shop")) })
	if b.View().Cluster() != c {
		t.Error("touched twice")
	}
	var last Event
	for e, err := range b.Watch(t.Context(), 2) {
		if err != nil {
			t.Fatal(err)
		}
		last = e
		break
	}
	if len(last.Changes) != 2 || last.Changes[1].Table != "cluster" || !last.Changes[1].New.(*api.Cluster).Touched {
		t.Errorf("watchers see %+v", last)
	}
}

func fold(tx *Tx) {
	c := *tx.Cluster()
	c.FoldedInto = "older"
	tx.Put(&c)
}

func TestAFoldedFleetTakesNoWriteOfAUser(t *testing.T) {
	b := newBench(t)
	b.put(cluster())
	b.do(Op{}, fold)
	_, err := b.try(Op{User: true, Request: "r"}, func(tx *Tx) { tx.Put(service("s1", "web")) })
	wantKind(t, err, api.Conflict, "given way to fleet older")
	if b.View().Services.Len() != 0 || b.View().Cluster().Touched {
		t.Error("it was written")
	}
	b.put(service("s2", "the fleet's own business goes on"))
	_, err = b.try(Op{}, func(tx *Tx) {
		c := *tx.Cluster()
		c.FoldedInto = ""
		tx.Put(&c)
	})
	wantKind(t, err, api.Conflict, "for good")
}

func TestATouchedFleetDoesNotFold(t *testing.T) {
	b := newBench(t)
	b.put(cluster())
	before := newTx(b.View()) // decides to fold before the user's write is applied
	fold(before)
	entry, err := before.encode(Op{}, b.now)
	if err != nil {
		t.Fatal(err)
	}
	b.do(Op{User: true}, func(tx *Tx) { tx.Put(service("s1", "web")) })
	_, value, err := b.log.Propose(context.Background(), entry)
	if err != nil || value.(outcome).refused == nil {
		t.Errorf("it folded over a user's write: %v %v", value, err)
	}
	_, err = b.try(Op{}, fold) // and with the newest cluster
	wantKind(t, err, api.Conflict, "has been written to and does not give way")
	_, err = b.try(Op{}, func(tx *Tx) {
		c := *tx.Cluster()
		c.Touched, c.FoldedInto = false, "older"
		tx.Put(&c)
	})
	wantKind(t, err, api.Conflict, "does not give way")
	if b.View().Cluster().FoldedInto != "" {
		t.Error("it folded")
	}
}

func TestConcurrentUpdatesArePipelined(t *testing.T) {
	b := newBench(t)
	const n = 8
	var all sync.WaitGroup
	var entered sync.WaitGroup
	entered.Add(n)
	for i := range n {
		all.Go(func() {
			_, err := b.writer.Update(context.Background(), Op{}, func(tx *Tx) error {
				entered.Done()
				entered.Wait() // all decide at the same time, or this hangs
				tx.Put(service(fmt.Sprint("s", i), fmt.Sprint("n", i)))
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if b.View().Services.Len() != n {
		t.Errorf("%d services", b.View().Services.Len())
	}
}

func TestMistakesOfACallerAreErrorsNotEntries(t *testing.T) {
	b := newBench(t)
	_, err := b.try(Op{}, func(tx *Tx) { tx.Put(service("", "nameless")) })
	wantKind(t, err, api.Internal, "without an ID")
	_, err = b.try(Op{}, func(tx *Tx) { tx.Put(stranger{}) })
	wantKind(t, err, api.Internal, "no table")
	if b.log.index != 0 {
		t.Errorf("%d entries", b.log.index)
	}
}

type stranger struct{}

func (stranger) Key() string     { return "x" }
func (stranger) Head() *api.Meta { return new(api.Meta) }

func TestEntriesOfANewerVersionStop(t *testing.T) {
	payload := func(v any) []byte { raw, _ := api.Encode(v); return raw }
	good := change{Puts: []putting{{"service", payload(service("s1", "web"))}}}
	newer := cluster()
	newer.Level = api.FeatureLevel + 1
	for what, entry := range map[string]any{
		"a later format":      envelope{Format: format + 1, MinReader: format + 1, Payload: []byte("?")},
		"with a new field":    map[string]any{"Format": format + 1, "MinReader": format + 1, "Shards": 3},
		"a table of the next": envelope{Format: format, MinReader: format, Payload: payload(change{Puts: []putting{{"robot", nil}}})},
		"a delete in it":      envelope{Format: format, MinReader: format, Payload: payload(change{Deletes: []target{{Table: "robot"}}})},
		"a feature level":     envelope{Format: format, MinReader: format, Payload: payload(change{Puts: []putting{{"cluster", payload(newer)}}})},
	} {
		b := newBench(t)
		raw, _ := api.Encode(entry)
		if _, err := b.Apply(1, raw); !errors.Is(err, ErrUnknownFormat) || b.View().Index != 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	b := newBench(t)
	raw, _ := api.Encode(envelope{Format: format, MinReader: format, Payload: payload(good)})
	if _, err := b.Apply(1, raw); err != nil {
		t.Errorf("a good one: %v", err)
	}
	for what, raw := range map[string][]byte{
		"nothing": nil, "garbage": []byte("garbage"), "cut": raw[:len(raw)/2],
		"no format":     payload(envelope{Payload: payload(good)}),
		"unknown field": payload(envelope{Format: 1, MinReader: 1, Payload: payload(map[string]any{"User": true, "Sudo": true})}),
	} {
		if _, err := b.Apply(2, raw); !errors.Is(err, ErrMalformed) || b.View().Index != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := b.Apply(1, raw); err == nil {
		t.Error("an index was applied twice")
	}
}

func TestIndexKeysDoNotOverlap(t *testing.T) {
	b := newBench(t)
	hostile := func(id, host string) *api.Node {
		return &api.Node{ID: api.NodeID(id), Description: api.NodeDescription{Hostname: host}}
	}
	b.put(hostile("n1", "pi"), hostile("n2", "pi\x00\x01n1"), hostile("n3", "pi\x00"), hostile("n4", ""))
	for name, want := range map[string]string{"pi": "n1", "pi\x00\x01n1": "n2", "pi\x00": "n3", "": "n4"} {
		var got []string
		for n := range b.View().NodesByName(name) {
			got = append(got, string(n.ID))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("nodes named %q: %v", name, got)
		}
	}
}

func TestMigrations(t *testing.T) {
	var seen []int
	step := func(from int) migration {
		return migration{from, func(table string, raw []byte) ([]byte, error) {
			seen = append(seen, from)
			return append(raw, byte(from)), nil
		}}
	}
	steps := []migration{step(1), step(2), step(3)}
	raw, err := migrate(steps, 2, "task", nil)
	if err != nil || !reflect.DeepEqual(seen, []int{2, 3}) || len(raw) != 2 {
		t.Errorf("from format 2: %v %v %v", seen, raw, err)
	}
	b := newBench(t)
	b.put(service("s1", "web"))
	_, err = read(strings.NewReader(string(b.snapshot())), []migration{{from: 1, step: func(string, []byte) ([]byte, error) { return nil, errors.New("no") }}})
	if err == nil || !strings.Contains(err.Error(), "migrate service from format 1") {
		t.Errorf("restore through a failing migration: %v", err)
	}
}

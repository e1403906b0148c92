package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestWatchResumesAndSaysOldAndNew(t *testing.T) {
	b := newBench(t)
	b.put(service("s1", "web"))
	b.do(Op{}, func(tx *Tx) { s := *tx.Service("s1"); s.SpecVersion = 2; tx.Put(&s) })
	_, _ = b.try(Op{}, func(tx *Tx) { tx.Put(service("s2", "web")) }) // refused: no event
	b.do(Op{}, func(tx *Tx) { tx.Delete(tx.Service("s1")) })
	var events []Event
	for e, err := range b.Watch(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if events = append(events, e); len(events) == 3 {
			break
		}
	}
	created, changed, deleted := events[0].Changes[0], events[1].Changes[0], events[2].Changes[0]
	if created.Old != nil || created.New.(*api.Service).SpecVersion != 0 || events[0].Index != 1 ||
		changed.Old != created.New || changed.New.(*api.Service).SpecVersion != 2 ||
		deleted.Old != changed.New || deleted.New != nil || events[2].Index != 4 {
		t.Errorf("%+v", events)
	}
	for e := range b.Watch(t.Context(), 2) {
		if e.Index != 4 {
			t.Errorf("resumed after 2 with %d", e.Index)
		}
		break
	}
}

func TestWatchFollowsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan uint64, 100)
		go func() {
			defer close(got)
			for e, err := range b.Watch(ctx, 0) {
				if err != nil {
					t.Error(err)
				}
				got <- e.Index
			}
		}()
		for i := range 5 {
			b.put(service(fmt.Sprint(i), fmt.Sprint(i)))
			synctest.Wait()
			if n := <-got; n != uint64(i+1) {
				t.Errorf("event %d", n)
			}
		}
		cancel()
		if _, ok := <-got; ok {
			t.Error("it goes on after its context")
		}
	})
}

func TestASlowWatcherIsToldAndHoldsNobodyUp(t *testing.T) {
	b := newBench(t)
	b.Store.history = newHistory(Config{History: 10, HistoryChanges: 50})
	for i := range 100 {
		b.put(service(fmt.Sprint(i), fmt.Sprint(i)))
	}
	if n := len(b.history.events); n != 10 {
		t.Errorf("keeps %d events", n)
	}
	for _, after := range []uint64{0, 89} {
		var last error
		for _, err := range b.Watch(t.Context(), after) {
			last = err
		}
		if !errors.Is(last, ErrCompacted) {
			t.Errorf("after %d: %v", after, last)
		}
	}
	for e, err := range b.Watch(t.Context(), 90) {
		if err != nil || e.Index != 91 {
			t.Errorf("after 90: %v %v", e.Index, err)
		}
		break
	}
	b.do(Op{}, func(tx *Tx) {
		for i := range 45 {
			tx.Put(service(fmt.Sprint("big", i), fmt.Sprint("big", i)))
		}
	})
	if b.history.changes > 50 || len(b.history.events) != 6 {
		t.Errorf("keeps %d changes in %d events", b.history.changes, len(b.history.events))
	}
	slow := 0
	for _, err := range b.Watch(t.Context(), 100) {
		if slow++; slow == 1 { // while it deals with the first, the world moves on
			for i := range 200 {
				b.put(service(fmt.Sprint("n", i), fmt.Sprint("n", i)))
			}
		} else if !errors.Is(err, ErrCompacted) {
			t.Errorf("a watcher that was left behind: %v", err)
		}
	}
	if slow != 2 {
		t.Errorf("%d yields", slow)
	}
}

func TestRestoreCompactsHistoryAndWakes(t *testing.T) {
	b, other := newBench(t), newBench(t)
	for i := range 5 {
		b.put(service(fmt.Sprint(i), fmt.Sprint(i)))
	}
	other.put(service("x", "x"))
	changed, cancel := other.Subscribe()
	defer cancel()
	if err := other.Restore(bytes.NewReader(b.snapshot())); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("subscribers were not woken")
	}
	for _, err := range other.Watch(t.Context(), 1) {
		if !errors.Is(err, ErrCompacted) {
			t.Errorf("watch from before the snapshot: %v", err)
		}
	}
}

func TestSubscribeCoalesces(t *testing.T) {
	b := newBench(t)
	changed, cancel := b.Subscribe()
	for i := range 5 {
		b.put(service(fmt.Sprint(i), fmt.Sprint(i)))
	}
	<-changed
	select {
	case <-changed:
		t.Error("a burst is more than one receipt")
	default:
	}
	_, _ = b.try(Op{}, func(tx *Tx) { tx.Put(service("1", "taken")) })
	cancel()
	b.put(service("9", "9"))
	select {
	case <-changed:
		t.Error("woken by what changed nothing, or after cancel")
	default:
	}
}

package store

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestChangesBetweenTwoIndexes(t *testing.T) {
	b := newBench(t)
	b.put(service("s1", "web")) // 1
	b.put(service("s2", "db"))  // 2
	_, _ = b.try(Op{}, func(tx *Tx) { tx.Put(service("s3", "web")) })
	b.do(Op{}, func(tx *Tx) { tx.Delete(tx.Service("s1")) }) // 4
	changes, err := b.Changes(1, 4)
	if err != nil || len(changes) != 2 || changes[0].New.Key() != "s2" || changes[1].Old.Key() != "s1" || changes[1].New != nil {
		t.Errorf("%+v, %v", changes, err)
	}
	if changes, err := b.Changes(0, 1); err != nil || len(changes) != 1 || changes[0].Old != nil {
		t.Errorf("the first: %+v, %v", changes, err)
	}
	if changes, err := b.Changes(4, 4); err != nil || len(changes) != 0 {
		t.Errorf("none: %+v, %v", changes, err)
	}
	if _, err := b.Changes(4, 5); !errors.Is(err, ErrCompacted) {
		t.Errorf("of what is to come: %v", err)
	}
}

func TestChangesThatAreForgotten(t *testing.T) {
	b := newBench(t)
	b.Store.history.cfg.History = 2
	for _, name := range []string{"a", "b", "c"} {
		b.put(service("s"+name, name))
	}
	if _, err := b.Changes(0, 3); !errors.Is(err, ErrCompacted) {
		t.Errorf("the oldest is gone, and Changes says %v", err)
	}
	if changes, err := b.Changes(1, 3); err != nil || len(changes) != 2 {
		t.Errorf("%+v, %v", changes, err)
	}
	other := newBench(t)
	if err := other.Restore(bytes.NewReader(b.snapshot())); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Changes(2, 3); !errors.Is(err, ErrCompacted) {
		t.Errorf("before a snapshot: %v", err)
	}
	if changes, err := other.Changes(3, 3); err != nil || len(changes) != 0 {
		t.Errorf("at the snapshot: %+v, %v", changes, err)
	}
}

// TestDiffIsWhatWithChanges: laid over the old view, the differences give the new.
func TestDiffIsWhatWithChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) (objects []api.Object) {
			for i := range 5 {
				if rapid.Bool().Draw(t, label) {
					objects = append(objects, task(i))
				}
			}
			return objects
		}
		v := NewView(draw("before")...)
		puts, deletes := draw("put"), draw("deleted")
		next := v.With(puts, deletes)
		for _, c := range v.Diff(puts, deletes) {
			key := c.Table
			if c.New == nil {
				continue
			}
			if got := next.Task(api.TaskID(c.New.Key())); got != c.New {
				t.Fatalf("%s: %v is not %v", key, got, c.New)
			}
			if old := v.Task(api.TaskID(c.New.Key())); (old == nil) != (c.Old == nil) || old != nil && c.Old != api.Object(old) {
				t.Fatalf("%v was %v and not %v", c.New.Key(), old, c.Old)
			}
		}
	})
}

package orchestrator_test

import (
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/orchestrator"
	"github.com/edgeswarm/edgeswarm/manager/scheduler"
	"github.com/edgeswarm/edgeswarm/store"
)

// kept is a leader that remembers its last plan, and looks only at what changed:
// it must decide what one that looks at everything does, and want to wait for
// the same.
type kept struct {
	fail    func(string)
	changes []store.Change
	sums    *scheduler.Sums // of the view before the changes; nil if nothing is known
	timers  map[orchestrator.TimerKey]orchestrator.Timer
	again   map[api.ServiceID]bool // that were planned by what is not stored
}

func (k *kept) note(changes []store.Change) {
	if k != nil {
		k.changes = append(k.changes, changes...)
	}
}

func (k *kept) forget() {
	if k != nil {
		k.sums = nil
	}
}

// compare plans the world's view anew, by what is remembered.
func (k *kept) compare(w *world, v *store.View, said []store.Change, want orchestrator.Result, placed scheduler.Result) {
	if k == nil {
		return
	}
	in := w.input()
	if k.sums == nil {
		k.sums, k.timers = scheduler.Sum(w.v), map[orchestrator.TimerKey]orchestrator.Timer{}
	} else {
		k.sums = k.sums.Update(w.v, k.changes)
		if in.Dirty = orchestrator.Dirty(v, append(k.changes, said...)); in.Dirty != nil {
			k.due(w, in.Dirty)
			maps.Copy(in.Dirty, k.again)
		}
	}
	k.changes, k.again = nil, map[api.ServiceID]bool{}
	for _, c := range said {
		k.again[c.New.(*api.Task).ServiceID] = true
	}
	got := orchestrator.Plan(v, in)
	if !reflect.DeepEqual(got.Puts, want.Puts) || !reflect.DeepEqual(got.Deletes, want.Deletes) {
		k.fail(fmt.Sprintf("with %v dirty %d puts and %d deletes are planned, %d and %d with all", in.Dirty, len(got.Puts), len(got.Deletes), len(want.Puts), len(want.Deletes)))
	}
	laid := v.With(got.Puts, got.Deletes)
	if there := k.sums.Update(laid, append(said, v.Diff(got.Puts, got.Deletes)...)).Place(laid); !reflect.DeepEqual(there, placed) {
		k.fail(fmt.Sprintf("by the sums kept tasks are placed as %v, by all as %v", there.Puts, placed.Puts))
	}
	for key := range k.timers {
		if in.Dirty == nil || in.Dirty[key.Service] {
			delete(k.timers, key)
		}
	}
	for _, timer := range got.Timers {
		k.timers[timer.Key] = timer
	}
	all := map[orchestrator.TimerKey]orchestrator.Timer{}
	for _, timer := range want.Timers {
		all[timer.Key] = timer
	}
	if !reflect.DeepEqual(all, k.timers) {
		k.fail(fmt.Sprintf("with %v dirty the stopwatches are %v, with all %v", in.Dirty, k.timers, all))
	}
}

// due adds the services whose stopwatches have run.
func (k *kept) due(w *world, dirty map[api.ServiceID]bool) {
	for key, timer := range k.timers {
		if began, ok := w.watches[key]; ok && !timer.Over && time.Duration(w.seconds-began)*time.Second >= timer.After {
			dirty[key.Service] = true
		}
	}
}

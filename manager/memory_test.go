package manager

import (
	"maps"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/orchestrator"
	"github.com/edgeswarm/edgeswarm/store"
)

// TestWhatWasNotStoredIsPlannedAgain: a pass forgets nothing that it decided and
// that did not come into the state.
func TestWhatWasNotStoredIsPlannedAgain(t *testing.T) {
	v := benchFleet(2, 3, 1)
	voters := map[api.NodeID]bool{"node0": true}
	known := memory{}.recall(v, nil, false).after(outcome{voters: voters}, true)
	web := map[api.ServiceID]bool{"service1": true}
	dirty := func(m memory, voters map[api.NodeID]bool, changes ...store.Change) map[api.ServiceID]bool {
		return m.recall(v, changes, true).dirty(v, changes, nil, voters)
	}
	if got := dirty(known, voters); got == nil || len(got) > 0 {
		t.Errorf("nothing changed, and %v is dirty", got)
	}
	if got := dirty(known, map[api.NodeID]bool{"node0": false}); got != nil {
		t.Errorf("the voters changed, and only %v is dirty", got)
	}
	if got := (memory{}).recall(v, nil, true).dirty(v, nil, nil, voters); got != nil {
		t.Errorf("nothing is known, and only %v is dirty", got)
	}
	for name, c := range map[string]struct {
		out    outcome
		stored bool
		want   map[api.ServiceID]bool
		all    bool
	}{
		"stored":                    {out: outcome{voters: voters, dirty: web}, stored: true},
		"refused":                   {out: outcome{voters: voters, dirty: web}, want: web},
		"refused, of all":           {out: outcome{voters: voters}, all: true},
		"in part":                   {out: outcome{voters: voters, dirty: web, limited: true}, stored: true, want: web},
		"in part, of all":           {out: outcome{voters: voters, limited: true}, stored: true, all: true},
		"by reports that wait":      {out: outcome{voters: voters, dirty: map[api.ServiceID]bool{}, reported: web, waits: true}, stored: true, want: web},
		"by reports, stored or not": {out: outcome{voters: voters, dirty: web, reported: web}, stored: true, want: web},
	} {
		got := dirty(known.after(c.out, c.stored), voters)
		if (got == nil) != c.all || !maps.Equal(got, c.want) {
			t.Errorf("%s: %v is dirty, want %v", name, got, c.want)
		}
	}
	task := v.Task("service2-0")
	if got := dirty(known, voters, store.Change{Table: "task", Old: task, New: task}); len(got) != 1 || !got["service2"] {
		t.Errorf("a task changed, and %v is dirty", got)
	}
}

// TestStopwatchesOfServicesThatAreNotPlannedRunOn.
func TestStopwatchesOfServicesThatAreNotPlannedRunOn(t *testing.T) {
	now := time.Unix(0, 0)
	s := newStopwatches()
	s.now = func() time.Time { return now }
	timer := func(service api.ServiceID, after time.Duration, over bool) orchestrator.Timer {
		return orchestrator.Timer{Key: orchestrator.TimerKey{Service: service, Wait: orchestrator.WaitDelay}, After: after, Over: over}
	}
	s.keep(nil, []orchestrator.Timer{timer("a", 10*time.Second, false), timer("b", 5*time.Second, false)})
	now = now.Add(4 * time.Second)
	s.keep(map[api.ServiceID]bool{"b": true}, []orchestrator.Timer{timer("b", 5*time.Second, false)})
	if left, any := s.next(); !any || left != time.Second {
		t.Errorf("next in %v", left)
	}
	now = now.Add(time.Second)
	due := map[api.ServiceID]bool{}
	if s.due(due); len(due) != 1 || !due["b"] {
		t.Errorf("due is %v", due)
	}
	s.keep(due, []orchestrator.Timer{timer("b", 5*time.Second, true)})
	if left, any := s.next(); !any || left != 5*time.Second {
		t.Errorf("with one that is over, next in %v", left)
	}
	s.keep(map[api.ServiceID]bool{"a": true}, nil)
	if _, any := s.next(); any || len(s.running) != 1 {
		t.Errorf("dropped, and %v run", s.running)
	}
	if elapsed, ok := s.elapsed(timer("b", 0, true).Key); !ok || elapsed != 5*time.Second {
		t.Errorf("elapsed %v", elapsed)
	}
}

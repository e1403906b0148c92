package forecast

import (
	"fmt"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/scheduler"
	"github.com/edgeswarm/edgeswarm/store"
)

// Moves is what rebalancing would do.
type Moves struct {
	api.ForecastServiceResponse
	// Uneven are the services of which a task would move.
	Uneven map[api.ServiceID]bool
}

// Rebalance tells which tasks of the services would move to where if they were
// rebalanced one after the other. The waves are those of the one that has most.
func Rebalance(v *store.View, services []*api.Service) Moves {
	plan := Moves{Uneven: map[api.ServiceID]bool{}}
	name := func(id api.NodeID) string { return (&forecast{v: v}).name(id) }
	for _, s := range services {
		config := s.Spec.UpdateConfig.OrDefault()
		moves := scheduler.Rebalance(v, s.ID, 0)
		var there []api.Object
		wave := 0
		for i, m := range moves {
			wave = 1
			if config.Parallelism > 0 {
				wave = 1 + i/int(config.Parallelism)
			}
			plan.Steps = append(plan.Steps, api.ForecastStep{
				Wave: wave, Task: fmt.Sprintf("%s.%d", m.Task.ServiceName, m.Task.Slot), Action: api.ForecastMove,
				From: name(m.From), To: name(m.To), Why: why(m, name),
			})
			next := *m.Task
			next.NodeID = m.To
			there = append(there, &next)
		}
		plan.Uneven[s.ID] = len(moves) > 0
		if plan.Waves == 0 || wave > plan.Waves {
			plan.Waves, plan.Config = wave, config
		}
		v = v.With(there, nil)
	}
	return plan
}

func why(m scheduler.Move, name func(api.NodeID) string) string {
	if m.Had-m.Has > 1 {
		return fmt.Sprintf("%s has %d of its tasks, %s has %d", name(m.From), m.Had, name(m.To), m.Has)
	}
	return fmt.Sprintf("it lies more evenly on %s", name(m.To))
}

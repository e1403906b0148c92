package api

import "context"

type (
	// RebalanceServicesRequest evens out over the nodes what runs already, by the
	// rule that new tasks are placed by. Tasks move as an update replaces them,
	// so many at a time as the service's UpdateConfig says. Either Service or All
	// is set.
	RebalanceServicesRequest struct {
		RequestID RequestID
		Service   string `json:",omitempty"`
		// All passes over services that can't be rebalanced now, and says so.
		All bool `json:",omitempty"`
	}
	// RebalanceServicesResponse has the services that have begun to move tasks,
	// in order of name; there are none if all lies as evenly as it may.
	RebalanceServicesResponse struct {
		Services []*Service
		Notes    []string
	}
)

// StartRebalance begins to even out the service's tasks; what an earlier update
// has left to say is forgotten.
func (s *Service) StartRebalance(status UpdateStatus) {
	s.Rollout = &Rollout{Target: s.SpecVersion, Rebalance: true, State: UpdateUpdating}
	s.UpdateStatus = &status
}

// Rebalancing reports whether the service's tasks are being evened out now.
func (s *Service) Rebalancing() bool {
	return s.Rollout != nil && s.Rollout.Rebalance && s.Rollout.State == UpdateUpdating && s.Rollout.Target == s.SpecVersion
}

// RebalanceServices calls ControlServer.RebalanceServices.
func (c *ControlClient) RebalanceServices(ctx context.Context, r *RebalanceServicesRequest) (*RebalanceServicesResponse, error) {
	return invoke[RebalanceServicesResponse](ctx, c.cc, control+"RebalanceServices", r)
}

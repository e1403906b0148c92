package api

import "context"

type (
	// ForecastServiceRequest asks what a change of a service would do. Nothing is
	// changed by asking. Either Create is set, or Service and Patch, or Rebalance
	// and Service, which is "" for all.
	ForecastServiceRequest struct {
		Create  *ServiceSpec  `json:",omitempty"`
		Service string        `json:",omitempty"`
		Patch   *ServicePatch `json:",omitempty"`
		// Rebalance asks what RebalanceServices would do.
		Rebalance bool `json:",omitempty"`
	}
	// ForecastServiceResponse is the plan, as the planners would make it if the
	// fleet stayed as it is now and every new task ran at once.
	ForecastServiceResponse struct {
		Steps []ForecastStep
		// Replaced counts the slots whose task would be made anew, in Waves as
		// Config says; Steps may have only the first of them.
		Replaced, Waves int
		Config          UpdateConfig
		Notes           []string
	}
	// ForecastStep is what would happen to one slot.
	ForecastStep struct {
		// Wave of the update that it is part of; 0 of none.
		Wave int
		// Task is the slot's name, such as "web.1".
		Task   string
		Action ForecastAction
		// From is the name of the node on which the slot's task is now, To that of
		// the one where it would be; "" if there is none.
		From, To string
		Why      string
	}
)

// ForecastAction is what would happen to a slot.
type ForecastAction string

// Forecast actions.
const (
	ForecastStart   ForecastAction = "start"
	ForecastReplace ForecastAction = "replace"
	ForecastMove    ForecastAction = "move"
	ForecastStop    ForecastAction = "stop"
	ForecastWait    ForecastAction = "wait" // no node can take it
)

// ForecastService calls ControlServer.ForecastService.
func (c *ControlClient) ForecastService(ctx context.Context, r *ForecastServiceRequest) (*ForecastServiceResponse, error) {
	return invoke[ForecastServiceResponse](ctx, c.cc, control+"ForecastService", r)
}

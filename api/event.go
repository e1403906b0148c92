package api

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// Event is one thing that became of one of the fleet's objects, in Docker's
// words where Docker has them. It is made of what a log entry changed: whoever
// leads tells the same events under the same index, in the same order.
type Event struct {
	// Index of the log entry, and the place among that entry's events, from 0.
	Index uint64
	Part  int `json:",omitempty"`
	// Time is the fleet's.
	Time   time.Time
	Type   EventType
	Action string
	Actor  EventActor
}

// EventType is the kind of thing that an event is about.
type EventType string

// Event types.
const (
	EventService EventType = "service"
	EventTask    EventType = "task" // not Docker's
	EventNode    EventType = "node"
	EventSecret  EventType = "secret"
	EventConfig  EventType = "config"
	EventImage   EventType = "image"
)

// Event actions. Of a task, the states that it reaches are actions too.
const (
	EventCreate = "create"
	EventUpdate = "update"
	EventRemove = "remove"
	// Of images.
	EventTag    = "tag"
	EventUntag  = "untag"
	EventDelete = "delete"
)

// EventActor is what an event is about. Attributes say more of it: its name,
// and of what changed KEY.old and KEY.new, as in Docker.
type EventActor struct {
	ID         string
	Attributes map[string]string `json:",omitempty"`
}

// After reports whether e comes behind another event.
func (e Event) After(other Event) bool {
	return e.Index > other.Index || e.Index == other.Index && e.Part > other.Part
}

type (
	// EventsRequest asks for events, oldest first.
	EventsRequest struct {
		// After is the index behind which they begin: that of the last event, or
		// page, that was dealt with. NotFound if events behind it are gone.
		After *uint64 `json:",omitempty"`
		// Since leaves out what was before that time. Without After, events begin
		// with the oldest that are kept; without both and with Follow, with the
		// next to come.
		Since time.Time `json:",omitzero"`
		// Follow goes on with what happens until the caller leaves.
		Follow bool `json:",omitempty"`
	}
	// EventsPage is some events. The first page comes at once, also without any.
	EventsPage struct {
		// Index up to which all events are told with this page: where to go on
		// after a break.
		Index  uint64
		Events []Event `json:",omitempty"`
		// Fleet whose events they are: an index means nothing in another.
		Fleet FleetID
		// Gone is set in the first page if events that Since asks for are not
		// kept any more: those up to that index.
		Gone uint64 `json:",omitempty"`
	}
)

// WatchEvents calls ControlServer.WatchEvents.
func (c *ControlClient) WatchEvents(ctx context.Context, r *EventsRequest) (grpc.ServerStreamingClient[EventsPage], error) {
	return openDownload[EventsRequest, EventsPage](ctx, c.cc, ControlDesc.Streams[1], control+"WatchEvents", r)
}

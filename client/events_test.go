package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

// at is an event of an entry.
func at(index uint64, part int) api.Event {
	return api.Event{Index: index, Part: part, Type: api.EventService, Action: api.EventUpdate}
}

// TestEventsGoOnBehindTheLast: whatever cuts a stream, and wherever, no event is
// told twice and none is left out.
func TestEventsGoOnBehindTheLast(t *testing.T) {
	var asked []uint64
	n := &node{events: func(call int, r *api.EventsRequest, stream grpc.ServerStreamingServer[api.EventsPage]) error {
		after := uint64(99)
		if r.After != nil {
			after = *r.After
		}
		asked = append(asked, after)
		switch call {
		case 1:
			return stream.Send(&api.EventsPage{Index: 10, Fleet: "f"}) // and a leader that ends its term
		case 2:
			_ = stream.Send(&api.EventsPage{Index: 10, Fleet: "f"})
			_ = stream.Send(&api.EventsPage{Index: 11, Fleet: "f", Events: []api.Event{at(11, 0)}})
			_ = stream.Send(&api.EventsPage{Index: 11, Fleet: "f", Events: []api.Event{at(12, 0), at(12, 1)}}) // the first part
			return api.Errorf(api.Unavailable, "", "the leader is gone")
		case 3:
			return api.Errorf(api.NotLeader, "", "another node leads")
		default:
			_ = stream.Send(&api.EventsPage{Index: 11, Fleet: "f"})
			_ = stream.Send(&api.EventsPage{Index: 12, Fleet: "f", Events: []api.Event{at(12, 0), at(12, 1), at(12, 2)}})
			return stream.Send(&api.EventsPage{Index: 13, Fleet: "f", Events: []api.Event{at(13, 0)}})
		}
	}}
	c, err := Dial(t.Context(), serve(t, n))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	enough := errors.New("enough")
	var seen []string
	err = c.Events(t.Context(), api.EventsRequest{Follow: true}, func(uint64) { t.Error("gone") }, func(error) {}, func(e api.Event) error {
		seen = append(seen, fmt.Sprint(e.Index, ".", e.Part))
		if e.Index == 13 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !slices.Equal(seen, []string{"11.0", "12.0", "12.1", "12.2", "13.0"}) || fmt.Sprint(asked) != "[99 10 11 11]" {
		t.Errorf("%v, seen %v, asked behind %v", err, seen, asked)
	}
}

func TestEventsEndForTheirReason(t *testing.T) {
	follow := func(page func(call int) *api.EventsPage, end error, r api.EventsRequest) (gone uint64, err error) {
		n := &node{events: func(call int, _ *api.EventsRequest, stream grpc.ServerStreamingServer[api.EventsPage]) error {
			if p := page(call); p != nil {
				_ = stream.Send(p)
			}
			return end
		}}
		c, err := Dial(t.Context(), serve(t, n))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return gone, c.Events(t.Context(), r, func(i uint64) { gone = i }, func(error) {}, func(api.Event) error { return nil })
	}
	same := func(int) *api.EventsPage { return &api.EventsPage{Fleet: "f", Gone: 7} }
	if gone, err := follow(same, nil, api.EventsRequest{}); err != nil || gone != 7 {
		t.Errorf("all there is: gone up to %d, %v", gone, err)
	}
	if _, err := follow(same, api.Errorf(api.NotFound, "events", "events behind index 3 are gone"), api.EventsRequest{Follow: true}); api.KindOf(err) != api.NotFound {
		t.Errorf("gone: %v", err)
	}
	other := func(call int) *api.EventsPage { return &api.EventsPage{Fleet: api.FleetID(fmt.Sprint("f", call))} }
	if _, err := follow(other, nil, api.EventsRequest{Follow: true}); api.KindOf(err) != api.Conflict {
		t.Errorf("another fleet: %v", err)
	}
	if _, err := follow(func(int) *api.EventsPage { return nil }, api.Errorf(api.Invalid, "events", "index 9 has not been reached"), api.EventsRequest{}); api.KindOf(err) != api.Invalid {
		t.Errorf("refused: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := &node{events: func(_ int, _ *api.EventsRequest, stream grpc.ServerStreamingServer[api.EventsPage]) error {
		_ = stream.Send(&api.EventsPage{Index: 1, Events: []api.Event{at(1, 0)}})
		<-stream.Context().Done()
		return nil
	}}
	c, err := Dial(t.Context(), serve(t, n))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Events(ctx, api.EventsRequest{Follow: true}, nil, nil, func(api.Event) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

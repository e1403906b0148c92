package control

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/event"
	"github.com/edgeswarm/edgeswarm/manager/term"
	"github.com/edgeswarm/edgeswarm/store"
)

// WatchEvents implements api.ControlServer.
func (s *Server) WatchEvents(r *api.EventsRequest, stream grpc.ServerStreamingServer[api.EventsPage]) error {
	ctx, leave, err := s.gate.Enter(stream.Context())
	if err != nil {
		return err
	}
	defer leave()
	// As for WatchService: a reader that does not read must not hold the term up.
	done := make(chan error, 1)
	go func() { done <- s.watchEvents(ctx, r, stream) }()
	select {
	case err := <-done:
		return term.Over(ctx, err)
	case <-ctx.Done():
		return term.Over(ctx, ctx.Err())
	}
}

// watchEvents tells events of the log's entries as the store kept them. The
// reader's slowness is its own: entries wait in the history that all share, and
// when it forgets some that this reader has yet to see, that is said.
func (s *Server) watchEvents(ctx context.Context, r *api.EventsRequest, stream grpc.ServerStreamingServer[api.EventsPage]) error {
	const op = "events"
	now := s.cfg.Store.View()
	fleet := api.FleetID("")
	if c := now.Cluster(); c != nil {
		fleet = c.ID
	}
	after, first, err := s.eventsFrom(op, r, now.Index)
	if err != nil {
		return err
	}
	first.Fleet = fleet
	if err := stream.Send(first); err != nil {
		return err
	}
	tell := func(e store.Event) error {
		return s.tell(e, fleet, r, stream)
	}
	// What is there already, and then what comes.
	for after < now.Index {
		batch, err := s.cfg.Store.Since(after)
		if err != nil {
			return s.eventsGone(op, after)
		}
		if len(batch) == 0 {
			break
		}
		for _, e := range batch {
			if err := tell(e); err != nil {
				return err
			}
			after = e.Index
		}
	}
	if !r.Follow {
		return nil
	}
	for e, err := range s.cfg.Store.Watch(ctx, after) {
		if errors.Is(err, store.ErrCompacted) {
			return s.eventsGone(op, after)
		}
		if err != nil {
			return err
		}
		if err := tell(e); err != nil {
			return err
		}
		after = e.Index
	}
	return ctx.Err()
}

// eventsFrom is the index behind which a request's events begin, and the first
// page.
func (s *Server) eventsFrom(op string, r *api.EventsRequest, now uint64) (after uint64, first *api.EventsPage, err error) {
	gone, at := s.cfg.Store.Gone()
	switch {
	case r.After != nil && *r.After > now:
		return 0, nil, api.Errorf(api.Invalid, op, "index %d has not been reached: the fleet is at %d; give the index of an event that you have seen", *r.After, now)
	case r.After != nil && *r.After < gone:
		return 0, nil, s.eventsGone(op, *r.After)
	case r.After != nil:
		return *r.After, &api.EventsPage{Index: *r.After}, nil
	case r.Since.IsZero() && r.Follow:
		return now, &api.EventsPage{Index: now}, nil
	}
	first = &api.EventsPage{Index: gone}
	if gone > 0 && !r.Since.IsZero() && !at.Before(r.Since) {
		first.Gone = gone
	}
	return gone, first, nil
}

// eventsGone is for a reader that would go on behind an index, where some of
// what follows it is not kept any more.
func (s *Server) eventsGone(op string, after uint64) error {
	gone, _ := s.cfg.Store.Gone()
	return api.Errorf(api.NotFound, op, "events behind index %d are gone: the fleet keeps the latest only, from index %d on; see how things stand with `edgectl service ls` and `edgectl node ls`, and go on with --since %d", after, gone+1, gone)
}

// tell sends an entry's events, in parts if they are many. Only with the last
// part is the entry dealt with.
func (s *Server) tell(e store.Event, fleet api.FleetID, r *api.EventsRequest, stream grpc.ServerStreamingServer[api.EventsPage]) error {
	if e.Time.Before(r.Since) {
		return nil
	}
	v := s.cfg.Store.View()
	events := event.Of(e, func(id api.NodeID) string {
		if node := v.Node(id); node != nil {
			return node.Name()
		}
		return ""
	})
	for {
		part, rest := api.Split(events)
		page := &api.EventsPage{Index: e.Index, Events: part, Fleet: fleet}
		if len(rest) > 0 {
			page.Index = e.Index - 1
		}
		if err := stream.Send(page); err != nil || len(rest) == 0 {
			return err
		}
		events = rest
	}
}

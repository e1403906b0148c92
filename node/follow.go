package node

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/edgeswarm/edgeswarm/api"
)

// follower opens a stream of lines for each task of a service, those that are
// made while it is followed too. It belongs to one goroutine at a time.
type follower struct {
	m     *membership
	req   *api.LogsRequest
	known map[api.TaskID]bool
	// growing is set while tasks may join: one that its board has not yet begun
	// with is left for later, since the board may not know it.
	growing bool
}

// sources opens the lines of those tasks that are placed and not yet known:
// this board's as one stream, each other task's as one of its own.
func (f *follower) sources(ctx context.Context, tasks []*api.Task) []iter.Seq2[api.LogLine, error] {
	var own []*api.Task
	var sources []iter.Seq2[api.LogLine, error]
	for _, t := range tasks {
		switch {
		case t.NodeID == "" || f.known[t.ID] || f.growing && t.Status.State.Before(api.TaskPreparing):
			continue
		case t.NodeID == f.m.self:
			own = append(own, t)
		default:
			sources = append(sources, f.m.linesFrom(ctx, t.NodeID, f.req, t))
		}
		f.known[t.ID] = true
	}
	if len(own) > 0 {
		sources = append(sources, f.m.ownLines(ctx, f.req, own))
	}
	return sources
}

// follow sends the streams of tasks as they are placed, until the service is
// gone or ctx ends; then it closes joining. Whose reader is slow waits to be
// let in. Without a leader it waits for the next: no lines are lost by that,
// since those of a task that joins late are kept on its board.
func (f *follower) follow(ctx context.Context, joining chan<- iter.Seq2[api.LogLine, error]) {
	defer close(joining)
	late := *f.req
	late.Tail = -1 // all that a new task has written is news
	f.req = &late
	for ctx.Err() == nil {
		gone, err := f.watch(ctx, joining)
		if gone || err != nil && api.KindOf(err) == api.NotFound {
			return
		}
		if !sleep(ctx, leaderPause) {
			return
		}
	}
}

// watch follows the service as one leader tells of it.
func (f *follower) watch(ctx context.Context, joining chan<- iter.Seq2[api.LogLine, error]) (gone bool, err error) {
	control, err := f.m.control(ctx)
	if err != nil {
		return false, err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := control.WatchService(watching, &api.GetServiceRequest{Service: f.req.Service})
	if err != nil {
		return false, err
	}
	for {
		progress, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		case progress.Service == nil && !progress.More:
			return true, nil
		}
		for _, source := range f.sources(ctx, progress.Tasks) {
			select {
			case joining <- source:
			case <-ctx.Done():
				return false, ctx.Err()
			}
		}
	}
}

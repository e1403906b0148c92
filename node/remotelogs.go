package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/logs"
)

// How soon a followed stream that broke is opened again; the pauses grow.
const (
	reopenFirst = 200 * time.Millisecond
	reopenLast  = 5 * time.Second
)

// linesFrom reads what another board keeps of a task. A followed stream that
// breaks is opened again behind the last line that came, for as long as the
// board is a member: a line is told once, and those written meanwhile are kept
// by their board.
func (m *membership) linesFrom(ctx context.Context, node api.NodeID, req *api.LogsRequest, task *api.Task) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		r := remoteLines{m: m, node: node, task: task, yield: yield}
		r.req = api.LogsRequest{Task: string(task.ID), Local: true, Follow: req.Follow, Tail: req.Tail, Since: req.Since}
		pause, told := reopenFirst, false
		for {
			came, err := r.once(ctx)
			switch {
			case err == nil || ctx.Err() != nil:
				return
			case api.KindOf(err) == api.NotFound: // it keeps no lines of that task any more
				return
			case !r.req.Follow || !m.knows(node):
				yield(api.LogLine{}, r.broken(err, ""))
				return
			case came:
				pause, told = reopenFirst, false
			case !told && pause > reopenLast/2: // most breaks are over sooner
				if told = true; !yield(api.LogLine{}, r.broken(err, "; they follow once they can")) {
					return
				}
			}
			if !sleep(ctx, pause) {
				return
			}
			pause = min(2*pause, reopenLast)
		}
	}
}

// remoteLines is what a reader keeps from one stream to the next.
type remoteLines struct {
	m     *membership
	node  api.NodeID
	task  *api.Task
	req   api.LogsRequest
	yield func(api.LogLine, error) bool
}

// once follows one stream to its end, and reports whether any line came. A nil
// error is the end of it all.
func (r *remoteLines) once(ctx context.Context) (came bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a stream that is left must not stay open
	client, err := r.m.boardOf(r.node)
	if err != nil {
		return false, err
	}
	stream, err := client.Logs(ctx, &r.req)
	if err != nil {
		return false, err
	}
	for {
		line, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return came, nil
		}
		if err != nil {
			return came, err
		}
		if line.Place != nil {
			came, r.req.From = true, line.Place
		}
		line.Place = nil // it means nothing to who asked for lines of several boards
		if !r.yield(*line, nil) {
			return came, nil
		}
	}
}

func (r *remoteLines) broken(err error, hope string) error {
	return fmt.Errorf("lines of %s.%d are on %s, which can't be read%s: %w", r.task.ServiceName, r.task.Slot, r.m.nameOf(r.node), hope, err)
}

// knows reports whether a node is a member, as far as this one has heard.
func (m *membership) knows(node api.NodeID) bool {
	return node == m.self || slices.Contains(m.neighbours(), node)
}

// keptPoll is how often a follower looks whether there is still anything to
// follow.
const keptPoll = 5 * time.Second

// whileKept bounds following to the time that this board has any of the tasks:
// who follows a service for days must not keep a stream for each task it had.
func (m *membership) whileKept(ctx context.Context, q logs.Query) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if !q.Follow {
		return ctx, cancel
	}
	go func() { // ends with the reading
		tick := time.NewTicker(keptPoll)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			has := func(id api.TaskID) bool {
				_, err := m.agent.Find(string(id))
				return err == nil
			}
			if !slices.ContainsFunc(q.Tasks, has) {
				cancel()
			}
		}
	}()
	return ctx, cancel
}

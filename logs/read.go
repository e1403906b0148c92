package logs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Query says which lines to read.
type Query struct {
	Tasks []api.TaskID
	// Tail is how many of each task's last lines to begin with; negative: all.
	Tail int
	// Since leaves out older lines; zero: none.
	Since time.Time
	// From is where to begin with the lines of a single task, instead of Tail:
	// the Place of a line that was read before. Where lines behind it were
	// deleted meanwhile, a line says so.
	From *api.LogPlace
	// Follow goes on with lines as they come, until the context ends. Without it
	// those that come meanwhile are left out, or a task that writes faster than
	// it is read would never let the reader go.
	Follow bool
}

// followPoll is how often a follower looks by itself, in case the log process
// is not there to tell it.
const followPoll = 2 * time.Second

// Read answers the lines of the tasks, in order of time as far as they are
// there. It reads the files by itself, as fast as the caller takes the lines:
// a slow caller holds up neither tasks nor the log process, but may find that
// lines were deleted meanwhile, and is told so by a line. An error is the last
// that is answered; with Follow there always is one, in the end the context's.
func (c *Client) Read(ctx context.Context, q Query) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		if err := c.read(ctx, q, func(l api.LogLine) bool { return yield(l, nil) }); err != nil && !errors.Is(err, errEnough) {
			yield(api.LogLine{}, fmt.Errorf("read logs: %w", err))
		}
	}
}

// errEnough: the caller wants no more lines.
var errEnough = errors.New("enough")

func (c *Client) read(ctx context.Context, q Query, yield func(api.LogLine) bool) error {
	if q.From != nil && len(q.Tasks) != 1 {
		return api.Errorf(api.Invalid, "", "a place is among the lines of one task, and %d were named", len(q.Tasks))
	}
	var news <-chan struct{}
	if q.Follow {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		news = c.news(ctx, q.Tasks) // before looking, or a change between would be missed
	}
	// What is pending is written first. With no process nothing is.
	_, _ = c.call(ctx, "read logs", request{Op: opFlush, Tasks: q.Tasks}, false)

	cursors := make([]*cursor, 0, len(q.Tasks))
	defer func() {
		for _, cur := range cursors {
			cur.close()
		}
	}()
	for _, task := range q.Tasks {
		if err := validTask(task); err != nil {
			return api.Errorf(api.Invalid, "", "%w", err)
		}
		cur := newCursor(c.cfg.Dir, task)
		cur.since = q.Since
		cursors = append(cursors, cur)
		begin := func() error { return cur.seekTail(q.Tail) }
		if q.From != nil {
			begin = func() error { return cur.resume(*q.From) }
		}
		if err := begin(); err != nil {
			return err
		}
		if q.Follow {
			cur.until = nil
		} else if err := cur.endHere(); err != nil {
			return err
		}
	}
	for {
		if err := passOn(ctx, cursors, yield); err != nil || !q.Follow {
			return err
		}
		poll := time.NewTimer(followPoll)
		select {
		case <-ctx.Done():
		case <-news:
		case <-poll.C:
		}
		poll.Stop()
	}
}

// passOn yields what the cursors have, oldest first, until none has more.
func passOn(ctx context.Context, cursors []*cursor, yield func(api.LogLine) bool) error {
	heads := make([]*api.LogLine, len(cursors))
	for {
		first := -1
		for i, cur := range cursors {
			if heads[i] == nil {
				line, ok, err := cur.next()
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
				heads[i] = &line
			}
			if first < 0 || heads[i].Time.Before(heads[first].Time) {
				first = i
			}
		}
		if err := ctx.Err(); err != nil || first < 0 {
			return err
		}
		line := *heads[first]
		heads[first] = nil
		if !yield(line) {
			return errEnough
		}
	}
}

// news is told when the tasks' files have changed. It survives the log
// process's going and coming.
func (c *Client) news(ctx context.Context, tasks []api.TaskID) <-chan struct{} {
	news, listening := make(chan struct{}, 1), make(chan struct{})
	go func() {
		first := sync.OnceFunc(func() { close(listening) })
		defer first()
		for ctx.Err() == nil {
			_ = c.listen(ctx, tasks, func() { first(); nudge(news) })
			first() // there is no process: the follower looks by itself
			select {
			case <-ctx.Done():
			case <-time.After(followPoll):
			}
		}
	}()
	<-listening
	return news
}

func (c *Client) listen(ctx context.Context, tasks []api.TaskID, changed func()) error {
	conn, err := c.connect(ctx, false)
	if err != nil {
		return err
	}
	defer closeWith(ctx, conn)()
	if err := writeFrame(conn, request{Op: opWatch, Tasks: tasks}); err != nil {
		return err
	}
	for {
		var r response
		if err := readFrame(conn, &r); err != nil {
			return err
		}
		changed()
	}
}

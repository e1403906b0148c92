package clustertest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/logs"
)

// output implements node.Logs: what a test has tasks write is kept in memory.
// The zero output holds nothing.
type output struct {
	mu    sync.Mutex
	lines map[api.TaskID][]api.LogLine
	more  chan struct{} // closed when there is more; nil until somebody waits
	reads int           // how many lines were handed out
}

// Write has a task of the board write a line.
func (b *Board) Write(task api.TaskID, text string) {
	o := &b.output
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lines == nil {
		o.lines = map[api.TaskID][]api.LogLine{}
	}
	place := &api.LogPlace{File: 1, At: int64(len(o.lines[task]) + 1)}
	o.lines[task] = append(o.lines[task], api.LogLine{Time: time.Now(), Stream: "stdout", Data: []byte(text), TaskID: task, Place: place})
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
}

// Read is how many lines of the board were read so far.
func (b *Board) Read() int {
	b.output.mu.Lock()
	defer b.output.mu.Unlock()
	return b.output.reads
}

func (*output) Open(context.Context, *api.Task, int) (string, string, error) { return "", "", nil }
func (*output) Close(context.Context, api.TaskID, int) error                 { return nil }

func (o *output) Remove(_ context.Context, task api.TaskID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.lines, task)
	return nil
}

func (*output) Retain(context.Context, []api.TaskID) error { return nil }

func (*output) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Read implements node.Logs.
func (o *output) Read(ctx context.Context, q logs.Query) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		at := map[api.TaskID]int{}
		o.mu.Lock()
		for _, task := range q.Tasks {
			switch n := len(o.lines[task]); {
			case q.From != nil:
				at[task] = int(q.From.At)
			case q.Tail >= 0:
				at[task] = max(0, n-q.Tail)
			}
		}
		o.mu.Unlock()
		for ctx.Err() == nil {
			line, more := o.next(q, at)
			if line != nil {
				if !yield(*line, nil) {
					return
				}
				continue
			}
			if !q.Follow {
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
			}
		}
		yield(api.LogLine{}, errors.Join(ctx.Err()))
	}
}

// next is the oldest line behind where each task is read to, or what tells of
// more.
func (o *output) next(q logs.Query, at map[api.TaskID]int) (*api.LogLine, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var first *api.LogLine
	for _, task := range q.Tasks {
		if lines := o.lines[task]; at[task] < len(lines) && (first == nil || lines[at[task]].Time.Before(first.Time)) {
			first = &lines[at[task]]
		}
	}
	if first != nil {
		at[first.TaskID]++
		o.reads++
		return first, nil
	}
	if o.more == nil {
		o.more = make(chan struct{})
	}
	return nil, o.more
}

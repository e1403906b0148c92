package logs

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Merge answers the lines of several streams in order of their time, as far
// as each stream is in order itself. It holds one line of each.
//
// With hold 0 it waits for every stream that has not ended, which is right for
// what is stored. A followed stream may be silent for long: then hold is how
// long its silence makes the others' lines wait.
//
// A stream's error is passed on when it comes and ends that stream alone.
func Merge(ctx context.Context, hold time.Duration, streams ...iter.Seq2[api.LogLine, error]) iter.Seq2[api.LogLine, error] {
	return MergeGrowing(ctx, hold, nil, streams...)
}

// MergeGrowing is Merge with more streams that come while it is read; it goes
// on until joining is closed. A nil joining is closed. It takes a stream in only
// while it waits for lines: a slow reader holds back whoever sends.
func MergeGrowing(ctx context.Context, hold time.Duration, joining <-chan iter.Seq2[api.LogLine, error], streams ...iter.Seq2[api.LogLine, error]) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		m := merge{news: make(chan head), hold: hold, joining: joining}
		for _, stream := range streams {
			m.join(ctx, stream)
		}
		m.run(ctx, yield)
	}
}

// head is the next of a stream, or its end.
type head struct {
	stream int
	line   api.LogLine
	err    error
	ended  bool
	taken  chan<- struct{}
}

// pump hands over a stream, the next line only when the last one is used.
func pump(ctx context.Context, i int, stream iter.Seq2[api.LogLine, error], to chan<- head) {
	send := func(h head) bool {
		select {
		case to <- h:
			return true
		case <-ctx.Done():
			return false
		}
	}
	taken := make(chan struct{})
	for line, err := range stream {
		if !send(head{stream: i, line: line, err: err, taken: taken}) {
			return
		}
		select {
		case <-taken:
		case <-ctx.Done():
			return
		}
	}
	send(head{stream: i, ended: true})
}

type merge struct {
	news    chan head
	joining <-chan iter.Seq2[api.LogLine, error] // nil once it is closed
	hold    time.Duration
	heads   []*head
	asked   []time.Time // when the stream was last waited for
	ended   []bool
}

func (m *merge) join(ctx context.Context, stream iter.Seq2[api.LogLine, error]) {
	i := len(m.heads)
	m.heads, m.asked, m.ended = append(m.heads, nil), append(m.asked, time.Now()), append(m.ended, false)
	go pump(ctx, i, stream, m.news)
}

func (m *merge) run(ctx context.Context, yield func(api.LogLine, error) bool) {
	for {
		first, wait := m.first(), m.patience()
		if first == nil && wait == 0 && !m.alive() {
			return
		}
		if first == nil || wait != 0 {
			if !m.await(ctx, first, wait) {
				return
			}
			continue
		}
		m.heads[first.stream] = nil
		if !yield(first.line, first.err) {
			return
		}
		m.asked[first.stream] = time.Now()
		select {
		case first.taken <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// patience is how long lines must wait for a stream of which there is none:
// 0 not at all, negative without bound. A stream that was silent for as long
// as a line is held is not waited for until it speaks again.
func (m *merge) patience() (wait time.Duration) {
	for i, h := range m.heads {
		if h != nil || m.ended[i] {
			continue
		}
		if m.hold == 0 {
			return -1
		}
		wait = max(wait, m.hold-time.Since(m.asked[i]))
	}
	return wait
}

func (m *merge) alive() bool { return m.joining != nil || slices.Contains(m.ended, false) }

// await takes in a head or a stream, or waits until the time is over. It answers false
// when ctx ends.
func (m *merge) await(ctx context.Context, first *head, wait time.Duration) bool {
	var over <-chan time.Time
	if first != nil && wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case stream, open := <-m.joining:
		if !open {
			m.joining = nil
			return true
		}
		m.join(ctx, stream)
		return true
	case h := <-m.news:
		if h.ended {
			m.ended[h.stream] = true
		} else {
			m.heads[h.stream] = &h
		}
		return true
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}

// first is the oldest head; an error goes before any line.
func (m *merge) first() *head {
	var first *head
	for _, h := range m.heads {
		switch {
		case h == nil:
		case h.err != nil:
			return h
		case first == nil || h.line.Time.Before(first.line.Time):
			first = h
		}
	}
	return first
}

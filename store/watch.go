package store

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// ErrCompacted: the history does not go back that far any more. Read a View
// and watch from its Index.
var ErrCompacted = errors.New("history compacted")

// Event is what one log entry changed.
type Event struct {
	Index   uint64
	Time    time.Time // the fleet's
	Changes []Change
}

// Change is what became of one object. Old is nil for one that was created,
// New for one that was deleted.
type Change struct {
	Table    string // "service", "node", …
	Old, New api.Object
}

// Watch yields what changed after the entry of that index, and goes on with
// what changes until ctx ends. It may be resumed with the index of the last
// event that was dealt with. ErrCompacted, as the last thing yielded, means
// that events between there and now are gone: because they are too old, because
// the caller is too slow, or because the state came as a snapshot. A caller
// never holds up the store.
func (s *Store) Watch(ctx context.Context, after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			events, more, err := s.history.since(after)
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range events {
				if ctx.Err() != nil || !yield(e, nil) {
					return
				}
				after = e.Index
			}
			if len(events) > 0 {
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Since answers the first events after an index that are there already, at most
// a batch; none if there are no more yet. ErrCompacted is as for Watch.
func (s *Store) Since(after uint64) ([]Event, error) {
	events, _, err := s.history.since(after)
	return events, err
}

// Gone answers up to which index events are gone, and the fleet's time at it:
// none is kept that is older.
func (s *Store) Gone() (index uint64, at time.Time) {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	return s.history.from, s.history.fromTime
}

// watchBatch bounds what one watcher holds on to at a time.
const watchBatch = 64

// history is the latest events.
type history struct {
	cfg Config

	mu      sync.Mutex
	events  []Event
	changes int
	from    uint64        // events up to this index are gone
	reached uint64        // all entries up to this index are dealt with
	more    chan struct{} // closed when there is more

	fromTime time.Time // the fleet's at from
}

func newHistory(cfg Config) *history { return &history{cfg: cfg, more: make(chan struct{})} }

func (h *history) add(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
	h.changes += len(e.Changes)
	for len(h.events) > 1 && (len(h.events) > h.cfg.History || h.changes > h.cfg.HistoryChanges) {
		h.from, h.fromTime = h.events[0].Index, h.events[0].Time
		h.changes -= len(h.events[0].Changes)
		h.events[0] = Event{} // let go of its objects now
		h.events = h.events[1:]
	}
	h.wake()
}

// restart forgets everything up to an index.
func (h *history) restart(index uint64, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events, h.changes, h.from, h.reached, h.fromTime = nil, 0, index, index, at
	h.wake()
}

func (h *history) wake() {
	close(h.more)
	h.more = make(chan struct{})
}

func (h *history) since(after uint64) ([]Event, <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if after < h.from {
		return nil, nil, ErrCompacted
	}
	first := sort.Search(len(h.events), func(i int) bool { return h.events[i].Index > after })
	return slices.Clone(h.events[first:min(first+watchBatch, len(h.events))]), h.more, nil
}

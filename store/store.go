package store

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Config bounds what a Store keeps beside the state. Zero values take the
// defaults named with them.
type Config struct {
	// History is how many of the latest entries Watch can go back (default
	// 1024), and HistoryChanges how many changes of objects these may hold
	// altogether (default 8192): what is older can be gone at any time.
	History, HistoryChanges int
}

// Store holds the state of one manager. It implements consensus.Machine.
// View, Watch and Subscribe may be called from any goroutine at any time.
type Store struct {
	view    atomic.Pointer[View]
	history *history

	mu          sync.Mutex
	subscribers map[chan struct{}]struct{}
}

// New returns an empty store.
func New(cfg Config) *Store {
	if cfg.History == 0 {
		cfg.History = 1024
	}
	if cfg.HistoryChanges == 0 {
		cfg.HistoryChanges = 8192
	}
	s := &Store{history: newHistory(cfg), subscribers: map[chan struct{}]struct{}{}}
	s.view.Store(emptyView())
	return s
}

// View returns the present state.
func (s *Store) View() *View { return s.view.Load() }

// Apply takes a committed log entry. Its value is for the Writer that proposed
// it. An error means that this build can't read the entry (ErrUnknownFormat,
// ErrMalformed), and nothing may be applied after it.
func (s *Store) Apply(index uint64, entry []byte) (any, error) {
	v := s.View()
	if index <= v.Index {
		return nil, fmt.Errorf("apply entry %d: the state is at %d already", index, v.Index)
	}
	next, changes, out, err := apply(v, index, entry)
	if err != nil {
		return nil, fmt.Errorf("apply entry %d: %w", index, err)
	}
	s.view.Store(next)
	if len(changes) > 0 {
		s.history.add(Event{Index: index, Time: next.Time, Changes: changes})
	}
	s.history.reach(index)
	if len(changes) > 0 {
		s.wake()
	}
	return out, nil
}

// Subscribe returns a channel that receives after the state has changed; a
// burst is one receipt. The caller cancels it when done.
func (s *Store) Subscribe() (changed <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers, ch)
	}
}

func (s *Store) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.subscribers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

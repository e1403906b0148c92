package store

import (
	"sort"

	"github.com/edgeswarm/edgeswarm/api"
)

// Changes lists what the entries after one index changed, up to and with
// another, the oldest first: the two views of these indexes differ in nothing
// else. ErrCompacted means that not all of that is remembered, or not yet.
func (s *Store) Changes(after, upTo uint64) ([]Change, error) {
	return s.history.between(after, upTo)
}

// Diff lists what With would change, as it would be after it.
func (v *View) Diff(puts []api.Object, deletes []api.Object) []Change {
	changes := make([]Change, 0, len(puts)+len(deletes))
	add := func(obj, next api.Object) {
		n := nounFor(obj)
		if n < 0 {
			return
		}
		c := Change{Table: nouns[n].name, New: next}
		if old, had := nouns[n].get(v, obj.Key()); had {
			c.Old = old
		}
		changes = append(changes, c)
	}
	for _, obj := range deletes {
		add(obj, nil)
	}
	for _, obj := range puts {
		add(obj, obj)
	}
	return changes
}

func (h *history) between(after, upTo uint64) ([]Change, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if after < h.from || upTo > h.reached {
		return nil, ErrCompacted
	}
	var changes []Change
	first := sort.Search(len(h.events), func(i int) bool { return h.events[i].Index > after })
	for _, e := range h.events[first:] {
		if e.Index > upTo {
			break
		}
		changes = append(changes, e.Changes...)
	}
	return changes, nil
}

// reach notes that the history has all up to an index.
func (h *history) reach(index uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reached = index
}

package manager

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/store"
)

// shelves are what boards hold.
type shelves struct {
	noImages
	mu     sync.Mutex
	held   map[api.ImageID][]api.NodeID
	full   []api.NodeID // take nothing
	asked  int
	copies int
}

func (s *shelves) Holds(_ context.Context, image *api.Image, node api.NodeID) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return slices.Contains(s.held[image.ID], node), nil
}

func (s *shelves) Replicate(_ context.Context, image *api.Image, holder, to api.NodeID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copies++
	if !slices.Contains(s.held[image.ID], holder) {
		return errors.New("the holder does not hold it")
	}
	if slices.Contains(s.full, to) {
		return errors.New("no space left on device")
	}
	s.held[image.ID] = append(s.held[image.ID], to)
	return nil
}

// counts are how many calls there were, and which boards hold an image.
func (s *shelves) counts(id api.ImageID) (asked, copies int, held []api.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.copies, slices.Sorted(slices.Values(s.held[id]))
}

// copying runs a test beside a copier of a fleet of boards that are up.
func copying(t *testing.T, s *shelves, boards []api.NodeID, test func(state *managertest.State)) {
	synctest.Test(t, func(t *testing.T) {
		var objects []api.Object
		for _, id := range boards {
			objects = append(objects, managertest.Node(id, string(id)))
		}
		objects = append(objects, &api.Image{ID: digestOne, Names: []string{"web:1"}})
		state := managertest.Found(t, time.Now, objects...)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		c := &copier{store: state.Store, images: s, logger: slog.New(slog.DiscardHandler)}
		go func() { ended <- c.run(ctx) }()
		synctest.Wait()
		test(state)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func state(t *testing.T, s *managertest.State, id api.NodeID, is api.NodeState) {
	t.Helper()
	s.Change(t, func(tx *store.Tx) {
		next := *tx.Node(id)
		next.Status.State = is
		tx.Put(&next)
	})
}

// An image that was taken in while there was one board has a second copy when
// another has come, and no third; then nothing happens any more.
func TestASecondCopyWhenAnotherBoardComes(t *testing.T) {
	s := &shelves{held: map[api.ImageID][]api.NodeID{digestOne: {"a"}}}
	copying(t, s, []api.NodeID{"a"}, func(fleet *managertest.State) {
		time.Sleep(time.Hour)
		if asked, copies, _ := s.counts(digestOne); asked+copies > 0 {
			t.Errorf("a lone board: asked %d times, %d copies", asked, copies)
		}
		fleet.Put(t, managertest.Node("b", "b"))
		time.Sleep(2 * time.Second)
		fleet.Put(t, managertest.Node("c", "c"))
		time.Sleep(2 * copySettle)
		asked, copies, held := s.counts(digestOne)
		if len(held) != 2 || copies != 1 {
			t.Errorf("%v hold it after %d copies", held, copies)
		}
		index := fleet.View().Index
		time.Sleep(24 * time.Hour)
		if again, more, _ := s.counts(digestOne); again != asked || more != copies || fleet.View().Index != index {
			t.Errorf("an idle fleet is asked %d times, copies %d times, and writes %d entries", again-asked, more-copies, fleet.View().Index-index)
		}
	})
}

// A board that reboots brings its copies back; one that stays away is replaced.
func TestACopyOfALostBoardIsReplaced(t *testing.T) {
	s := &shelves{held: map[api.ImageID][]api.NodeID{digestOne: {"a", "b"}}}
	copying(t, s, []api.NodeID{"a", "b", "c", "d"}, func(fleet *managertest.State) {
		time.Sleep(2 * copySettle)
		for range 5 {
			state(t, fleet, "b", api.NodeDown)
			time.Sleep(copySettle - time.Second)
			state(t, fleet, "b", api.NodeReady)
			time.Sleep(time.Hour)
		}
		if _, copies, _ := s.counts(digestOne); copies > 0 {
			t.Errorf("%d copies for a board that reboots", copies)
		}
		state(t, fleet, "b", api.NodeDown)
		time.Sleep(2 * copySettle)
		if _, copies, held := s.counts(digestOne); copies != 1 || len(held) != 3 {
			t.Errorf("%d copies: %v hold it", copies, held)
		}
		state(t, fleet, "b", api.NodeReady)
		time.Sleep(time.Hour)
		if _, copies, held := s.counts(digestOne); copies != 1 || len(held) != 3 {
			t.Errorf("back: %d copies, %v hold it", copies, held)
		}
	})
}

// A board that can't take a copy is passed over, and where none can it is tried
// again at a pace, until one can.
func TestAFullBoardTakesNoCopy(t *testing.T) {
	s := &shelves{held: map[api.ImageID][]api.NodeID{digestOne: {"a"}}, full: []api.NodeID{"b", "c"}}
	copying(t, s, []api.NodeID{"a", "b", "c"}, func(fleet *managertest.State) {
		time.Sleep(24 * time.Hour)
		_, copies, _ := s.counts(digestOne)
		if copies < 2 || copies > 2*32 {
			t.Errorf("%d tries in a day", copies)
		}
		s.mu.Lock()
		s.full = []api.NodeID{"b"}
		s.mu.Unlock()
		time.Sleep(copyRetryMost + copySettle)
		if _, _, held := s.counts(digestOne); !slices.Equal(held, []api.NodeID{"a", "c"}) {
			t.Errorf("%v hold it", held)
		}
	})
}

// An image that nobody who is up holds is not looked for without end.
func TestAnImageThatNobodyHolds(t *testing.T) {
	s := &shelves{held: map[api.ImageID][]api.NodeID{}}
	copying(t, s, []api.NodeID{"a", "b"}, func(fleet *managertest.State) {
		time.Sleep(24 * time.Hour)
		if asked, copies, _ := s.counts(digestOne); asked > 2*32 || copies > 0 {
			t.Errorf("asked %d times, %d copies", asked, copies)
		}
		s.mu.Lock()
		s.held[digestOne] = []api.NodeID{"c"}
		s.mu.Unlock()
		fleet.Put(t, managertest.Node("c", "c")) // it comes back
		time.Sleep(2 * copySettle)
		if _, _, held := s.counts(digestOne); len(held) != 2 {
			t.Errorf("%v hold it", held)
		}
	})
}

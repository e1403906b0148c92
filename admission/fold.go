package admission

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

// verdict on another fleet of our key.
type verdict string

const (
	stay  verdict = "stay"  // ours goes first, or the other is not able to take us yet
	fold  verdict = "fold"  // ours gives way
	rival verdict = "rival" // users have written to both: the operator decides
)

// judge decides what our fleet does about another of the same key, as a member
// of it says that it stands.
//
// Two fleets never give way to each other. A fleet gives way only while no
// user has written to it, and its store holds to that: the entry that folds it
// is refused after a user's write, and a user's write after that entry. So of
// two, the later of compareFleets is the only one that can fold while neither
// is touched; and once the other one sees it touched, it can't any more. The
// same holds around any circle of fleets.
func judge(ours, theirs Status) verdict {
	switch {
	case ours.FoldedInto != "" || theirs.FoldedInto != "" || ours.Fleet == theirs.Fleet || !theirs.Member:
		return stay
	case ours.Touched && theirs.Touched:
		return rival
	case compareFleets(theirs, ours) < 0 && !ours.Touched && theirs.Ready:
		return fold
	default:
		return stay
	}
}

// FolderConfig is what a Folder is made with.
type FolderConfig struct {
	Client *Client
	Finder discovery.Finder
	// Standing is our fleet's.
	Standing func() Standing
	// Fold makes our fleet give way: it commits Cluster.FoldedInto, unless a
	// user has written to the fleet meanwhile, which is Conflict.
	Fold func(ctx context.Context, into api.FleetID) error
	// Rivals is told the other fleets of our key that can't be folded, when
	// they change.
	Rivals func([]api.FleetID)
	Log    *slog.Logger
}

// Folder runs on a fleet's leader. It looks for other fleets of the same key,
// and makes ours give way where that is right.
type Folder struct {
	FolderConfig
	others map[api.FleetID]*foreign
	told   []api.FleetID
}

// foreign is another fleet of our key.
type foreign struct {
	due     time.Time
	wait    time.Duration
	rival   bool
	heard   time.Time
	manager bool // a manager of it was among those announced
}

const (
	firstLook   = 2 * time.Second
	longestLook = 2 * time.Minute
	maxForeign  = 64
	forgetRival = 10 * time.Minute
)

// NewFolder returns a Folder.
func NewFolder(c FolderConfig) *Folder {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Rivals == nil {
		c.Rivals = func([]api.FleetID) {}
	}
	return &Folder{FolderConfig: c, others: make(map[api.FleetID]*foreign)}
}

// Run looks until ctx ends or our fleet has given way; then it answers nil.
func (f *Folder) Run(ctx context.Context) error {
	tick := time.NewTicker(firstLook)
	defer tick.Stop()
	for {
		if f.Standing().FoldedInto != "" || f.look(ctx) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.Finder.Changed():
		case <-tick.C:
		}
	}
}

// look greets the other fleets whose turn it is, and reports whether ours has
// given way to one.
func (f *Folder) look(ctx context.Context) bool {
	now, ours := time.Now(), f.Standing()
	groups := make(map[api.FleetID][]discovery.Sighting)
	for _, s := range f.Finder.Sightings() {
		if s.KeyTag == f.Client.Key.Tag() && s.KeyTag != "" && s.Fleet != "" && s.Fleet != ours.Fleet {
			groups[s.Fleet] = append(groups[s.Fleet], s)
		}
	}
	folded := false
	for id, boards := range groups {
		other := f.others[id]
		if other == nil {
			if len(f.others) >= maxForeign {
				continue
			}
			other = &foreign{wait: firstLook}
			f.others[id] = other
		}
		manager := slices.ContainsFunc(boards, func(s discovery.Sighting) bool { return s.Manager })
		if now.Before(other.due) && manager == other.manager {
			continue
		}
		other.manager = manager
		if folded = f.meet(ctx, other, boards); folded {
			break
		}
		other.wait = min(2*other.wait, longestLook)
		other.due = time.Now().Add(other.wait)
	}
	for id, o := range f.others {
		if groups[id] == nil && now.Sub(o.heard) > forgetRival {
			delete(f.others, id)
		}
	}
	f.tell()
	return folded
}

// meet asks a fleet's boards, managers first, how it stands, until one can
// answer for it.
func (f *Folder) meet(ctx context.Context, other *foreign, boards []discovery.Sighting) bool {
	slices.SortStableFunc(boards, func(a, b discovery.Sighting) int { return bit(b.Manager) - bit(a.Manager) })
	for _, b := range boards[:min(len(boards), maxManagers)] {
		theirs, err := f.Client.Greet(ctx, b.Addrs, false)
		if err != nil || theirs.Fleet != b.Fleet {
			continue
		}
		other.heard = time.Now()
		ours := *f.Standing().status(f.Client.Identity.Node())
		v := judge(ours, theirs)
		other.rival = v == rival
		switch v {
		case rival:
			return false
		case fold:
			err := f.Fold(ctx, theirs.Fleet)
			if err == nil {
				f.Log.Info("this fleet gives way to an older one", "fleet", ours.Fleet, "into", theirs.Fleet)
				return true
			}
			f.Log.Warn("this fleet could not give way", "into", theirs.Fleet, "err", err)
			return false
		}
		if theirs.Ready {
			return false // nobody of it knows better
		}
		if theirs.FoldedInto == "" && compareFleets(theirs, ours) < 0 {
			other.wait = firstLook // it goes first, and may be ready any moment
		}
	}
	return false
}

// tell reports the rivals, if they changed.
func (f *Folder) tell() {
	var rivals []api.FleetID
	for id, o := range f.others {
		if o.rival {
			rivals = append(rivals, id)
		}
	}
	slices.Sort(rivals)
	if !slices.Equal(rivals, f.told) {
		f.told = rivals
		f.Rivals(slices.Clone(rivals))
	}
}

// Whereabouts asks boards of our key whether our fleet has given way while
// this member could not reach it: it answers into which, or "" if none of them
// knows. A member that has lost its managers asks now and then.
func (c *Client) Whereabouts(ctx context.Context, ours api.FleetID, boards []discovery.Sighting, managers []api.ManagerAddr) (api.FleetID, error) {
	var targets [][]netip.AddrPort
	for _, m := range managers {
		targets = append(targets, m.Addrs)
	}
	for _, b := range boards {
		if b.Fleet != "" && b.Fleet != ours && b.KeyTag == c.Key.Tag() {
			targets = append(targets, b.Addrs)
		}
	}
	var last error
	for _, addrs := range targets[:min(len(targets), 2*maxManagers)] {
		status, err := c.Greet(ctx, addrs, false)
		switch {
		case err != nil:
			last = err
		case status.Fleet == ours && status.FoldedInto != "":
			return status.FoldedInto, nil
		case status.Fleet != "" && slices.Contains(status.Folded, ours):
			return status.Fleet, nil
		case status.Fleet == ours && status.Ready:
			return "", nil
		}
	}
	if last != nil {
		return "", fmt.Errorf("ask for fleet %s: %w", api.ShortID(ours), last)
	}
	return "", nil
}

package clustertest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

// inBubble runs a test on boards that are off.
func inBubble(t *testing.T, boards int, seed uint64, test func(t *testing.T, f *clustertest.Fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, clustertest.New(t, clustertest.Options{Boards: boards, Seed: seed}))
	})
}

// formed runs a test on a fleet that has formed.
func formed(t *testing.T, boards int, seed uint64, test func(t *testing.T, f *clustertest.Fleet)) {
	t.Helper()
	inBubble(t, boards, seed, func(t *testing.T, f *clustertest.Fleet) {
		f.StartAll()
		f.AwaitFormed(30 * time.Second)
		test(t, f)
	})
}

// Boards that are switched on within seconds, on a LAN that loses up to a third
// of all packets, are one fleet soon after; and as many of them vote as should.
func TestColdStart(t *testing.T) {
	for seed := range uint64(28) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, 1+int(seed%7), seed, func(t *testing.T, f *clustertest.Fleet) {
				f.Faults(f.Rand.Float64()*0.3, time.Millisecond, time.Duration(f.Rand.Int64N(int64(20*time.Millisecond))))
				for _, b := range f.Boards {
					if f.Rand.IntN(4) == 0 {
						b.SetWall(time.Unix(0, 0))
					}
					f.Pass(time.Duration(f.Rand.Int64N(int64(3 * time.Second))))
					b.Start()
				}
				f.AwaitFormed(3 * time.Minute)
			})
		})
	}
}

// On a quiet LAN three boards are a fleet with three voters within seconds.
func TestThreeBoardsFormAFleetAtOnce(t *testing.T) {
	inBubble(t, 3, 1, func(t *testing.T, f *clustertest.Fleet) {
		f.StartAll()
		if took := f.AwaitFormed(20 * time.Second); took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A board that comes a day late joins the fleet that there is; and one that was
// a member waits for its fleet however long it sleeps.
func TestLateBoards(t *testing.T) {
	inBubble(t, 4, 2, func(t *testing.T, f *clustertest.Fleet) {
		for _, b := range f.Boards[:3] {
			b.Start()
		}
		f.AwaitFormed(20 * time.Second)
		fleet := f.Boards[0].Status().FleetID
		f.Pass(time.Hour)
		f.Boards[3].Start()
		f.AwaitFormed(20 * time.Second)
		for _, b := range f.Boards {
			b.Cut()
		}
		f.Pass(time.Hour)
		for _, b := range f.Boards[1:] {
			b.Start()
			f.Pass(20 * time.Second)
		}
		f.Boards[0].Start()
		f.AwaitFormed(30 * time.Second)
		if now := f.Boards[0].Status().FleetID; now != fleet {
			t.Errorf("the fleet was %s and is %s", fleet, now)
		}
	})
}

// A fresh card that wakes before a sleeping fleet ends up in that fleet, if a
// board of it is there to say that there is one.
func TestAFreshCardJoinsASleepingFleet(t *testing.T) {
	inBubble(t, 4, 3, func(t *testing.T, f *clustertest.Fleet) {
		for _, b := range f.Boards[:3] {
			b.Start()
		}
		f.AwaitFormed(20 * time.Second)
		fleet := f.Boards[0].Status().FleetID
		for _, b := range f.Boards[:3] {
			b.Cut()
		}
		f.Boards[3].Start()
		f.Boards[2].Start()
		f.Pass(time.Minute)
		f.Boards[0].Start()
		f.Boards[1].Start()
		f.AwaitFormed(time.Minute)
		if now := f.Boards[3].Status().FleetID; now != fleet {
			t.Errorf("the fresh board is in %s, the fleet is %s", now, fleet)
		}
	})
}

// A LAN that is split at the start founds two fleets. As long as nobody wrote
// to one of them, there is one after it heals.
func TestSplitStart(t *testing.T) {
	for _, c := range []struct {
		name  string
		sides [2]int
		write [2]bool
	}{
		{"nobody wrote", [2]int{3, 2}, [2]bool{}},
		{"single boards", [2]int{1, 1}, [2]bool{}},
		{"the older was written to", [2]int{2, 3}, [2]bool{true, false}},
		{"the younger was written to", [2]int{2, 3}, [2]bool{false, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, c.sides[0]+c.sides[1], 4, func(t *testing.T, f *clustertest.Fleet) {
				a, b := split(t, f, c.sides)
				var keep api.FleetID
				for i, side := range [][]*clustertest.Board{a, b} {
					if c.write[i] {
						create(t, side[0], "web", 2)
						keep = side[0].Status().FleetID
					}
				}
				f.Heal()
				f.AwaitFormed(5 * time.Minute)
				if now := a[0].Status().FleetID; keep != "" && now != keep {
					t.Errorf("the fleet with a service was given up")
				}
			})
		})
	}
}

// If users wrote to both, neither gives way and both say so.
func TestRivals(t *testing.T) {
	inBubble(t, 4, 5, func(t *testing.T, f *clustertest.Fleet) {
		a, b := split(t, f, [2]int{2, 2})
		create(t, a[0], "left", 1)
		create(t, b[0], "right", 1)
		f.Heal()
		f.Within(3*time.Minute, "called rivals", func() error {
			for _, side := range [][]*clustertest.Board{a, b} {
				leader := f.Leader(side...)
				if leader == nil {
					return fmt.Errorf("a fleet has no leader")
				}
				if s := leader.Status(); len(s.Rivals) != 1 {
					return fmt.Errorf("%s knows rivals %q", leader.Name, s.Rivals)
				}
			}
			return nil
		})
		if a[0].Status().FleetID == b[0].Status().FleetID {
			t.Error("one of the two gave way")
		}
	})
}

// split starts two groups of boards that can't hear each other, one a while
// after the other, and waits for both to form.
func split(t *testing.T, f *clustertest.Fleet, sides [2]int) (a, b []*clustertest.Board) {
	t.Helper()
	a, b = f.Boards[:sides[0]], f.Boards[sides[0]:]
	f.Partition(a, b)
	for _, side := range [][]*clustertest.Board{a, b} {
		for _, board := range side {
			board.Start()
		}
		f.Within(time.Minute, "formed", f.Formed(clustertest.Voters(len(side)), side...))
	}
	if a[0].Status().FleetID == b[0].Status().FleetID {
		t.Fatal("the split did not hold")
	}
	return a, b
}

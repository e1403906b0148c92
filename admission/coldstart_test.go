package admission

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
	"github.com/edgeswarm/edgeswarm/identity"
)

// TestColdStarts powers on boards that hold the same key and nothing else, at
// random times, some much later, with up to 30 % loss: always one fleet.
func TestColdStarts(t *testing.T) {
	var formed []time.Duration
	folded := 0
	for seed := range uint64(coldStarts) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took, fleets := coldStart(t, seed)
				formed = append(formed, took)
				if fleets > 1 {
					folded++
				}
			})
		})
	}
	if len(formed) == coldStarts {
		slices.Sort(formed)
		t.Logf("after the last board's power-on: median %v, worst %v; %d of %d starts had to fold a second fleet",
			formed[coldStarts/2], formed[coldStarts-1], folded, coldStarts)
	}
}

func coldStart(t *testing.T, seed uint64) (took time.Duration, fleets int) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorld(t, seed)
	w.faults(w.rng.Float64()*0.3, time.Millisecond, time.Duration(w.rng.IntN(30))*time.Millisecond)
	all := make([]*board, 3+w.rng.IntN(5))
	var last time.Duration
	for i := range all {
		all[i] = w.board()
		delay := time.Duration(w.rng.IntN(3000)) * time.Millisecond
		if w.rng.IntN(4) == 0 {
			delay += time.Duration(5+w.rng.IntN(30)) * time.Second
		}
		last = max(last, delay)
		time.AfterFunc(delay, func() { all[i].power(ctx) })
	}
	time.Sleep(last + time.Millisecond)
	synctest.Wait()
	defer stopAll(cancel, all)
	took = until(t, 3*time.Minute, "one fleet", func() bool { return together(all) })
	// And so it stays.
	fleet := fleetOf(all[0])
	time.Sleep(time.Minute)
	if !together(all) || fleetOf(all[0]) != fleet {
		t.Fatal("the fleet did not last")
	}
	return took, w.foundings()
}

func stopAll(cancel context.CancelFunc, all []*board) {
	cancel()
	for _, b := range all {
		if b.stop != nil {
			b.stop()
		}
	}
}

// powerAll turns boards on together and takes them down with the test.
func powerAll(t *testing.T, all ...*board) {
	ctx, cancel := context.WithCancel(t.Context())
	for _, b := range all {
		b.power(ctx)
	}
	t.Cleanup(func() { stopAll(cancel, all) })
}

// TestPowerOnOfThree holds to the time that a formed fleet may take, on a LAN
// without faults.
func TestPowerOnOfThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		all := []*board{w.board(), w.board(), w.board()}
		powerAll(t, all...)
		if took := until(t, 3*time.Second, "one fleet", func() bool { return together(all) }); w.foundings() != 1 {
			t.Errorf("%d fleets were founded in %v", w.foundings(), took)
		}
	})
}

// TestSplitAtTheStart founds two fleets apart, which nothing can prevent.
func TestSplitAtTheStart(t *testing.T) {
	for _, test := range []struct {
		name   string
		writes [2]bool
		one    bool
	}{
		{"nobody wrote", [2]bool{}, true},
		{"one was written to", [2]bool{false, true}, true},
		{"both were written to", [2]bool{true, true}, false},
	} {
		for seed := range uint64(10) {
			t.Run(fmt.Sprint(test.name, " ", seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, seed)
					w.faults(w.rng.Float64()*0.2, time.Millisecond, 10*time.Millisecond)
					left, right := []*board{w.board(), w.board()}, []*board{w.board(), w.board(), w.board()}
					w.partition(left, right)
					all := append(slices.Clone(left), right...)
					powerAll(t, all...)
					until(t, time.Minute, "a fleet on each side", func() bool { return together(left) && together(right) })
					if fleetOf(left[0]) == fleetOf(right[0]) {
						t.Fatal("a fleet across a split")
					}
					var written *authority
					for i, side := range [][]*board{left, right} {
						if test.writes[i] {
							written = side[0].authority()
							if err := written.write(); err != nil {
								t.Fatal(err)
							}
						}
					}
					w.heal()
					if test.one {
						until(t, 5*time.Minute, "one fleet after healing", func() bool { return together(all) })
						if written != nil && all[0].authority() != written {
							t.Error("the fleet that a user had written to gave way")
						}
						return
					}
					leaders := []*board{left[0].authority().leader, right[0].authority().leader}
					until(t, 5*time.Minute, "both say so", func() bool {
						return len(leaders[0].rivalsNow()) == 1 && len(leaders[1].rivalsNow()) == 1
					})
					if leaders[0].rivalsNow()[0] != fleetOf(right[0]) || !together(left) || !together(right) {
						t.Error("two fleets that users had written to did not stay apart")
					}
				})
			})
		}
	}
}

func (b *board) rivalsNow() []api.FleetID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rivals
}

// TestFreshCardBeforeASleepingFleet: the fresh one ends in the old fleet,
// whether it has founded one meanwhile or not.
func TestFreshCardBeforeASleepingFleet(t *testing.T) {
	for _, head := range []time.Duration{0, 500 * time.Millisecond, 3 * time.Second, time.Minute} {
		t.Run(head.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 3)
				old := []*board{w.board(), w.board(), w.board()}
				ctx, cancel := context.WithCancel(t.Context())
				for _, b := range old {
					b.power(ctx)
				}
				until(t, time.Minute, "a fleet", func() bool { return together(old) })
				fleet := fleetOf(old[0])
				stopAll(cancel, old)
				time.Sleep(time.Hour)

				fresh := w.board()
				fresh.clock = -50 * 365 * 24 * time.Hour // no clock battery
				powerAll(t, fresh)
				time.Sleep(head)
				powerAll(t, old...)
				all := append(slices.Clone(old), fresh)
				until(t, 5*time.Minute, "the fresh board in the old fleet", func() bool { return together(all) })
				if fleetOf(fresh) != fleet {
					t.Errorf("the fleet is %s and was %s", fleetOf(fresh), fleet)
				}
			})
		})
	}
}

// TestVeteransNeverFound: boards that were members wait, and say for what; a
// fresh board waits with them.
func TestVeteransNeverFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4)
		veterans := []*board{w.board(), w.board()}
		for _, b := range veterans {
			if err := b.memory.Joined(api.NewID[api.FleetID](), nil); err != nil {
				t.Fatal(err)
			}
		}
		fresh := w.board()
		powerAll(t, veterans[0], veterans[1], fresh)
		time.Sleep(10 * time.Minute)
		if w.foundings() != 0 {
			t.Fatal("somebody founded a fleet beside veterans")
		}
		for _, b := range []*board{veterans[0], fresh} {
			if line := b.lastTold(); line == "" || len(line) > 300 {
				t.Errorf("board %d says %q", b.name, line)
			}
		}
		// Two fresh ones would: the veterans go, and the fresh one is free.
		for _, b := range veterans {
			b.stop()
		}
		until(t, 10*time.Minute, "the fresh board founds alone", func() bool { return fleetOf(fresh) != "" })
	})
}

// TestOtherKeysStayOut: boards of another key found their own fleet and never
// enter this one, and one that is pointed at it says what is wrong.
func TestOtherKeysStayOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		ours, theirs := []*board{w.board(), w.board()}, []*board{w.board(), w.board()}
		other := identity.GenerateFleetKey()
		for _, b := range theirs {
			b.key = other
		}
		powerAll(t, append(slices.Clone(ours), theirs...)...)
		until(t, time.Minute, "two fleets", func() bool { return together(ours) && together(theirs) })
		time.Sleep(10 * time.Minute)
		if fleetOf(ours[0]) == fleetOf(theirs[0]) || w.foundings() != 2 || len(ours[0].rivalsNow()) != 0 {
			t.Error("two keys did not make two fleets")
		}
		for _, a := range []*authority{ours[0].authority(), theirs[0].authority()} {
			if len(a.members) != 2 {
				t.Errorf("a fleet of %d members", len(a.members))
			}
		}
	})
}

// TestFounderDiesAtOnce: the chosen one goes silent, and the next one founds.
func TestFounderDiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		all := []*board{w.board(), w.board(), w.board()}
		slices.SortFunc(all, func(a, b *board) int {
			if a.keeper.Node() < b.keeper.Node() {
				return -1
			}
			return 1
		})
		powerAll(t, all...)
		time.Sleep(quiet - 300*time.Millisecond)
		w.partition(all[:1], all[1:]) // cable out, no goodbye
		took := until(t, time.Minute, "a fleet of the others", func() bool { return together(all[1:]) })
		t.Logf("%v after it went silent", took)
		w.heal()
		until(t, 10*time.Minute, "one fleet", func() bool { return together(all) })
	})
}

// TestByAddressesAlone starts a fleet where there is no multicast: each board
// is given all addresses, its own too.
func TestByAddressesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 7)
		all := []*board{w.board(), w.board(), w.board(), w.board()}
		for _, b := range all {
			b.peers = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4:2377"}
		}
		powerAll(t, all...)
		until(t, time.Minute, "one fleet", func() bool { return together(all) })
		if w.foundings() != 1 {
			t.Errorf("%d fleets were founded", w.foundings())
		}
	})
}

// TestAStrayLearnsThatItsFleetGaveWay: a member that was off meanwhile asks
// those who were not.
func TestAStrayLearnsThatItsFleetGaveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8)
		left, right := []*board{w.board(), w.board()}, []*board{w.board(), w.board(), w.board()}
		w.partition(left, right)
		powerAll(t, append(slices.Clone(left), right...)...)
		until(t, time.Minute, "a fleet on each side", func() bool { return together(left) && together(right) })
		if err := left[0].authority().write(); err != nil {
			t.Fatal(err)
		}
		old := right[0].authority()
		i := slices.IndexFunc(right, func(b *board) bool { return b != old.leader })
		stray := right[i]
		stray.stop()
		w.heal()
		awake := slices.Concat(left, right[:i], right[i+1:])
		until(t, 5*time.Minute, "one fleet of those awake", func() bool { return together(awake) })

		stray.connect()
		defer stray.endpoint.Close()
		ask := func(managers []api.ManagerAddr, boards []discovery.Sighting) {
			into, err := stray.client().Whereabouts(t.Context(), old.cluster.ID, boards, managers)
			if err != nil || into != fleetOf(left[0]) {
				t.Errorf("into %q: %v", into, err)
			}
		}
		ask(stray.memory.Read().Managers, nil)
		ask(nil, []discovery.Sighting{{
			Announcement: discovery.Announcement{Node: old.leader.keeper.Node(), Fleet: fleetOf(left[0]), KeyTag: w.key.Tag()},
			Addrs:        []netip.AddrPort{old.leader.addr},
		}})
	})
}

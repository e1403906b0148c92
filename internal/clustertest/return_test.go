package clustertest_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

// shortLived makes the fleet's certificates last for so long.
func shortLived(t *testing.T, at *clustertest.Board, life time.Duration) {
	t.Helper()
	resp, err := at.Control().GetCluster(soon(t), &api.GetClusterRequest{})
	if err != nil {
		t.Fatal(err)
	}
	spec := resp.Cluster.Spec
	spec.NodeCertExpiry = life
	if _, err := at.Control().UpdateCluster(soon(t), &api.UpdateClusterRequest{RequestID: api.NewID[api.RequestID](), Spec: spec}); err != nil {
		t.Fatal(err)
	}
}

// Certificates renew themselves while the fleet runs, and one that ran out
// while its board was off is made anew when it returns: with a clock that is
// right, and with one that says 1970.
func TestCertificatesThatRunOut(t *testing.T) {
	for _, blind := range []bool{false, true} {
		t.Run(fmt.Sprintf("blind %v", blind), func(t *testing.T) {
			inBubble(t, 4, 50, func(t *testing.T, f *clustertest.Fleet) {
				f.Boards[0].Start()
				f.Within(20*time.Second, "formed", f.Formed(1))
				shortLived(t, f.Boards[0], 2*time.Minute)
				for _, b := range f.Boards[1:] {
					b.Start()
				}
				f.AwaitFormed(30 * time.Second)
				f.Pass(6 * time.Minute)
				f.AwaitFormed(time.Second)
				sleeper := workers(f)[0]
				if left := time.Until(sleeper.Status().CertExpires); left < 0 || left > 2*time.Minute {
					t.Fatalf("the certificate lasts for another %v", left)
				}
				sleeper.Cut()
				f.Pass(6 * time.Minute)
				if blind {
					sleeper.SetWall(time.Unix(0, 0))
				}
				sleeper.Start()
				f.AwaitFormed(30 * time.Second)

				for _, b := range f.Boards {
					b.Cut()
				}
				f.Pass(24 * time.Hour) // and then everybody's has run out
				for _, b := range f.Boards {
					b.Start()
				}
				f.AwaitFormed(3 * time.Minute)
			})
		})
	}
}

// When the fleet comes to want certificates of a shorter life, those of a longer
// one are renewed as if they had been made so; when it wants longer ones, at
// their time.
func TestCertExpiryIsShortened(t *testing.T) {
	formed(t, 4, 56, func(t *testing.T, f *clustertest.Fleet) {
		lasts := func(from, to time.Duration) func() error {
			return func() error {
				for _, b := range f.Boards {
					if left := time.Until(b.Status().CertExpires); left < from || left > to {
						return fmt.Errorf("the certificate of %s lasts for another %v", b.Name, left)
					}
				}
				return nil
			}
		}
		const day = 24 * time.Hour
		f.Within(time.Second, "as by default", lasts(89*day, 90*day))
		shortLived(t, f.Boards[0], 3*time.Minute)
		f.Within(2*time.Minute, "short-lived", lasts(0, 3*time.Minute)) // two thirds of that after they were made
		f.Pass(10 * time.Minute)
		f.Within(time.Second, "renewed", lasts(0, 3*time.Minute))

		shortLived(t, f.Boards[0], 30*day)
		f.Pass(time.Second)
		f.Within(time.Second, "as they were", lasts(0, 3*time.Minute))
		f.Within(3*time.Minute, "renewed", lasts(29*day, 30*day))

		shortLived(t, f.Boards[0], 29*day) // due in 19 days
		f.Pass(10 * time.Second)
		for _, b := range f.Boards {
			if left := time.Until(b.Status().CertExpires); left < 29*day {
				t.Errorf("the certificate of %s was renewed, long before it was due: %v", b.Name, left)
			}
		}
		before := f.Files()
		f.Pass(time.Hour)
		if f.Files() != before {
			t.Error("an idle fleet writes")
		}
	})
}

// Boards without a clock battery found a fleet, run tasks, renew certificates,
// and come back from a power cut: with nobody there who knows the time, and
// then with a board that does.
func TestAFleetWithoutClocks(t *testing.T) {
	inBubble(t, 4, 57, func(t *testing.T, f *clustertest.Fleet) {
		boot := func(boards []*clustertest.Board) {
			for _, b := range boards {
				b.SetWall(time.Unix(0, 0)) // as the kernel begins to count
				b.Start()
			}
		}
		blind, sighted := f.Boards[:3], f.Boards[3]
		boot(blind)
		f.AwaitFormed(30 * time.Second)
		shortLived(t, blind[0], 10*time.Minute)
		create(t, blind[0], "web", 6)
		f.Within(20*time.Second, "running", f.Converged(blind[0], "web", 6))
		f.Pass(time.Hour)
		f.Within(time.Second, "whole", all(f.Formed(3), f.Converged(blind[0], "web", 6)))
		var latest time.Time
		for range 3 {
			for _, b := range blind {
				if expires := b.Status().CertExpires; expires.After(latest) {
					latest = expires
				}
				b.Cut()
			}
			f.Pass(24 * time.Hour)
			boot(blind)
			f.AwaitFormed(time.Minute)
			f.Within(time.Minute, "running", f.Converged(blind[0], "web", 6))
		}
		f.Pass(time.Hour)
		for _, b := range blind {
			if expires := b.Status().CertExpires; !expires.After(latest) {
				t.Errorf("time stands still on %s: its certificate lasts until %v, an earlier one until %v", b.Name, expires, latest)
			}
		}
		sighted.Start() // it knows what day it is
		f.AwaitFormed(3 * time.Minute)
		change(t, sighted, "web", scale(12))
		f.Within(30*time.Second, "running", f.Converged(sighted, "web", 12))
		f.Pass(time.Hour)
		f.AwaitFormed(time.Second)
	})
}

// A board whose clock is ahead of its leader's is given certificates that are
// due again as soon as it has them. That does not become a loop that wears its
// card.
func TestALeaderWhoseClockLags(t *testing.T) {
	inBubble(t, 2, 55, func(t *testing.T, f *clustertest.Fleet) {
		leader, ahead := f.Boards[0], f.Boards[1]
		leader.Start()
		f.Within(20*time.Second, "formed", f.Formed(1))
		shortLived(t, leader, 2*time.Hour)
		ahead.SetWall(time.Now().Add(24 * time.Hour))
		ahead.Start()
		f.AwaitFormed(30 * time.Second)
		expiries := map[time.Time]bool{}
		for range 8 * 60 {
			f.Pass(time.Minute)
			expiries[ahead.Status().CertExpires] = true
		}
		if n := len(expiries); n < 8 || n > 16 { // enough, or the others would not let it in
			t.Errorf("%d certificates in eight hours", n)
		}
		f.AwaitFormed(time.Second)
	})
}

// A fleet without multicast finds itself again by the addresses it remembers,
// and one whose boards were all given other addresses by multicast.
func TestAddressesChange(t *testing.T) {
	formed(t, 4, 51, func(t *testing.T, f *clustertest.Fleet) {
		for _, b := range f.Boards {
			b.Cut()
		}
		f.Air.SetLoss(1)
		for _, b := range f.Boards {
			b.Start()
		}
		f.AwaitFormed(30 * time.Second)
		for _, b := range f.Boards {
			b.Cut()
		}
		f.Air.SetLoss(0)
		for i, b := range f.Boards {
			b.Addr = netip.AddrFrom4([4]byte{10, 0, 1, byte(50 + i)})
			b.Start()
		}
		f.AwaitFormed(time.Minute)
	})
}

// A board's address changes while it runs, the leader's, too.
func TestAnAddressChangesUnderTheFleet(t *testing.T) {
	formed(t, 4, 52, func(t *testing.T, f *clustertest.Fleet) {
		create(t, f.Boards[0], "web", 8)
		f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 8))
		f.Pass(10 * time.Second)
		for i, b := range []*clustertest.Board{workers(f)[0], f.Leader()} {
			b.Move(netip.AddrFrom4([4]byte{10, 0, 2, byte(60 + i)}))
			f.Pass(time.Second)
			f.AwaitFormed(30 * time.Second)
			f.Within(time.Minute, "at rest", f.Converged(b, "web", 8))
		}
	})
}

// A member that was away while its fleet gave way to another hears of it when
// it is back, and joins that one.
func TestAMemberMissesTheFolding(t *testing.T) {
	inBubble(t, 5, 53, func(t *testing.T, f *clustertest.Fleet) {
		a, b := split(t, f, [2]int{3, 2})
		create(t, a[0], "web", 2)
		away := b[1]
		if f.Leader(b...) == away {
			away = b[0]
		}
		away.Cut()
		f.Heal()
		f.Within(3*time.Minute, "one", f.Formed(3))
		away.Start()
		f.AwaitFormed(3 * time.Minute)
	})
}

// A board joins with a token and an address, and no key.
func TestJoinByToken(t *testing.T) {
	inBubble(t, 3, 54, func(t *testing.T, f *clustertest.Fleet) {
		f.Boards[0].Start()
		f.Within(20*time.Second, "formed", f.Formed(1))
		token, err := f.Boards[0].Control().GetJoinToken(soon(t), &api.GetJoinTokenRequest{Role: api.RoleWorker})
		if err != nil {
			t.Fatal(err)
		}
		configured, asked := f.Boards[1], f.Boards[2]
		configured.Config.FleetKey, asked.Config.FleetKey = "", ""
		configured.Config.JoinToken, configured.Config.JoinAddrs = token.Token, []string{f.Boards[0].Addr.String()}
		configured.Start()
		asked.Start()
		f.Pass(10 * time.Second)
		if s := asked.Status(); s.Membership != api.MembershipNone {
			t.Fatalf("a board without key or token is %s", s.Membership)
		}
		if _, err := asked.Board().Join(soon(t), &api.JoinRequest{Token: token.Token[:len(token.Token)-1] + "A", Addrs: []string{f.Boards[0].Addr.String()}}); err == nil {
			t.Error("a wrong token opens the door")
		}
		if _, err := asked.Board().Join(soon(t), &api.JoinRequest{Token: token.Token, Addrs: []string{f.Boards[0].Addr.String()}}); err != nil {
			t.Fatal(err)
		}
		f.Within(20*time.Second, "formed", f.Formed(1))
	})
}

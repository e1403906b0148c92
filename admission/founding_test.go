package admission

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

func node(n byte) api.NodeID   { return api.IDFromBytes[api.NodeID]([16]byte{n}) }
func fleet(n byte) api.FleetID { return api.IDFromBytes[api.FleetID]([16]byte{n}) }

func addr(n byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 2377)
}

// script drives a state machine by hand; its clock starts at 0.
type script struct {
	t *testing.T
	f *founding
	d time.Duration
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func newScript(t *testing.T, self byte, veteran bool) *script {
	return &script{t: t, f: newFounding(node(self), "tag", veteran, "", 0, epoch)}
}

func (s *script) now() time.Time { return epoch.Add(s.d) }

// at moves the clock and answers what is to be done, "greet 2 / greet 3 yield / found".
func (s *script) at(d time.Duration) string {
	s.d = d
	do, next := s.f.step(s.now())
	if !next.After(s.now()) {
		s.t.Errorf("at %v: look again at once, for ever", d)
	}
	var out []string
	for _, a := range do {
		line := string(a.kind)
		if a.peer != "" {
			line += " " + s.number(a.peer)
		}
		if a.yield {
			line += " yield"
		}
		out = append(out, line)
	}
	return strings.Join(out, " / ")
}

func (s *script) number(name string) string {
	for n := range byte(100) {
		if name == string(node(n)) {
			return fmt.Sprint(n)
		}
	}
	return name
}

func (s *script) expect(d time.Duration, want string) {
	s.t.Helper()
	if got := s.at(d); got != want {
		s.t.Errorf("at %v: %q, want %q", d, got, want)
	}
}

func (s *script) sees(nodes ...byte) {
	var all []discovery.Sighting
	for _, n := range nodes {
		all = append(all, discovery.Sighting{Announcement: discovery.Announcement{Node: node(n), KeyTag: "tag", Port: 2377}, Addrs: []netip.AddrPort{addr(n)}})
	}
	s.f.seen(s.now(), all)
}

func (s *script) proves(n byte, edit func(*Status)) {
	st := Status{Node: node(n)}
	if edit != nil {
		edit(&st)
	}
	s.f.greeted(s.now(), string(node(n)), false, st, nil)
}

func (s *script) consents(n byte, yes bool) {
	s.f.greeted(s.now(), string(node(n)), true, Status{Node: node(n), Yields: yes}, nil)
}

func (s *script) silence(n byte) {
	s.f.greeted(s.now(), string(node(n)), false, Status{}, api.Errorf(api.Unavailable, "", "no answer"))
}

func TestTheLowestFoundsWhenAllLetIt(t *testing.T) {
	s := newScript(t, 1, false)
	s.expect(0, "")
	s.sees(2, 3)
	s.expect(0, "greet 2 / greet 3")
	s.proves(2, nil)
	s.proves(3, nil)
	s.expect(time.Second, "")
	s.expect(quiet, "greet 2 yield / greet 3 yield")
	s.consents(2, true)
	s.expect(quiet, "")
	s.consents(3, true)
	s.expect(quiet+time.Millisecond, "found")
	s.expect(quiet+2*time.Millisecond, "") // once
	if s.f.yields(s.now(), node(0)) {
		t.Error("yields after it decided to found")
	}
}

func TestARefusalIsAskedAgain(t *testing.T) {
	s := newScript(t, 1, false)
	s.sees(2)
	s.at(0)
	s.proves(2, nil)
	s.expect(quiet, "greet 2 yield")
	s.consents(2, false)
	s.expect(quiet, "")
	s.expect(quiet+500*time.Millisecond, "greet 2 yield")
}

func TestAnOldConsentDoesNotCount(t *testing.T) {
	s := newScript(t, 1, false)
	s.sees(2, 3)
	s.at(0)
	s.proves(2, nil)
	s.proves(3, nil)
	s.at(quiet)
	s.consents(2, true) // and 3 takes its time
	s.d = quiet + consent
	s.consents(3, true)
	if got := s.at(quiet + consent); got != "greet 2 yield" {
		t.Errorf("%q: the word of 2 is too old to found on", got)
	}
}

func TestOthersWaitAndTheNextFoundsWhenItIsSilent(t *testing.T) {
	s := newScript(t, 2, false)
	s.sees(1, 3)
	s.at(0)
	s.proves(1, nil)
	s.proves(3, nil)
	if !s.f.yields(s.now(), node(1)) || s.f.yields(s.now(), node(3)) {
		t.Error("yields to the lower one only")
	}
	if s.f.yields(s.now(), node(0)) {
		t.Error("breaks its word to the first")
	}
	for d := quiet; d < quiet+yielding+2*time.Second; d += 250 * time.Millisecond {
		got := s.at(d)
		if strings.Contains(got, "found") || strings.Contains(got, "yield") && d < yielding {
			t.Fatalf("at %v: %q though the chosen one may live", d, got)
		}
		if strings.Contains(got, "greet 1") {
			s.silence(1)
		}
		if strings.Contains(got, "greet 3 yield") {
			s.consents(3, true)
			s.expect(d+time.Millisecond, "found")
			return
		}
	}
	t.Fatal("nobody founds after the chosen one")
}

func TestAloneItWaitsLonger(t *testing.T) {
	s := newScript(t, 1, false)
	s.expect(quiet, "")
	s.expect(alone, "found")
}

func TestWithoutAnAddressItsTimeHasNotBegun(t *testing.T) {
	const begun = 20 * time.Second
	s := newScript(t, 1, false)
	for d := time.Duration(0); d < begun; d += time.Second {
		s.f.reachable(epoch.Add(d), false)
		s.expect(d, "")
	}
	s.f.reachable(epoch.Add(begun), true)
	s.expect(begun, "")
	s.expect(begun+alone-time.Millisecond, "")
	s.f.reachable(s.now(), true)
	s.expect(begun+alone, "found")
}

func TestABoardThatGetsNoAddressFoundsInTheEnd(t *testing.T) {
	s := newScript(t, 1, false)
	for d := time.Duration(0); d < time.Hour; d += time.Second {
		s.f.reachable(epoch.Add(d), false)
		if s.at(d) != "found" {
			continue
		}
		if d < unplugged || d > unplugged+2*alone {
			t.Errorf("it founds after %v", d)
		}
		return
	}
	t.Error("it never founds")
}

func TestMembersAndVeteransAreWaitedFor(t *testing.T) {
	s := newScript(t, 1, false)
	s.sees(9)
	s.at(0)
	s.proves(9, func(st *Status) { st.Veteran = true })
	for d := time.Second; d < time.Minute; d += time.Second {
		if got := s.at(d); got == "greet 9" {
			s.proves(9, func(st *Status) { st.Veteran = true })
		} else if got != "" {
			t.Fatalf("at %v: %q beside a veteran", d, got)
		}
	}
	if s.f.yields(s.now(), node(0)) {
		t.Error("yields to a founder beside a veteran")
	}
	if got := s.f.message(s.now()); !strings.Contains(got, "waits for the fleet that board") {
		t.Errorf("says %q", got)
	}
	// Its fleet wakes: join it.
	s.proves(9, func(st *Status) { st.Member, st.Manager, st.Ready, st.Fleet = true, true, true, fleet(1) })
	if got := s.at(time.Minute); !strings.HasSuffix(got, "join 9") {
		t.Errorf("%q", got)
	}
}

func TestTheBestFleetIsJoined(t *testing.T) {
	s := newScript(t, 1, false)
	s.sees(2, 3, 4, 5)
	s.at(0)
	member := func(f byte, touched bool, age time.Duration, edit func(*Status)) func(*Status) {
		return func(st *Status) {
			st.Member, st.Manager, st.Ready, st.Fleet, st.Touched, st.FoundedAt = true, true, true, fleet(f), touched, epoch.Add(-age)
			if edit != nil {
				edit(st)
			}
		}
	}
	s.proves(2, member(1, false, time.Hour, nil))
	s.proves(3, member(2, true, 0, func(st *Status) { st.Ready = false }))
	s.proves(4, member(2, true, 0, nil))
	s.proves(5, member(3, true, time.Hour, func(st *Status) { st.FoldedInto = fleet(2) }))
	s.expect(0, "join 4")
	s.f.joinFailed(s.now(), string(node(4)), api.Errorf(api.Unavailable, "", "no leader"))
	if got := s.f.message(s.now()); !strings.Contains(got, "no leader") {
		t.Errorf("says %q", got)
	}
}

func TestAnInventedBoardHoldsNobodyUpForLong(t *testing.T) {
	s := newScript(t, 1, false)
	for d := time.Duration(0); d < suspicion+time.Second; d += 100 * time.Millisecond {
		s.d = d
		s.sees(byte(2 + d/(400*time.Millisecond))) // another one all the time, and none proves itself
		switch got := s.at(d); {
		case got == "found" || strings.HasSuffix(got, "/ found"):
			if d < alone {
				t.Errorf("founds at %v", d)
			}
			return
		default:
			for a := range strings.SplitSeq(got, " / ") {
				var n byte
				if _, err := fmt.Sscanf(a, "greet %d", &n); err == nil {
					s.silence(n)
				}
			}
		}
	}
	t.Fatal("held up by boards that nobody is")
}

func TestVeteranAndTokenNeverFound(t *testing.T) {
	v := newScript(t, 1, true)
	k := newScript(t, 1, false)
	k.f.tag = ""
	for d := time.Duration(0); d < time.Hour; d += 10 * time.Second {
		if a, b := v.at(d), k.at(d); a != "" || b != "" {
			t.Fatalf("at %v: %q, %q", d, a, b)
		}
	}
}

func TestItselfByAnAddressIsNobody(t *testing.T) {
	s := newScript(t, 1, false)
	s.f.seen(s.now(), []discovery.Sighting{{Addrs: []netip.AddrPort{addr(7)}}})
	s.expect(0, "greet @192.0.2.7:2377")
	s.f.greeted(s.now(), "@192.0.2.7:2377", false, Status{}, api.Errorf(api.Invalid, "prove", "%w", ErrSelf))
	s.expect(alone, "found")
}

func TestPeersAreBounded(t *testing.T) {
	s := newScript(t, 1, false)
	for i := range 3 * maxPeers {
		id := api.IDFromBytes[api.NodeID]([16]byte{1, byte(i >> 8), byte(i)})
		s.f.called(s.now(), Status{Node: id}, addr(byte(i)))
	}
	if len(s.f.peers) != maxPeers {
		t.Errorf("%d peers", len(s.f.peers))
	}
	if do, _ := s.f.step(s.now().Add(time.Hour)); len(do) != maxBusy {
		t.Errorf("%d things at once", len(do))
	}
}

// TestNoCircleOfFolds lets fleets look at each other in any order, through old
// glasses, and be written to in between: at least one stays, and following
// those that gave way always ends at one that stays.
func TestNoCircleOfFolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "fleets")
		now := make([]Status, n)
		for i := range now {
			now[i] = Status{
				Member: true, Ready: true, Fleet: fleet(byte(i + 1)), Blind: rapid.Bool().Draw(t, "blind"),
				FoundedAt: epoch.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * time.Hour),
			}
		}
		seen := make([][]Status, n) // what each last saw of each
		for i := range seen {
			seen[i] = slices.Clone(now)
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			i, j := rapid.IntRange(0, n-1).Draw(t, "i"), rapid.IntRange(0, n-1).Draw(t, "j")
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0: // a user writes, unless the store refuses
				if now[i].FoldedInto == "" {
					now[i].Touched = true
				}
			case 1:
				seen[i][j] = now[j]
			case 2: // decide on what was seen of both; the store has the last word
				if judge(seen[i][i], seen[i][j]) == fold && !now[i].Touched && now[i].FoldedInto == "" {
					now[i].FoldedInto = now[j].Fleet
				}
			}
		}
		for i := range now {
			at, steps := i, 0
			for ; now[at].FoldedInto != ""; steps++ {
				if steps > n {
					t.Fatalf("a circle: %+v", now)
				}
				at = slices.IndexFunc(now, func(s Status) bool { return s.Fleet == now[at].FoldedInto })
			}
		}
	})
}

func TestJudge(t *testing.T) {
	of := func(f byte, edit func(*Status)) Status {
		s := Status{Member: true, Ready: true, Fleet: fleet(f), FoundedAt: epoch}
		if edit != nil {
			edit(&s)
		}
		return s
	}
	touched := func(s *Status) { s.Touched = true }
	old := func(s *Status) { s.FoundedAt = epoch.Add(-time.Hour) }
	for _, test := range []struct {
		name         string
		ours, theirs Status
		want, back   verdict
	}{
		{"the younger gives way", of(1, nil), of(2, old), fold, stay},
		{"a tie goes by ID", of(2, nil), of(1, nil), fold, stay},
		{"untouched gives way, though older", of(1, old), of(2, touched), fold, stay},
		{"both touched", of(1, touched), of(2, touched), rival, rival},
		{"to one that can't admit: not yet", of(2, nil), of(1, func(s *Status) { s.Ready = false }), stay, stay},
		{"to one that gives way itself: no", of(2, nil), of(1, func(s *Status) { s.FoldedInto = fleet(9) }), stay, stay},
		{"without a clock is younger", of(1, func(s *Status) { s.Blind, s.FoundedAt = true, epoch.Add(-time.Hour) }), of(2, nil), fold, stay},
		{"a candidate is no fleet", of(1, nil), Status{Node: node(1)}, stay, stay},
	} {
		if got, back := judge(test.ours, test.theirs), judge(test.theirs, test.ours); got != test.want || test.theirs.Member && back != test.back {
			t.Errorf("%s: %s and %s, want %s and %s", test.name, got, back, test.want, test.back)
		}
	}
}

func TestRedirectsAreFollowed(t *testing.T) {
	s := newScript(t, 1, false)
	s.sees(2)
	s.at(0)
	err := &Redirect{Managers: []api.ManagerAddr{{ID: node(5), Addrs: []netip.AddrPort{addr(5)}}}, Err: errors.New("ask a manager")}
	s.f.greeted(s.now(), string(node(2)), false, Status{}, err)
	s.expect(0, "greet 5")
}

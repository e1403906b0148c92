package admission

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Times of founding. The first is what a power-on of a whole fleet always
// costs; the others only count when something is amiss.
const (
	// quiet is how long a board listens before it founds with others; a little
	// is added at random.
	quiet = 1800 * time.Millisecond
	// alone is how long if it has met nobody: its network may be slow to come.
	alone = 4 * time.Second
	// unplugged is how long it waits for an address before either begins: a
	// board's programs are up before its network is.
	unplugged = time.Minute
	// plugged is how soon it notices that it has one.
	plugged = 250 * time.Millisecond
	// yielding is how long a board that yielded keeps its word, to found none
	// and to yield to no other; the one it yielded to decides within consent.
	yielding = 6 * time.Second
	consent  = 3 * time.Second
	// suspicion is how long a board that was only heard of, and never answered,
	// can keep others from founding.
	suspicion = 15 * time.Second
	// remembered is how long a board that answers no more is believed in.
	remembered = 30 * time.Second

	// silent is after how many unanswered greetings a candidate counts no more.
	silent = 3
	// maxPeers bounds what a flood of invented boards costs.
	maxPeers = 512
	maxBusy  = 16
)

// action is what a founding wants done. Its outcome is reported back.
type action struct {
	kind  actionKind
	peer  string // of greet and join
	addrs []netip.AddrPort
	yield bool // a greeting that asks to found
}

type actionKind string

const (
	actGreet actionKind = "greet"
	actJoin  actionKind = "join"
	actFound actionKind = "found"
)

// founding decides how one board gets into a fleet. It is a state machine
// without clock, I/O or goroutine: it is told the time and what happened, and
// answers what to do. docs/adr/0002-founding.md says why it is so.
type founding struct {
	self    api.NodeID
	tag     string // of the fleet key; "" if there is none, and then it never founds
	veteran bool
	home    api.FleetID // a veteran's last fleet, joined before others
	quiet   time.Duration
	alone   time.Duration

	awake     time.Time // when it began to seek
	began     time.Time // and when it could first be met
	unheard   bool      // it can't yet
	peers     map[string]*peer
	committed bool // found was decided

	yieldedTo  api.NodeID
	yieldUntil time.Time
	nextRound  time.Time // no consent is asked before

	joining  bool
	nextJoin time.Time
	failures int    // of joins, in a row
	trouble  string // why the last join failed
}

// yields answers a board that asks to found: whether this one will join it.
func (f *founding) yields(now time.Time, asks api.NodeID) bool {
	promised := now.Before(f.yieldUntil) && f.yieldedTo != asks
	if f.committed || promised || f.veteran || f.tag == "" || f.holds() || asks >= f.self {
		return false
	}
	if slices.ContainsFunc(f.candidates(now), func(p *peer) bool { return p.id() < asks }) {
		return false
	}
	f.yieldedTo, f.yieldUntil = asks, now.Add(yielding)
	return true
}

// joinFailed takes in that a fleet did not let this board in.
func (f *founding) joinFailed(now time.Time, name string, err error) {
	f.joining = false
	f.failures++
	f.trouble = err.Error()
	wait := min(250*time.Millisecond<<min(f.failures, 5), 5*time.Second)
	if p := f.peers[name]; p != nil {
		p.due = now // it may have changed
		if api.KindOf(err) == api.Denied {
			wait = remembered
		}
	}
	f.nextJoin = now.Add(wait)
}

// reachable takes in whether the board has an address: while it has none it can't meet anybody, so
// its time of listening begins afterwards. A board that never gets one is a fleet of its own in the end.
func (f *founding) reachable(now time.Time, is bool) {
	unheard := !is && now.Sub(f.awake) < unplugged
	if unheard || f.unheard {
		f.began = now
	}
	f.unheard = unheard
}

// step answers what to do now, and when to ask again at the latest.
func (f *founding) step(now time.Time) (do []action, next time.Time) {
	next = now.Add(10 * time.Second)
	if f.committed {
		return nil, next
	}
	if f.unheard {
		next = now.Add(plugged)
	}
	f.forget(now)
	do, next = f.greet(now, next)
	if fleets := f.members(); len(fleets) > 0 {
		if a, ok := f.join(now, fleets); ok {
			do = append(do, a)
		}
		if !f.joining {
			next = earlier(next, f.nextJoin)
		}
		return do, next
	}
	if f.veteran || f.tag == "" || f.holds() {
		return do, next
	}
	ask, at := f.found(now)
	if !at.IsZero() {
		next = earlier(next, at)
	}
	return append(do, ask...), next
}

// busy counts the greetings under way.
func (f *founding) busy() int {
	n := 0
	for _, p := range f.peers {
		n += bit(p.busy)
	}
	return n
}

// greet asks those whose turn it is how they stand.
func (f *founding) greet(now, next time.Time) ([]action, time.Time) {
	var do []action
	busy := f.busy()
	for _, p := range f.ordered() {
		if p.busy || p.id() == f.self || len(p.addrs) == 0 {
			continue
		}
		if now.Before(p.due) {
			next = earlier(next, p.due)
		} else if busy < maxBusy {
			busy++
			p.busy = true
			do = append(do, action{kind: actGreet, peer: p.name, addrs: slices.Clone(p.addrs)})
		}
	}
	return do, next
}

// members lists who proved to be of a fleet, the best to join first: its own
// last fleet, then as compareFleets orders them; of one fleet, managers that
// can admit before those that can't.
func (f *founding) members() []*peer {
	var out []*peer
	for _, p := range f.ordered() {
		if f.live(p) && p.member() && p.status.FoldedInto == "" {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b *peer) int {
		return cmp.Or(
			-cmp.Compare(bit(a.status.Fleet == f.home), bit(b.status.Fleet == f.home)),
			compareFleets(*a.status, *b.status),
			-cmp.Compare(bit(a.status.Ready), bit(b.status.Ready)),
			-cmp.Compare(bit(a.status.Manager), bit(b.status.Manager)),
		)
	})
	return out
}

// join asks the best fleet to let this board in, another of its members each time.
func (f *founding) join(now time.Time, members []*peer) (action, bool) {
	if f.joining || now.Before(f.nextJoin) {
		return action{}, false
	}
	best := slices.DeleteFunc(members, func(p *peer) bool {
		return p.status.Fleet != members[0].status.Fleet || p.status.Ready != members[0].status.Ready || p.status.Manager != members[0].status.Manager
	})
	p := best[f.failures%len(best)]
	f.joining = true
	return action{kind: actJoin, peer: p.name, addrs: slices.Clone(p.addrs)}, true
}

// found decides whether this board is the one to found, and asks the others to
// let it. The second answer is when to look again.
func (f *founding) found(now time.Time) ([]action, time.Time) {
	all := f.candidates(now)
	start := f.began.Add(f.quiet)
	if len(all) == 0 {
		start = f.began.Add(f.alone)
	}
	if now.Before(start) {
		return nil, start
	}
	if f.unproven(now) {
		return nil, now.Add(100 * time.Millisecond)
	}
	if slices.ContainsFunc(all, func(p *peer) bool { return p.id() < f.self }) {
		return nil, now.Add(time.Second) // it is another's turn, while it answers
	}
	if at := later(f.nextRound, f.yieldUntil); now.Before(at) {
		return nil, at
	}
	var do []action
	agreed, busy := true, f.busy()
	for _, p := range all {
		if now.Sub(p.said) < consent && !p.said.IsZero() {
			continue
		}
		agreed = false
		if !p.busy && busy < maxBusy {
			busy++
			p.busy = true
			do = append(do, action{kind: actGreet, peer: p.name, addrs: slices.Clone(p.addrs), yield: true})
		}
	}
	if agreed {
		f.committed = true
		return []action{{kind: actFound}}, time.Time{}
	}
	return do, time.Time{}
}

// unproven reports whether somebody of this key was heard of and has not yet
// had its chances to prove itself: it may be of a fleet.
func (f *founding) unproven(now time.Time) bool {
	if now.Sub(f.began) > suspicion {
		return false
	}
	for _, p := range f.peers {
		if p.status == nil && !p.wrong && p.failures < silent && len(p.addrs) > 0 {
			return true
		}
	}
	return false
}

// message says in one line what this board waits for.
func (f *founding) message(now time.Time) string {
	if members := f.members(); len(members) > 0 {
		fleet := api.ShortID(members[0].status.Fleet)
		if f.trouble != "" {
			return fmt.Sprintf("waits to be let into fleet %s: %s", fleet, f.trouble)
		}
		return "joins fleet " + fleet
	}
	for _, p := range f.peers {
		if f.live(p) && p.status.Veteran {
			return fmt.Sprintf("waits for the fleet that board %s was a member of: power its other boards, or found anew with `edgectl init --force` there", api.ShortID(p.id()))
		}
	}
	wrong := 0
	for _, p := range f.peers {
		wrong += bit(p.wrong && p.sighted)
	}
	switch {
	case wrong > 0 && f.trouble != "":
		return f.trouble
	case f.veteran:
		return "waits for a fleet to return to: a board that was a member before never founds one by itself (`edgectl init --force` does)"
	case f.tag == "":
		return "waits for a member of the fleet that its join token is for"
	default:
		return fmt.Sprintf("looks for its fleet, or for others to found it with: %d other boards so far", len(f.candidates(now)))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

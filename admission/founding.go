package admission

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

// Times of founding. The first is what a power-on of a whole fleet always
// costs; the others only count when something is amiss.
const (
	// quiet is how long a board listens before it founds with others; a little
	// is added at random.
	quiet = 1800 * time.Millisecond
	// alone is how long if it has met nobody: its network may be slow to come.
	alone = 4 * time.Second
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

	began     time.Time
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

// peer is a board that was heard of.
type peer struct {
	name     string // node ID, or @address while that is unknown
	addrs    []netip.AddrPort
	sighted  bool // discovery hears it now
	kept     bool // given by configuration or memory: never dropped
	status   *Status
	proven   time.Time
	failures int
	busy     bool
	due      time.Time // of the next greeting
	wrong    bool      // it refused our proof, or failed its own
	said     time.Time // when it yielded to us; zero: not
}

func newFounding(self api.NodeID, tag string, veteran bool, home api.FleetID, jitter time.Duration, now time.Time) *founding {
	return &founding{
		self: self, tag: tag, veteran: veteran, home: home, quiet: quiet + jitter, alone: alone + jitter,
		began: now, peers: make(map[string]*peer),
	}
}

// id is the board's node ID, as proven or as claimed; "" if unknown.
func (p *peer) id() api.NodeID {
	switch {
	case p.status != nil:
		return p.status.Node
	case api.IsID(p.name):
		return api.NodeID(p.name)
	default:
		return ""
	}
}

func (p *peer) member() bool { return p.status != nil && p.status.Member }

// add returns the peer of a name, made if there is room.
func (f *founding) add(now time.Time, name string, addrs []netip.AddrPort) *peer {
	p := f.peers[name]
	if p == nil {
		if name == string(f.self) || len(f.peers) >= maxPeers {
			return nil
		}
		p = &peer{name: name, due: now}
		f.peers[name] = p
	}
	for _, a := range addrs {
		if !slices.Contains(p.addrs, a) && len(p.addrs) < maxAddrs {
			p.addrs = append(p.addrs, a)
		}
	}
	return p
}

// keep notes managers remembered from an earlier membership.
func (f *founding) keep(now time.Time, managers []api.ManagerAddr) {
	for _, m := range managers {
		if p := f.add(now, string(m.ID), m.Addrs); p != nil {
			p.kept = true
		}
	}
}

// seen takes in what discovery hears now.
func (f *founding) seen(now time.Time, all []discovery.Sighting) {
	for _, p := range f.peers {
		p.sighted = false
	}
	for _, s := range all {
		name := string(s.Node)
		switch {
		case s.Node == "" && len(s.Addrs) > 0:
			name = "@" + s.Addrs[0].String()
		case s.Node == f.self, f.tag != "" && s.KeyTag != f.tag, f.tag == "" && s.Fleet == "":
			continue // another key's, or with a token: no member
		}
		p := f.add(now, name, nil)
		if p == nil {
			continue
		}
		p.sighted, p.kept = true, p.kept || s.Node == ""
		if slices.ContainsFunc(s.Addrs, func(a netip.AddrPort) bool { return !slices.Contains(p.addrs, a) }) {
			p.addrs = slices.Clone(s.Addrs[:min(len(s.Addrs), maxAddrs)])
			p.due = earlier(p.due, now)
		}
		// It says that it has become a member, or another's: ask it.
		if p.status != nil && p.status.Fleet != s.Fleet && !p.wrong && p.failures == 0 {
			p.due = now
		}
	}
}

// greeted takes in the outcome of a greeting.
func (f *founding) greeted(now time.Time, name string, yield bool, status Status, err error) {
	p := f.peers[name]
	if p == nil {
		return
	}
	p.busy = false
	if err != nil {
		f.unanswered(now, p, err)
		return
	}
	f.proven(now, p, status)
	if yield {
		p.said = time.Time{}
		if status.Yields {
			p.said = now
		} else {
			f.nextRound = now.Add(500 * time.Millisecond)
		}
	}
	for _, k := range status.Knows {
		f.add(now, string(k.Node), k.Addrs)
	}
	for _, m := range status.Managers {
		f.add(now, string(m.ID), m.Addrs)
	}
}

func (f *founding) unanswered(now time.Time, p *peer, err error) {
	p.failures++
	p.said = time.Time{}
	var elsewhere *Redirect
	if errors.As(err, &elsewhere) {
		for _, m := range elsewhere.Managers {
			f.add(now, string(m.ID), m.Addrs)
		}
	}
	if api.KindOf(err) == api.Denied || api.KindOf(err) == api.Invalid {
		p.wrong, p.status = true, nil
		p.due = now.Add(remembered)
		if !errors.Is(err, ErrSelf) {
			f.trouble = err.Error()
		}
		return
	}
	wait := 250 * time.Millisecond << min(p.failures-1, 5)
	if p.failures > 8 {
		wait = remembered
	}
	p.due = now.Add(wait)
	if now.Sub(p.proven) > remembered && p.failures >= silent {
		p.status = nil
	}
}

// called takes in that a board proved itself at our door.
func (f *founding) called(now time.Time, status Status, addr netip.AddrPort) {
	p := f.add(now, string(status.Node), []netip.AddrPort{addr})
	if p == nil {
		return
	}
	if status.Member {
		p.due = earlier(p.due, now) // it did not say all that matters of its fleet
		return
	}
	f.proven(now, p, status)
}

func (f *founding) proven(now time.Time, p *peer, status Status) {
	p.status, p.proven, p.failures, p.wrong = &status, now, 0, false
	wait := time.Second
	switch {
	case !status.Member && !status.Veteran && status.Node > f.self:
		wait = 10 * time.Second // it looks after us
	case status.Member && !status.Manager, now.Sub(f.began) > time.Minute:
		wait = 5 * time.Second
	}
	p.due = now.Add(wait)
}

// live reports whether a board that proved itself still counts.
func (f *founding) live(p *peer) bool { return p.status != nil && p.failures < silent }

// holds reports whether a member or a veteran is there that this board must
// wait for rather than found.
func (f *founding) holds() bool {
	for _, p := range f.peers {
		if f.live(p) && (p.status.Member || p.status.Veteran) {
			return true
		}
	}
	return false
}

// candidates are the fresh boards that proved themselves and may found. One
// that misses a greeting is doubted sooner than a member would be: it may be
// the one that all wait for.
func (f *founding) candidates(now time.Time) []*peer {
	var out []*peer
	seen := make(map[api.NodeID]bool)
	for _, p := range f.ordered() {
		if f.live(p) && !p.status.Member && !p.status.Veteran && !seen[p.id()] && (p.failures == 0 || now.Sub(p.proven) < yielding) {
			seen[p.id()] = true
			out = append(out, p)
		}
	}
	return out
}

// ordered lists peers by name, so that equal histories give equal actions.
func (f *founding) ordered() []*peer {
	out := make([]*peer, 0, len(f.peers))
	for _, p := range f.peers {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *peer) int { return cmp.Compare(a.name, b.name) })
	return out
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

// known lists who proved to be there, for who asks.
func (f *founding) known(but api.NodeID) []Known {
	var out []Known
	for _, p := range f.ordered() {
		if f.live(p) && p.id() != but && p.id() != f.self && len(out) < maxKnown {
			out = append(out, Known{p.id(), slices.Clone(p.addrs)})
		}
	}
	return out
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

// step answers what to do now, and when to ask again at the latest.
func (f *founding) step(now time.Time) (do []action, next time.Time) {
	next = now.Add(10 * time.Second)
	if f.committed {
		return nil, next
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

// forget drops who is neither heard of nor answers.
func (f *founding) forget(now time.Time) {
	for name, p := range f.peers {
		if !p.kept && !p.sighted && !p.busy && p.failures > 8 && now.Sub(p.proven) > remembered {
			delete(f.peers, name)
		}
	}
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

package admission

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

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
		awake: now, began: now, peers: make(map[string]*peer),
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

// forget drops who is neither heard of nor answers.
func (f *founding) forget(now time.Time) {
	for name, p := range f.peers {
		if !p.kept && !p.sighted && !p.busy && p.failures > 8 && now.Sub(p.proven) > remembered {
			delete(f.peers, name)
		}
	}
}

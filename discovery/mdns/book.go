package mdns

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

// goodbyeGrace is how long a board that said goodbye is still believed in: a
// restarting announcement says goodbye to its old self and is back at once
// (RFC 6762, 10.1).
const goodbyeGrace = time.Second

// book is what is known of the boards on the LAN. It has no clock and no lock
// of its own.
type book struct {
	maxAge time.Duration
	boards map[api.NodeID]*entry
}

// entry is one board, with what each interface heard of it.
type entry struct {
	text   *discovery.Announcement
	port   uint16
	heard  time.Time
	gone   time.Time // when a goodbye takes effect; zero: none
	ifaces map[int]*reach
}

// reach is how a board is reached over one interface.
type reach struct {
	said   []netip.Addr // its own address records
	source netip.Addr   // where its packets came from, for want of records
}

func newBook(maxAge time.Duration) *book {
	return &book{maxAge: maxAge, boards: make(map[api.NodeID]*entry)}
}

// hear notes what a packet said that came from source over the interface, and
// reports whether that changes what sightings answers.
func (b *book) hear(h heard, iface link, source netip.Addr, now time.Time) bool {
	e := b.boards[h.node]
	if h.goodbye {
		if e != nil && e.gone.IsZero() {
			e.gone = now.Add(goodbyeGrace)
		}
		return false
	}
	if e == nil {
		if len(b.boards) >= maxBoards {
			return false
		}
		e = &entry{ifaces: make(map[int]*reach)}
		b.boards[h.node] = e
	}
	changed := false
	e.heard, e.gone = now, time.Time{}
	if h.port != 0 && h.port != e.port {
		e.port, changed = h.port, true
	}
	if h.text != nil && (e.text == nil || *e.text != *h.text) {
		e.text, changed = h.text, true
	}
	return e.reach(h, iface, source) || changed
}

func (e *entry) reach(h heard, iface link, source netip.Addr) bool {
	r := e.ifaces[iface.index]
	if r == nil {
		if len(e.ifaces) >= maxBoardIfaces {
			return false
		}
		r = &reach{}
		e.ifaces[iface.index] = r
	}
	changed := false
	if len(h.addrs) > 0 {
		said := make([]netip.Addr, 0, len(h.addrs))
		for _, a := range h.addrs {
			said = append(said, zoned(a, iface))
		}
		slices.SortFunc(said, netip.Addr.Compare)
		said = slices.Compact(said)
		changed = !slices.Equal(said, r.said)
		r.said = said
	}
	if usable(source) && len(r.said) == 0 {
		source = zoned(source, iface)
		changed = changed || source != r.source
		r.source = source
	}
	return changed
}

// zoned gives a link-local IPv6 address the zone it was heard on.
func zoned(a netip.Addr, iface link) netip.Addr {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return a.WithZone(iface.name)
	}
	return a
}

// age forgets boards that were not heard for long, or that said goodbye. It
// reports whether there were any, and when to ask again; zero: no need.
func (b *book) age(now time.Time) (changed bool, next time.Time) {
	for id, e := range b.boards {
		end := e.heard.Add(b.maxAge)
		if !e.gone.IsZero() && e.gone.Before(end) {
			end = e.gone
		}
		if !now.Before(end) {
			delete(b.boards, id)
			changed = true
		} else if next.IsZero() || end.Before(next) {
			next = end
		}
	}
	return changed, next
}

// keep drops what was heard on interfaces that are no more. The boards stay
// until they age: the interface may have been replaced by another.
func (b *book) keep(links []link) bool {
	changed := false
	for _, e := range b.boards {
		for index := range e.ifaces {
			if !slices.ContainsFunc(links, func(l link) bool { return l.index == index }) {
				delete(e.ifaces, index)
				changed = true
			}
		}
	}
	return changed
}

// sightings lists the boards that are known well enough to be dialled.
func (b *book) sightings(self api.NodeID, links []link) []discovery.Sighting {
	out := make([]discovery.Sighting, 0, len(b.boards))
	for id, e := range b.boards {
		if id == self || e.text == nil || e.port == 0 {
			continue
		}
		s := discovery.Sighting{Announcement: *e.text, Heard: e.heard}
		s.Node, s.Port = id, e.port
		if s.Addrs = e.addrs(links); len(s.Addrs) > 0 {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(x, y discovery.Sighting) int { return cmp.Compare(x.Node, y.Node) })
	return out
}

func (e *entry) addrs(links []link) []netip.AddrPort {
	var all []netip.Addr
	for _, r := range e.ifaces {
		if len(r.said) > 0 {
			all = append(all, r.said...)
		} else if r.source.IsValid() {
			all = append(all, r.source)
		}
	}
	slices.SortFunc(all, func(x, y netip.Addr) int {
		return cmp.Or(cmp.Compare(rank(x, links), rank(y, links)), x.Compare(y))
	})
	out := make([]netip.AddrPort, 0, len(all))
	for _, a := range slices.Compact(all) {
		out = append(out, netip.AddrPortFrom(a, e.port))
	}
	return out
}

// rank orders addresses: own subnets, then IPv6 link-local ones (always on the
// link, but only as good as their zone), then what a router must carry.
func rank(a netip.Addr, links []link) int {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return 1
	}
	for _, l := range links {
		for _, p := range l.prefixes {
			if p.Contains(a) {
				return 0
			}
		}
	}
	return 2
}

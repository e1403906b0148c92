package mem

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/discovery"
)

// How often a board asks who is there: soon after its start, and then seldom.
const (
	interval = time.Minute
	maxAge   = 4 * interval
)

var early = [...]time.Duration{
	200 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
	2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second,
}

// message is what goes over the LAN.
type message struct {
	from         netip.Addr
	number       uint64 // counts what is sent on the LAN
	asks         bool
	goodbye      bool
	announcement discovery.Announcement
}

// Finder implements discovery.Finder on a LAN.
type Finder struct {
	lan     *LAN
	changed chan struct{}

	mu      sync.Mutex
	addr    netip.Addr
	running bool
	own     discovery.Announcement
	heard   map[netip.Addr]word // by the sender's address
}

// word is what a board said last from an address.
type word struct {
	discovery.Sighting
	number uint64
	gone   bool // it said goodbye: what it sent before may yet arrive
}

var _ discovery.Finder = (*Finder)(nil)

// Run implements discovery.Finder.
func (f *Finder) Run(ctx context.Context) error {
	f.mu.Lock()
	f.running = true
	f.mu.Unlock()
	f.tell()
	for i := 0; ; i++ {
		f.lan.broadcast(f, message{asks: true})
		f.age()
		wait := interval
		if i < len(early) {
			wait = early[i]
		}
		select {
		case <-ctx.Done():
			f.mu.Lock()
			own := f.own
			f.running = false
			f.mu.Unlock()
			f.lan.broadcast(f, message{goodbye: true, announcement: own})
			return nil
		case <-time.After(wait):
		}
	}
}

// Announce implements discovery.Finder.
func (f *Finder) Announce(a discovery.Announcement) {
	f.mu.Lock()
	same := f.own == a
	f.own = a
	f.mu.Unlock()
	if !same {
		f.tell()
	}
}

// Sightings implements discovery.Finder.
func (f *Finder) Sightings() []discovery.Sighting {
	f.mu.Lock()
	defer f.mu.Unlock()
	newest := make(map[string]word, len(f.heard))
	for _, s := range f.heard {
		// A board that changed its address is still remembered at the old one, which
		// it may have spoken from at the same moment.
		if had, ok := newest[string(s.Node)]; !s.gone && s.Node != f.own.Node && (!ok || had.number < s.number) {
			newest[string(s.Node)] = s
		}
	}
	out := make([]discovery.Sighting, 0, len(newest))
	for _, s := range newest {
		out = append(out, s.Sighting)
	}
	slices.SortFunc(out, func(a, b discovery.Sighting) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// Changed implements discovery.Finder.
func (f *Finder) Changed() <-chan struct{} { return f.changed }

// Readdress moves the board to another address; the zero Addr takes it off the LAN.
func (f *Finder) Readdress(addr netip.Addr) {
	f.mu.Lock()
	f.addr = addr
	f.mu.Unlock()
	f.tell()
	f.lan.broadcast(f, message{asks: true})
}

func (f *Finder) at() netip.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.addr
}

// tell announces this board, if it runs and has something to say.
func (f *Finder) tell() {
	f.mu.Lock()
	own, speaks := f.own, f.running && f.own.Node != ""
	f.mu.Unlock()
	if speaks {
		f.lan.broadcast(f, message{announcement: own})
	}
}

func (f *Finder) hear(m message) {
	f.mu.Lock()
	if !f.running || !f.addr.IsValid() {
		f.mu.Unlock()
		return
	}
	had, known := f.heard[m.from]
	changed := false
	switch {
	case m.asks, known && m.number < had.number:
	case m.goodbye:
		if changed = known && !had.gone && had.Node == m.announcement.Node; changed {
			had.gone, had.number = true, m.number
			f.heard[m.from] = had
		}
	default:
		changed = !known || had.gone || had.Announcement != m.announcement
		f.heard[m.from] = word{number: m.number, Sighting: discovery.Sighting{
			Announcement: m.announcement, Heard: time.Now(),
			Addrs: []netip.AddrPort{netip.AddrPortFrom(m.from, m.announcement.Port)},
		}}
	}
	f.mu.Unlock()
	if changed {
		f.poke()
	}
	if m.asks {
		f.tell()
	}
}

// age forgets whom nobody has heard for long.
func (f *Finder) age() {
	f.mu.Lock()
	before := len(f.heard)
	for addr, s := range f.heard {
		if time.Since(s.Heard) >= maxAge {
			delete(f.heard, addr)
		}
	}
	changed := len(f.heard) != before
	f.mu.Unlock()
	if changed {
		f.poke()
	}
}

func (f *Finder) poke() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

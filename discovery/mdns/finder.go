// Package mdns finds boards on the LAN by multicast DNS (RFC 6762, 6763), as
// _edgeswarm._udp on every interface that can multicast, over IPv4 and IPv6.
//
// grandcat/zeroconf answers for this board: it probes, announces, replies to
// questions and says goodbye. Listening is done here, on the DNS library that
// it brings along, because its browser can't serve: it reports neither a
// goodbye nor a changed TXT record nor that a board has fallen silent, opens
// new sockets for every round of questions, and drops the interface a packet
// came in on, without which a link-local address can't be dialled.
//
// It proves nothing: anybody on the LAN can say anything here. What is said is
// bounded in size and number, and is printable.
package mdns

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/discovery"
)

// Config is how a Finder works. The zero value is right for boards.
type Config struct {
	Log *slog.Logger // nil: silent
	// Interval is how often a settled LAN is asked who is there (default
	// 60 s, least 100 ms). One board's question serves all, so however many
	// boards there are, about one asks. At first it is asked more often.
	Interval time.Duration
}

// ageIntervals is how many intervals a board may be silent before it is
// forgotten: three questions or more went without its answer.
const ageIntervals = 4

// Finder implements discovery.Finder.
type Finder struct {
	log      *slog.Logger
	interval time.Duration
	changed  chan struct{}
	announce chan struct{} // 1 slot: what is announced was replaced

	mu    sync.Mutex
	own   discovery.Announcement
	book  *book
	links []link
}

var _ discovery.Finder = (*Finder)(nil)

// New returns a Finder; nothing is heard or said before Run.
func New(c Config) *Finder {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Interval <= 0 {
		c.Interval = time.Minute
	}
	c.Interval = max(c.Interval, 100*time.Millisecond)
	return &Finder{
		log: c.Log, interval: c.Interval,
		changed: make(chan struct{}, 1), announce: make(chan struct{}, 1),
		book: newBook(ageIntervals * c.Interval),
	}
}

// Run implements discovery.Finder. A board without any interface waits for
// one, so it only returns when ctx ends.
func (f *Finder) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wake := make(chan struct{}, 1)
	wg.Go(func() { watchLinks(ctx, wake, f.log) })
	for ctx.Err() == nil {
		present, err := links()
		if err != nil {
			f.log.Warn("interfaces unreadable", "err", err)
		}
		f.follow(present)
		s := session{finder: f, links: present, wake: wake}
		if err := s.run(ctx); err != nil {
			f.log.Warn("discovery interrupted", "err", err)
			select {
			case <-ctx.Done():
			case <-wake:
			case <-time.After(resubscribe):
			}
		}
	}
	return nil
}

// Announce implements discovery.Finder.
func (f *Finder) Announce(a discovery.Announcement) {
	f.mu.Lock()
	same := f.own == a
	f.own = a
	f.mu.Unlock()
	if !same {
		poke(f.announce)
	}
}

// Sightings implements discovery.Finder.
func (f *Finder) Sightings() []discovery.Sighting {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.book.sightings(f.own.Node, f.links)
}

// Changed implements discovery.Finder.
func (f *Finder) Changed() <-chan struct{} { return f.changed }

func (f *Finder) announced() discovery.Announcement {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.own
}

// follow takes note of the interfaces that there are now.
func (f *Finder) follow(present []link) {
	f.mu.Lock()
	changed := f.book.keep(present)
	f.links = present
	f.mu.Unlock()
	if changed {
		poke(f.changed)
	}
}

// note takes in what a packet says.
func (f *Finder) note(r received) {
	f.mu.Lock()
	changed := false
	for _, h := range r.boards {
		if h.node != f.own.Node {
			changed = f.book.hear(h, r.link, r.source, time.Now()) || changed
		}
	}
	f.mu.Unlock()
	if changed {
		poke(f.changed)
	}
}

// age forgets silent boards and answers when to look again.
func (f *Finder) age() time.Time {
	f.mu.Lock()
	changed, next := f.book.age(time.Now())
	f.mu.Unlock()
	if changed {
		poke(f.changed)
	}
	return next
}

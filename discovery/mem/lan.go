// Package mem is a LAN in memory, for tests: finders on it hear each other
// with seeded loss, delay and partitions, all of it inside one process and, if
// wanted, inside a testing/synctest bubble.
//
// It carries announcements, not packets: what garbage does to a parser is for
// the tests of mdns.
package mem

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// LAN connects finders. Its faults may be changed at any time and affect what
// is sent from then on.
type LAN struct {
	mu       sync.Mutex
	rng      *rand.Rand
	loss     float64
	min, max time.Duration
	group    map[netip.Addr]int
	finders  []*Finder
	sent     uint64
}

// NewLAN returns a LAN that loses nothing and takes 1 ms. Equal seeds lose and
// delay alike if used alike.
func NewLAN(seed uint64) *LAN {
	return &LAN{rng: rand.New(rand.NewPCG(seed, 0)), min: time.Millisecond, max: time.Millisecond}
}

// SetLoss sets the share of messages, 0 to 1, that don't arrive; each receiver
// loses on its own.
func (l *LAN) SetLoss(share float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loss = share
}

// SetDelay sets how long a message takes, evenly spread.
func (l *LAN) SetDelay(least, most time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.min, l.max = least, max(least, most)
}

// Partition lets only addresses of the same group hear each other. Those not
// named are one group more.
func (l *LAN) Partition(groups ...[]netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.group = make(map[netip.Addr]int)
	for i, g := range groups {
		for _, a := range g {
			l.group[a] = i + 1
		}
	}
}

// Heal ends all partitions.
func (l *LAN) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.group = nil
}

// Join puts a board on the LAN at an address; it takes part while its Run runs.
func (l *LAN) Join(addr netip.Addr) *Finder {
	f := &Finder{
		lan: l, addr: addr, changed: make(chan struct{}, 1),
		heard: make(map[netip.Addr]word),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finders = append(l.finders, f)
	return f
}

// broadcast delivers a message to every other finder that it reaches.
func (l *LAN) broadcast(from *Finder, m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	m.from, m.number = from.at(), l.sent
	for _, to := range l.finders {
		if to == from || !l.connected(m.from, to.at()) || l.rng.Float64() < l.loss {
			continue
		}
		delay := l.min
		if l.max > l.min {
			delay += time.Duration(l.rng.Int64N(int64(l.max - l.min)))
		}
		time.AfterFunc(delay, func() { to.hear(m) })
	}
}

func (l *LAN) connected(a, b netip.Addr) bool {
	return a.IsValid() && b.IsValid() && l.group[a] == l.group[b]
}

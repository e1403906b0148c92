package admission

import (
	"net/netip"
	"sync"
	"time"
)

// Limits on failed proofs. Guessing 128 bits is hopeless anyway: this keeps a
// board with a wrong key from costing the fleet work.
const (
	freeFailures = 5
	firstBlock   = 10 * time.Second
	longestBlock = 5 * time.Minute
	maxSources   = 1024
)

// limiter counts failed proofs by source address.
type limiter struct {
	mu      sync.Mutex
	sources map[netip.Addr]*source
}

type source struct {
	failures int
	until    time.Time // no proof is heard before
}

func newLimiter() *limiter { return &limiter{sources: make(map[netip.Addr]*source)} }

// from is what failures are counted by: an IPv6 host has a whole /64.
func from(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() && !a.IsLinkLocalUnicast() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// blocked answers for how much longer a source is not heard.
func (l *limiter) blocked(addr netip.Addr, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sources[from(addr)]; s != nil {
		return max(0, s.until.Sub(now))
	}
	return 0
}

// fail counts a failed proof and reports whether it is worth a line in the log.
func (l *limiter) fail(addr netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sources[from(addr)]
	if s == nil {
		if len(l.sources) >= maxSources {
			l.sweep(now)
		}
		s = &source{}
		l.sources[from(addr)] = s
	}
	s.failures++
	if s.failures >= freeFailures {
		s.until = now.Add(min(firstBlock<<min(s.failures-freeFailures, 16), longestBlock))
	}
	return s.failures == 1 || s.failures == freeFailures
}

// pass forgets a source's failures.
func (l *limiter) pass(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sources, from(addr))
}

// sweep makes room: who is not blocked goes, and if all are, anybody.
func (l *limiter) sweep(now time.Time) {
	for a, s := range l.sources {
		if !now.Before(s.until) {
			delete(l.sources, a)
		}
	}
	for a := range l.sources {
		if len(l.sources) < maxSources {
			break
		}
		delete(l.sources, a)
	}
}

// crowd counts who is at the door now, so that one address that says nothing
// can't keep the others out. The zero value is an empty one.
type crowd struct {
	mu    sync.Mutex
	total int
	by    map[netip.Addr]int
}

// enter reports whether there is room.
func (c *crowd) enter(addr netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr = from(addr)
	if c.total >= maxCallers || c.by[addr] >= maxFromOne {
		return false
	}
	if c.by == nil {
		c.by = make(map[netip.Addr]int)
	}
	c.total++
	c.by[addr]++
	return true
}

func (c *crowd) leave(addr netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr = from(addr)
	c.total--
	if c.by[addr]--; c.by[addr] == 0 {
		delete(c.by, addr)
	}
}

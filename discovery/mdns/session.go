package mdns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/grandcat/zeroconf"
)

// session is a Finder's work while the interfaces stay as they are.
type session struct {
	finder  *Finder
	links   []link
	wake    <-chan struct{}
	sockets []*socket
	server  *zeroconf.Server
	asks    []schedule // by position in links
}

// received is a packet with where it came from.
type received struct {
	packet
	link   link
	source netip.Addr
}

// run works until ctx ends or the interfaces change. With no interface it
// only waits for one.
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	packets := make(chan received)
	defer func() {
		s.silence()
		cancel()
		for _, k := range s.sockets {
			_ = k.close()
		}
		wg.Wait()
	}()
	if len(s.links) > 0 {
		var err error
		if s.sockets, err = openSockets(ctx, s.links); err != nil {
			return err
		}
	}
	for _, k := range s.sockets {
		wg.Go(func() { s.receive(ctx, k, packets) })
	}
	for range s.links {
		s.asks = append(s.asks, schedule{interval: s.finder.interval, next: time.Now()})
	}
	if err := s.speak(); err != nil {
		return err
	}
	return s.loop(ctx, packets)
}

func (s *session) loop(ctx context.Context, packets <-chan received) error {
	ticker := time.NewTimer(0)
	defer ticker.Stop()
	check := time.Now().Add(recheck)
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-packets:
			s.finder.note(r)
			s.overheard(r)
		case <-s.finder.announce:
			s.silence()
			if err := s.speak(); err != nil {
				return err
			}
		case <-s.wake:
			check = earlier(check, time.Now().Add(settle))
		case <-ticker.C:
		}
		now := time.Now()
		if !now.Before(check) {
			check = now.Add(recheck)
			if present, err := links(); err == nil && !sameLinks(present, s.links) {
				return nil
			}
		}
		next := earlier(check, s.ask(now))
		if age := s.finder.age(); !age.IsZero() {
			next = earlier(next, age)
		}
		ticker.Reset(time.Until(next))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// speak starts to answer for this board. The library reads the record that it
// announces from several goroutines without a lock, so a change is a new server.
func (s *session) speak() error {
	select {
	case <-s.finder.announce: // what is read now is at least as new
	default:
	}
	own := s.finder.announced()
	if own.Node == "" || len(s.links) == 0 {
		return nil
	}
	text, err := encodeText(own)
	if err != nil {
		s.finder.log.Error("announcement impossible", "err", err)
		return nil
	}
	// Given no addresses, the library answers on each interface with those that
	// this interface has at that moment.
	s.server, err = zeroconf.RegisterProxy(string(own.Node), service, domain, int(own.Port), string(own.Node), nil, text, interfaces(s.links))
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return nil
}

// silence says goodbye and stops answering.
func (s *session) silence() {
	if s.server != nil {
		s.server.Shutdown()
		s.server = nil
	}
}

// ask sends the questions that are due and answers when the next one is.
func (s *session) ask(now time.Time) time.Time {
	next := now.Add(s.finder.interval)
	for i := range s.asks {
		if s.asks[i].due(now) {
			s.question(s.links[i])
		}
		next = earlier(next, s.asks[i].next)
	}
	return next
}

func (s *session) question(l link) {
	raw, err := query()
	if err != nil {
		s.finder.log.Error("question impossible", "err", err)
		return
	}
	for _, k := range s.sockets {
		// An interface without an address of this family can't send: the
		// other family does.
		_ = k.send(raw, l.index)
	}
}

// overheard defers our question where another board has just asked: the
// answers go to everybody (RFC 6762, 7.3).
func (s *session) overheard(r received) {
	for i, l := range s.links {
		if r.asks && l.index == r.link.index {
			s.asks[i].postpone(time.Now())
		}
	}
}

// receive hands on what a socket hears until it is closed.
func (s *session) receive(ctx context.Context, k *socket, out chan<- received) {
	buf := make([]byte, maxPacket+1)
	for {
		n, iface, source, err := k.receive(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // the network went; it says so again at once
			select {
			case <-ctx.Done():
				return
			case <-time.After(settle):
			}
			continue
		}
		r := received{source: source}
		if r.link = s.find(iface); n == 0 || r.link.index == 0 {
			continue
		}
		if r.packet, err = parse(buf[:n]); err != nil || (!r.asks && len(r.boards) == 0) {
			continue
		}
		select {
		case out <- r:
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) find(index int) link {
	for _, l := range s.links {
		if l.index == index {
			return l
		}
	}
	return link{}
}

// early are the waits between the first questions, for boards that start
// together and for packets that are lost; after them the LAN is settled.
var early = [...]time.Duration{
	200 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
	2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second,
}

// schedule says when an interface is asked.
type schedule struct {
	interval time.Duration
	asked    int // questions of the early ones
	next     time.Time
}

// due reports whether to ask now, and if so plans the next time.
func (q *schedule) due(now time.Time) bool {
	if now.Before(q.next) {
		return false
	}
	wait := q.settled()
	if q.asked < len(early) {
		wait = min(early[q.asked], wait)
		q.asked++
	}
	q.next = now.Add(wait)
	return true
}

// postpone puts the next question off because another board has asked.
func (q *schedule) postpone(now time.Time) {
	if q.asked == len(early) {
		q.next = now.Add(q.settled())
	}
}

// settled is the wait on a settled LAN, spread so that boards don't ask together.
func (q *schedule) settled() time.Duration {
	return q.interval + rand.N(q.interval/4+1)
}

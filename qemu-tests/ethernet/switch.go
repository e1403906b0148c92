package ethernet

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	maxAddresses = 4096            // learned; one more and all are forgotten, as in cheap switches
	forgetAfter  = 5 * time.Minute // an address that was not heard
)

// Config makes a Switch.
type Config struct {
	// Seed decides which frames are lost, delayed and doubled.
	Seed uint64
	// Subnet is what the boards' own addresses are of; others that a board speaks
	// from, as of its containers, are not taken for its own. Zero takes all.
	Subnet netip.Prefix
	// Captures is the folder where each port's frames are kept, in PORT.pcap;
	// "" keeps none.
	Captures string
	Log      *slog.Logger
}

// Switch joins ports. It is safe for concurrent use.
type Switch struct {
	cfg Config

	mu      sync.Mutex
	ports   []*Port
	learned map[MAC]learned
	islands map[string]int // by port; a port that is not there hears everyone
}

type learned struct {
	port *Port
	at   time.Time
}

// New makes a switch without ports.
func New(cfg Config) *Switch {
	return &Switch{cfg: cfg, learned: map[MAC]learned{}}
}

// Listen makes a port that QEMU connects to at a Unix socket. The port
// works while its Run does.
func (s *Switch) Listen(name, socket string) (*Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.ports, func(p *Port) bool { return p.name == name }) {
		return nil, fmt.Errorf("make port %s: there is one of that name", name)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("make port %s: %w", name, err)
	}
	p := newPort(s, name, l)
	if s.cfg.Captures != "" {
		file, err := os.Create(filepath.Join(s.cfg.Captures, name+".pcap"))
		if err == nil {
			p.file = file
			p.capture, err = newCapture(file)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make port %s: %w", name, err), l.Close())
		}
	}
	s.ports = append(s.ports, p)
	return p, nil
}

// Partition splits the LAN: ports of different islands don't hear each other.
// A port that is in none hears everyone, and is heard. It replaces an
// earlier partition; without islands the LAN is whole.
func (s *Switch) Partition(islands ...[]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.islands = map[string]int{}
	for i, island := range islands {
		for _, name := range island {
			s.islands[name] = i
		}
	}
}

// Heal ends a partition.
func (s *Switch) Heal() { s.Partition() }

// SetLink changes how a port's cable treats frames.
func (s *Switch) SetLink(port string, l Link) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.ports {
		if p.name == port {
			p.link = l
			return nil
		}
	}
	return fmt.Errorf("set the link of port %s: there is no such port", port)
}

// received is told of each frame that a board sent. Those who get it have it in
// their queues when received returns.
func (s *Switch) received(from *Port, f frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	from.keep(now, f)
	if a, ok := addressOf(f); ok && (!s.cfg.Subnet.IsValid() || s.cfg.Subnet.Contains(a)) {
		from.address = a
	}
	for _, delay := range from.in.copies(from.link) {
		s.forward(from, f, now, delay)
	}
}

func (s *Switch) forward(from *Port, f frame, now time.Time, delay time.Duration) {
	if !f.from().group() {
		if _, known := s.learned[f.from()]; !known && len(s.learned) >= maxAddresses {
			clear(s.learned)
		}
		s.learned[f.from()] = learned{from, now}
	}
	if l, known := s.learned[f.to()]; known && !f.to().group() && now.Sub(l.at) < forgetAfter {
		s.deliver(from, l.port, f, now, delay)
		return
	}
	for _, p := range s.ports {
		s.deliver(from, p, f, now, delay)
	}
}

// deliver puts a frame into a port's queue, if it gets there.
func (s *Switch) deliver(from, to *Port, f frame, now time.Time, delay time.Duration) {
	if from == to || !to.plugged || s.apart(from, to) {
		return
	}
	for _, more := range to.out.copies(to.link) {
		to.push(f, now.Add(delay+more))
	}
}

func (s *Switch) apart(a, b *Port) bool {
	i, inside := s.islands[a.name]
	j, too := s.islands[b.name]
	return inside && too && i != j
}

// forget drops what was learned of a port whose board is gone.
func (s *Switch) forget(p *Port) {
	for m, l := range s.learned {
		if l.port == p {
			delete(s.learned, m)
		}
	}
	p.address = netip.Addr{}
}

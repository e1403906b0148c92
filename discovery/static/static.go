// Package static is a Finder for boards whose addresses are given: on a LAN
// without multicast, or on another LAN.
//
// An address says nothing of who is there, so each is a sighting of its own
// with nothing but Addrs set: Node, KeyTag and Fleet are "". Whoever dials it
// learns the rest from the join protocol. Nothing is announced: whom this
// board lists must be dialled by it, or list it in turn.
package static

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

// Config is what a Finder knows.
type Config struct {
	// Addrs are host[:port]; the port is api.DefaultPort if absent. A host
	// that is a name is resolved, and again every minute.
	Addrs []string
	// Lookup resolves names; nil is the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	Log    *slog.Logger // nil: silent
}

const (
	refresh = time.Minute     // between resolutions
	retry   = 5 * time.Second // after one that failed
	patient = 4 * time.Second // for one
)

// Finder implements discovery.Finder.
type Finder struct {
	targets []target
	config  Config
	changed chan struct{}

	mu    sync.Mutex
	found [][]netip.AddrPort // by target
}

type target struct {
	host string
	addr netip.Addr // zero: host is a name
	port uint16
}

var _ discovery.Finder = (*Finder)(nil)

// New checks the addresses; it errs on the first that can't be one.
func New(c Config) (*Finder, error) {
	if c.Lookup == nil {
		c.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	f := &Finder{config: c, changed: make(chan struct{}, 1), found: make([][]netip.AddrPort, len(c.Addrs))}
	for i, s := range c.Addrs {
		t, err := parse(s)
		if err != nil {
			return nil, err
		}
		f.targets = append(f.targets, t)
		if t.addr.IsValid() {
			f.found[i] = []netip.AddrPort{netip.AddrPortFrom(t.addr, t.port)}
		}
	}
	if len(f.targets) > 0 {
		f.changed <- struct{}{}
	}
	return f, nil
}

func parse(s string) (target, error) {
	invalid := func(why string) (target, error) {
		return target{}, api.Errorf(api.Invalid, "", "address %q: %s: give host or host:port", s, why)
	}
	host, port, t := s, "", target{port: api.DefaultPort}
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if addr, err := netip.ParseAddr(bare); err == nil {
		t.host, t.addr = s, addr
		return t, nil
	}
	if strings.Contains(s, ":") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return invalid("not an address")
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return invalid("the port is not 1 to 65535")
		}
		t.port = uint16(n)
	}
	if host == "" || len(host) > 253 || strings.ContainsAny(host, " \t/\\") {
		return invalid("no host that could exist")
	}
	t.host = host
	t.addr, _ = netip.ParseAddr(host)
	return t, nil
}

// Run implements discovery.Finder: it resolves names until ctx ends.
func (f *Finder) Run(ctx context.Context) error {
	for {
		wait := refresh
		if !f.resolve(ctx) {
			wait = retry
		}
		if !slices.ContainsFunc(f.targets, func(t target) bool { return !t.addr.IsValid() }) {
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// resolve looks every name up once and reports whether all were found. A name
// that can't be resolved now keeps the addresses it had.
func (f *Finder) resolve(ctx context.Context) bool {
	all, changed := true, false
	for i, t := range f.targets {
		if t.addr.IsValid() {
			continue
		}
		now, err := f.lookup(ctx, t)
		if err != nil {
			all = false
			f.config.Log.Debug("address not resolved", "host", t.host, "err", err)
			continue
		}
		f.mu.Lock()
		changed = changed || !slices.Equal(f.found[i], now)
		f.found[i] = now
		f.mu.Unlock()
	}
	if changed {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
	return all
}

func (f *Finder) lookup(ctx context.Context, t target) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	addrs, err := f.config.Lookup(ctx, t.host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", t.host, err)
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, netip.AddrPortFrom(a.Unmap(), t.port))
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out, nil
}

// Announce implements discovery.Finder; nothing is announced.
func (f *Finder) Announce(discovery.Announcement) {}

// Sightings implements discovery.Finder, in the order the addresses were given.
func (f *Finder) Sightings() []discovery.Sighting {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []discovery.Sighting
	for _, addrs := range f.found {
		if len(addrs) > 0 {
			out = append(out, discovery.Sighting{Addrs: slices.Clone(addrs), Heard: time.Now()})
		}
	}
	return out
}

// Changed implements discovery.Finder.
func (f *Finder) Changed() <-chan struct{} { return f.changed }

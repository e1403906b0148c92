package node

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
)

const (
	// inquireFirst is how long a member is without its leader before it asks
	// at the doors what has become of its fleet and of itself; the pauses grow
	// to inquireLast.
	inquireFirst = 3 * time.Second
	inquireLast  = time.Minute
	// disownedFor is for how long a board must hear that it is no member, and
	// nothing else, before it believes it: a leader that has lost its fleet
	// without knowing it yet may say so to a board that the fleet has just
	// taken in.
	disownedFor = 2 * time.Second
)

// doubts are a member's, about whether it still is one.
type doubts struct {
	refused chan struct{} // 1 slot: a member did not let this one in

	mu    sync.Mutex
	since time.Time // when this board was first told that it is no member; zero: it wasn't
	turns bool      // a member has turned it away since its leader last spoke
}

func newDoubts() doubts { return doubts{refused: make(chan struct{}, 1)} }

// settle ends all doubts: the leader takes this board for a member.
func (d *doubts) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since, d.turns = time.Time{}, false
}

// turnedAway notes that another member did not let this one in.
func (d *doubts) turnedAway() {
	d.mu.Lock()
	d.turns = true
	d.mu.Unlock()
	select {
	case d.refused <- struct{}{}:
	default:
	}
}

func (d *doubts) wasTurnedAway() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.turns
}

// disowned takes in that somebody who should know says that this board is no
// member, and reports whether that is certain by now.
func (d *doubts) disowned() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since.IsZero() {
		d.since = time.Now()
	}
	return time.Since(d.since) >= disownedFor
}

func (m *membership) disowned() {
	if m.doubts.disowned() {
		m.finish(errRemoved)
	}
}

// inquire finds out, while this member has no session with a leader, whether
// it was removed, whether its certificate has run out, whether its fleet has
// given way to another, and whether the managers have moved. It asks at doors,
// which are open to everybody.
func (m *membership) inquire(ctx context.Context) error {
	b := m.board
	wait := inquireFirst
	if b.expired() {
		wait = 0 // no member will speak to this one
	}
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-m.doubts.refused:
			timer.Stop()
			if wait > inquireFirst {
				wait = inquireFirst
			}
			if !sleep(ctx, time.Second) { // one refusal seldom comes alone
				return nil
			}
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		if m.agent.Standing().Connected { // then its leader renews certificates, too
			wait = inquireFirst
			continue
		}
		m.spot()
		m.askForCertificate(ctx)
		m.askForFleet(ctx)
		wait = min(max(2*wait, inquireFirst), inquireLast)
	}
}

// spot learns from discovery where members are now: the whole fleet may have
// been given other addresses. That is only a hint: who is not the member that
// it says does not get past the transport.
func (m *membership) spot() {
	for _, s := range m.board.parts.Finder.Sightings() {
		if s.Fleet != m.fleet || s.Node == m.self {
			continue
		}
		m.mu.Lock()
		_, known := m.peers[s.Node]
		if lost := len(m.peers) == 0; lost && s.Manager {
			m.peers[s.Node] = api.Peer{ID: s.Node, Name: s.Name, Addrs: s.Addrs, Manager: true}
			known = true
		}
		m.mu.Unlock()
		if known || s.Manager { // it may have come after all that this board was told
			m.board.endpoint.Learn(s.Node, s.Addrs...)
		}
	}
}

// doors are where managers of this fleet may answer, each a board's addresses:
// the known ones first, then who says so on this network.
func (m *membership) doors() [][]netip.AddrPort {
	var out [][]netip.AddrPort
	for _, p := range m.managers() {
		out = append(out, p.Addrs)
	}
	for _, s := range m.board.parts.Finder.Sightings() {
		if s.Fleet == m.fleet && s.Manager && s.Node != m.self {
			out = append(out, s.Addrs)
		}
	}
	return out
}

// askForCertificate proves by the old certificate who this board is, and asks
// for a new one: so it learns whether it still is a member. The answer is used
// if the one it has is of no more use.
func (m *membership) askForCertificate(ctx context.Context) {
	client := m.board.client(identity.FleetKey{}, identity.Token{})
	for _, addrs := range m.doors() {
		creds, err := client.Renew(ctx, addrs)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.logger.Debug("no word from a manager's door", "addrs", addrs, "err", err)
			if m.trust.Disowns(err) {
				m.disowned()
				return
			}
			continue
		}
		if !m.board.expired() && !m.doubts.wasTurnedAway() {
			return
		}
		if err := m.board.keeper.Adopt(*creds); err != nil {
			m.logger.Warn("certificate not renewed", "err", err)
			return
		}
		m.board.endpoint.Recheck()
		m.doubts.settle()
		m.logger.Info("certificate renewed at a manager's door", "expires", m.board.keeper.Expires())
		return
	}
}

// askForFleet asks boards of the same key whether this fleet gave way to
// theirs.
func (m *membership) askForFleet(ctx context.Context) {
	key, _, err := m.board.credentials()
	if err != nil || key.IsZero() {
		return
	}
	var managers []api.ManagerAddr
	for _, p := range m.managers() {
		managers = append(managers, api.ManagerAddr{ID: p.ID, Addrs: p.Addrs})
	}
	into, err := m.board.client(key, identity.Token{}).Whereabouts(ctx, m.fleet, m.board.parts.Finder.Sightings(), managers)
	if err != nil {
		m.logger.Debug("nobody knows of the fleet", "err", err)
	}
	if into != "" {
		m.logger.Info("this fleet gave way while this board could not reach it", "into", into)
		m.finish(errFolded)
	}
}

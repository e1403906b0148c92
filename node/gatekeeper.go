package node

import (
	"context"
	"slices"
	"sync"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
	"github.com/edgeswarm/edgeswarm/identity"
)

// gatekeeper lends the door what it needs of this board; it implements
// admission.Fleet.
type gatekeeper struct{ b *Board }

// Standing implements admission.Fleet.
func (g gatekeeper) Standing() admission.Standing {
	remembered := g.b.memory.Read()
	s := admission.Standing{Folded: remembered.Folded}
	if key, _, err := g.b.credentials(); err == nil && !key.IsZero() {
		s.Keys = append(s.Keys, key)
	}
	m := g.b.member.Load()
	if m == nil {
		s.Veteran = remembered.Veteran
		return s
	}
	m.standing(&s)
	if len(s.Managers) == 0 {
		s.Managers = remembered.Managers
	}
	return s
}

func (m *membership) standing(s *admission.Standing) {
	info := m.fleetInfo()
	s.Member, s.Fleet = true, m.fleet
	s.FoundedAt, s.Touched, s.FoldedInto = info.FoundedAt, info.Touched, info.FoldedInto
	m.mu.Lock()
	for _, p := range m.peers {
		if p.Manager {
			s.Managers = append(s.Managers, api.ManagerAddr{ID: p.ID, Addrs: p.Addrs})
		}
	}
	m.mu.Unlock()
	sitting := m.seat.present.Load()
	if sitting == nil {
		return
	}
	cluster := sitting.store.View().Cluster()
	if cluster == nil {
		return // the log is still on its way
	}
	leader, _ := m.compass.Leader()
	s.Manager, s.Ready = true, leader != ""
	s.FoundedAt, s.FoundedBlind, s.Touched, s.FoldedInto = cluster.FoundedAt, cluster.FoundedBlind, cluster.Touched, cluster.FoldedInto
	if key, err := identity.ParseFleetKey(cluster.FleetKey); err == nil && !slices.ContainsFunc(s.Keys, key.Equal) {
		s.Keys = append(s.Keys, key)
	}
	tokens, err := admission.Tokens(cluster)
	if err != nil {
		m.logger.Error("join tokens can't be read, nobody joins by them", "err", err)
	}
	s.Tokens = tokens
}

// Admit implements admission.Fleet: it vouches for a board at the leader.
func (g gatekeeper) Admit(ctx context.Context, req *api.AdmitRequest) (*api.AdmitResponse, error) {
	m := g.b.member.Load()
	if m == nil {
		return nil, errNoFleet("admit")
	}
	leader, err := m.findLeader(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := m.conn(leader)
	if err != nil {
		return nil, err
	}
	return api.NewDispatchClient(conn).Admit(ctx, req)
}

// announce tells the LAN who this board is.
func (b *Board) announce() {
	key, _, _ := b.credentials() // checked when edged began
	a := discovery.Announcement{Node: b.keeper.Node(), Name: b.cfg.Name, Port: b.endpoint.Port(), KeyTag: key.Tag(), Fleet: b.keeper.Fleet(), Trouble: b.cfg.Trouble}
	if m := b.member.Load(); m != nil {
		a.Manager = m.seat.present.Load() != nil
	} else {
		a.Veteran = b.memory.Read().Veteran
	}
	b.parts.Finder.Announce(a)
}

// rivals are other fleets of the same key that can't be folded.
type rivals struct {
	mu     sync.Mutex
	fleets []api.FleetID
}

func (r *rivals) set(fleets []api.FleetID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fleets = fleets
}

func (r *rivals) list() []api.FleetID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.fleets)
}

// folder looks, in the terms that this node leads, for fleets of the same key
// that ours should give way to.
func (m *membership) folder(fold func(context.Context, api.FleetID) error) (*admission.Folder, bool) {
	var standing admission.Standing
	m.standing(&standing)
	if key, _, err := m.board.credentials(); err == nil && !key.IsZero() {
		standing.Keys = append(standing.Keys, key)
	}
	if len(standing.Keys) == 0 {
		return nil, false
	}
	return admission.NewFolder(admission.FolderConfig{
		Client: m.board.client(standing.Keys[0], identity.Token{}), Finder: m.board.parts.Finder,
		Standing: gatekeeper{m.board}.Standing, Fold: fold, Rivals: m.rivals.set, Log: m.logger.With("room", "admission"),
	}), true
}

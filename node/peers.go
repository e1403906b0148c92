package node

import (
	"cmp"
	"slices"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
)

// onSet takes in what the assignment set says of the fleet and its members.
func (m *membership) onSet(info api.FleetInfo, peers []api.Peer) {
	m.mu.Lock()
	before := m.info.CertExpiry
	m.info = info
	m.mu.Unlock()
	if info.CertExpiry != before {
		select {
		case m.expiry <- struct{}{}:
		default:
		}
	}
	m.meet(peers)
	m.trust.Members(peers)
	m.board.endpoint.Recheck()
	// What an earlier run stored may be older than the log: only a leader's own
	// word takes the seat away.
	if info.Voter || m.agent.Standing().Connected {
		m.seat.Want(info.Voter)
	}
	m.board.announce()
	if err := m.board.clock.Save(); err != nil { // the set has just been written, too
		m.logger.Warn("time not noted", "err", err)
	}
	if info.FoldedInto != "" {
		m.giveWay()
	}
}

// meet takes in the other members and where they are reached.
func (m *membership) meet(peers []api.Peer) {
	m.mu.Lock()
	gone := m.peers
	m.peers = make(map[api.NodeID]api.Peer, len(peers))
	for _, p := range peers {
		m.peers[p.ID] = p
		delete(gone, p.ID)
	}
	for id := range gone {
		if c := m.conns[id]; c != nil {
			delete(m.conns, id)
			defer c.Close() // it only releases
		}
	}
	m.mu.Unlock()
	for _, p := range peers {
		if p.ID != m.self {
			m.board.endpoint.Learn(p.ID, p.Addrs...)
		}
	}
	for id := range gone {
		m.board.endpoint.Forget(id)
	}
	if err := m.board.memory.Joined(m.fleet, managerAddrs(peers)); err != nil {
		m.logger.Warn("managers' addresses not noted", "err", err)
	}
}

// managers are the members known to take part in the log, without this node.
func (m *membership) managers() []api.Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []api.Peer
	for _, p := range m.peers {
		if p.Manager && p.ID != m.self {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b api.Peer) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// neighbours are the other members.
func (m *membership) neighbours() []api.NodeID {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]api.NodeID, 0, len(m.peers))
	for id := range m.peers {
		if id != m.self {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func (m *membership) fleetInfo() api.FleetInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.info
}

func (m *membership) nameOf(id api.NodeID) string {
	if id == m.self {
		return m.board.cfg.Name
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peers[id].Name
}

// remembered are the managers that a board noted of its fleet, as peers: all
// that it knows before its first assignment set.
func remembered(r admission.Remembered, fleet api.FleetID) []api.Peer {
	if r.Fleet != fleet {
		return nil
	}
	var out []api.Peer
	for _, a := range r.Managers {
		out = append(out, api.Peer{ID: a.ID, Addrs: a.Addrs, Manager: true})
	}
	return out
}

// managerAddrs are the managers among members.
func managerAddrs(peers []api.Peer) []api.ManagerAddr {
	var out []api.ManagerAddr
	for _, p := range peers {
		if p.Manager {
			out = append(out, api.ManagerAddr{ID: p.ID, Addrs: slices.Clone(p.Addrs)})
		}
	}
	slices.SortFunc(out, func(a, b api.ManagerAddr) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

package node

import (
	"fmt"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

// status is the board's account of itself, with or without a fleet.
func (b *Board) status() *api.BoardStatus {
	s := &api.BoardStatus{
		NodeID: b.keeper.Node(), Hostname: b.cfg.Name, Version: b.cfg.Version, Description: b.describe(),
		StateDir: b.cfg.StateDir, StartedAt: b.started, Addr: firstAddr(b.addrs()), Membership: api.MembershipNone,
	}
	s.Troubled = troubled(b.parts.Finder.Sightings())
	if m := b.member.Load(); m != nil {
		m.fillStatus(s)
		return s
	}
	b.fillSeeking(s)
	return s
}

// maxTroubled bounds what others can make this board say.
const maxTroubled = 16

// troubled are the boards among those heard of that no leader can tell of.
func troubled(all []discovery.Sighting) (some []api.TroubledBoard) {
	for _, s := range all {
		if s.Trouble == "" || s.Fleet != "" || len(some) == maxTroubled {
			continue
		}
		board := api.TroubledBoard{NodeID: s.Node, Hostname: s.Name, Trouble: s.Trouble}
		if len(s.Addrs) > 0 {
			board.Addr = s.Addrs[0].String()
		}
		some = append(some, board)
	}
	return some
}

func (m *membership) fillStatus(s *api.BoardStatus) {
	info := m.fleetInfo()
	s.Membership, s.FleetID, s.FleetName = api.MembershipMember, m.fleet, info.Name
	s.CertExpires = m.board.keeper.Expires()
	s.Description, s.Tasks = m.agent.Description(), m.agent.Tasks()
	s.Leader, _ = m.compass.Leader()
	s.LeaderName = m.nameOf(s.Leader)
	s.Rivals = m.rivals.list()
	if sitting := m.seat.present.Load(); sitting != nil {
		s.Manager = true
		if servers, err := sitting.log.Servers(); err == nil {
			for _, server := range servers {
				if server.Voter {
					s.Voters++
				}
			}
		}
	}
	standing := m.agent.Standing()
	switch {
	case len(s.Rivals) > 0:
		s.Message = fmt.Sprintf("%d other fleets with the same key are on this network and both hold services: choose one, and on the boards of the others run `edgectl leave --force`", len(s.Rivals))
	case m.seat.Trouble() != "":
		s.Message = m.seat.Trouble()
	case s.Leader == "":
		s.Message = "no leader is known: " + m.whyNoLeader() + "; tasks go on running"
	case !standing.Connected && standing.Err != nil:
		s.Message = "the leader does not take this board's reports: " + standing.Err.Error()
	}
}

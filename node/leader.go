package node

import (
	"context"
	"fmt"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	// leaderWait is how long a call waits for a leader to be known.
	leaderWait = 3 * time.Second
	// leaderPause is how long to wait before asking the next leader, or the
	// same manager again.
	leaderPause = 200 * time.Millisecond
	// staleHints is how long, after a leader was lost, other managers may still
	// take it for one: an election time-out, and some more.
	staleHints = 2 * time.Second
)

// seated reports whether this node takes part in the log, which then knows
// better than most who leads.
func (m *membership) seated() bool { return m.seat.present.Load() != nil }

// logSays is who leads by this node's own share of the log; "" if it has none,
// or knows of nobody.
func (m *membership) logSays() api.NodeID {
	if sitting := m.seat.present.Load(); sitting != nil {
		return api.NodeID(sitting.log.Leader())
	}
	return ""
}

// findLeader is who leads: known by a manager's own share of the log, by other
// nodes from asking the managers. A manager asks, too, when its log is silent:
// it may have been replaced while it was off, and nobody speaks to it.
func (m *membership) findLeader(ctx context.Context) (api.NodeID, error) {
	if leader, _ := m.compass.Leader(); leader != "" {
		return leader, nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	m.askAround(ctx)
	leader, err := m.compass.Await(ctx)
	if err != nil {
		return "", api.Errorf(api.Unavailable, "", "no leader is known: %s", m.whyNoLeader())
	}
	return leader, nil
}

// askAround asks every manager who leads, again and again until the compass
// points or ctx ends. For a manager that lasts longer than an election: so long,
// its own log may be about to tell.
func (m *membership) askAround(ctx context.Context) {
	began := time.Now()
	for _, peer := range m.managers() {
		go func() {
			for {
				m.ask(ctx, peer.ID, m.seated() && time.Since(began) < staleHints)
				if leader, _ := m.compass.Leader(); leader != "" || !sleep(ctx, leaderPause) {
					return
				}
			}
		}()
	}
}

// ask asks a manager who leads, and believes it. What others say of a leader
// that was lost a moment ago is old; if it leads, it says so itself. With only
// set, nothing else counts.
func (m *membership) ask(ctx context.Context, manager api.NodeID, only bool) {
	client, err := m.boardOf(manager)
	if err != nil {
		return
	}
	hint, err := client.WhoLeads(ctx)
	if err != nil || hint.Leader == "" || ctx.Err() != nil || m.logSays() != "" {
		return
	}
	itself := hint.Self && hint.Leader == manager
	if itself || !only && !m.compass.LostLately(hint.Leader, staleHints) {
		m.compass.Point(hint.Leader)
	}
}

// doubt asks the managers whether another leads by now, a few times, until it
// is known or ctx ends: a leader that lost its power does not say goodbye.
func (m *membership) doubt(ctx context.Context, leader api.NodeID) {
	if m.seated() {
		return
	}
	for pause := leaderPause; pause < 4*time.Second && ctx.Err() == nil; pause *= 2 {
		for _, peer := range m.managers() {
			if peer.ID != leader {
				go m.ask(ctx, peer.ID, true)
			}
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// lost says that a leader did not answer. A manager's own log knows better.
func (m *membership) lost(leader api.NodeID) {
	if m.logSays() != leader {
		m.compass.Lose(leader)
	}
}

// whyNoLeader puts in words what an operator should look at.
func (m *membership) whyNoLeader() string {
	managers := m.managers()
	if m.seated() {
		return fmt.Sprintf("too few of the fleet's managers answer this one; see that %d more boards run and are on this network", max(1, len(managers)/2))
	}
	return fmt.Sprintf("none of the %d managers that this board knows answers; see that they run and are on this network", len(managers))
}

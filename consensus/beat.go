package consensus

import (
	"sync"
	"time"
)

// beat makes a leader heard every Heartbeat, by all followers at the same
// moments, so that an idle board wakes once for them all, until the function
// that it returns is called. Left to itself, raft beats ten times in each
// HeartbeatTimeout, for each follower at moments of its own.
func (n *Node) beat(leads bool) (end func()) {
	if !leads {
		return func() {}
	}
	stop := make(chan struct{})
	n.background.Go(func() { n.beats(stop) })
	return sync.OnceFunc(func() { close(stop) })
}

func (n *Node) beats(stop <-chan struct{}) {
	ticker := time.NewTicker(n.cfg.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			// Its answer is of no use here: it asks every follower at once.
			// It waits only while raft's main loop is held up by the disk, and
			// then raft's own beats go on.
			n.raft.VerifyLeader()
		case <-stop:
			return
		}
	}
}

// pace slows raft's own heartbeats while this node leads, so that they come
// only where one of beats is overdue: up to a Heartbeat late. A follower's
// HeartbeatTimeout is how long it bears silence.
func (n *Node) pace(leads bool) {
	c := n.raft.ReloadableConfig()
	c.HeartbeatTimeout, c.ElectionTimeout = n.cfg.Election, n.cfg.Election
	if leads {
		// Raft waits between a tenth and two tenths of it.
		c.HeartbeatTimeout, c.ElectionTimeout = 10*n.cfg.Heartbeat, 10*n.cfg.Heartbeat
	}
	if err := n.raft.ReloadConfig(c); err != nil {
		n.cfg.Logger.Error("heartbeats not paced", "err", err)
	}
}

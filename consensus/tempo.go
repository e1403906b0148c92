package consensus

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// tempo is when a leader is heard, and when its silence is noticed.
//
// Left to itself, raft beats ten times in each election time-out, for each
// follower at moments of its own; and it looks whether its leader is silent only
// when a random timer happens to fire, up to three times the time-out after
// the last beat. As no follower grants a vote before it has itself noticed, the
// last one to look decides how long a fleet goes without a leader. Here the
// beats go to all followers at once, and silence is noticed when it is due, by
// one follower after the other.
type tempo struct {
	cfg    Config
	raft   atomic.Pointer[raft.Raft] // once there is one
	beaten sync.WaitGroup

	mu      sync.Mutex
	quiet   chan struct{} // ends the beats of this node's term; nil if it does not lead
	silence *time.Timer   // since the last beat of a leader
	over    bool
}

// turns is how many turns fit in an election time-out: a turn is what a
// follower waits for another's candidacy to be heard before its own.
const turns = 10

// lead begins or ends a term. In one, raft's own heartbeats come only where
// one of these is overdue: up to a Heartbeat late.
func (t *tempo) lead(leads bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hush()
	patience := t.cfg.Election
	if leads && !t.over {
		patience = 10 * t.cfg.Heartbeat // raft waits between a tenth and two tenths of it
		quiet := make(chan struct{})
		t.quiet = quiet
		t.beaten.Go(func() { t.beats(quiet) })
	}
	if err := t.set(patience); err != nil {
		t.cfg.Logger.Error("heartbeats not paced", "err", err)
	}
}

func (t *tempo) hush() {
	if t.quiet != nil {
		close(t.quiet)
		t.quiet = nil
	}
}

// set tells raft how long a follower bears silence.
func (t *tempo) set(patience time.Duration) error {
	r := t.raft.Load()
	c := r.ReloadableConfig()
	c.HeartbeatTimeout, c.ElectionTimeout = patience, patience
	return r.ReloadConfig(c)
}

// beats makes this node heard every Heartbeat until quiet is closed.
func (t *tempo) beats(quiet <-chan struct{}) {
	ticker := time.NewTicker(t.cfg.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			// The answer is of no use here, but the question goes to every follower
			// at once. It waits only while raft's main loop is held up by the
			// disk, and then raft's own beats go on.
			t.raft.Load().VerifyLeader()
		case <-quiet:
			return
		}
	}
}

// heard is called after each beat of a leader.
func (t *tempo) heard() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.over:
	case t.silence == nil:
		t.silence = time.AfterFunc(t.cfg.Election, t.silent)
	default:
		t.silence.Reset(t.cfg.Election)
	}
}

// silent has raft look at once whether its leader is silent, when it is this
// follower's turn.
func (t *tempo) silent() {
	r := t.raft.Load()
	if r == nil {
		return
	}
	turn := turn(r, t.cfg.ID)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.quiet != nil || turn < 0 || r.State() != raft.Follower {
		return
	}
	due := t.cfg.Election + time.Duration(turn)*t.cfg.Election/turns
	if early := due - time.Since(r.LastContact()); early > 0 {
		t.silence.Reset(early)
		return
	}
	t.look()
}

// found has the one voter of a new log lead it at once: there is no leader
// whose silence it would have to bear.
func (t *tempo) found() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over && t.quiet == nil {
		t.look()
	}
}

// look has raft see to its leader now, which it does when its patience becomes
// shorter; else its own timer has to do. Called with the lock held.
func (t *tempo) look() {
	if t.set(t.cfg.Election+1) == nil {
		_ = t.set(t.cfg.Election)
	}
}

// turn is a node's place among the voters other than the leader; negative if
// it is none of them.
func turn(r *raft.Raft, id string) int {
	_, leader := r.LeaderWithID()
	others := slices.DeleteFunc(voters(r), func(voter string) bool { return voter == string(leader) })
	return slices.Index(others, id)
}

// end lets nothing happen any more, and waits for what does.
func (t *tempo) end() {
	t.mu.Lock()
	t.over = true
	t.hush()
	if t.silence != nil {
		t.silence.Stop()
	}
	t.mu.Unlock()
	t.beaten.Wait()
}

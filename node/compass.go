package node

import (
	"context"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// errLeaderChanged is the cause with which what was under way at a leader is
// given up when another leads.
var errLeaderChanged = api.Errorf(api.Unavailable, "", "the leader changed; ask again")

// compass remembers which node leads, as far as is known, and tells those who
// wait for it or depend on it.
type compass struct {
	mu      sync.Mutex
	leader  api.NodeID
	changed chan struct{} // closed and replaced at each change
	lost    api.NodeID    // the last one that did not answer
	lostAt  time.Time     // by the monotonic clock
}

func newCompass() *compass { return &compass{changed: make(chan struct{})} }

// Point says who leads now; "" that nobody is known to.
func (c *compass) Point(leader api.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.point(leader)
}

func (c *compass) point(leader api.NodeID) {
	if leader == c.leader {
		return
	}
	c.leader = leader
	close(c.changed)
	c.changed = make(chan struct{})
}

// Lose says that a leader does not answer, or leads no more.
func (c *compass) Lose(leader api.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost, c.lostAt = leader, time.Now()
	if c.leader == leader {
		c.point("")
	}
}

// LostLately reports whether a node was lost as leader within d.
func (c *compass) LostLately(leader api.NodeID, d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost == leader && time.Since(c.lostAt) < d
}

// Leader is who leads, and a channel that is closed when that changes.
func (c *compass) Leader() (api.NodeID, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader, c.changed
}

// Await returns who leads as soon as anybody is known to.
func (c *compass) Await(ctx context.Context) (api.NodeID, error) {
	for {
		leader, changed := c.Leader()
		if leader != "" {
			return leader, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// While returns a context that ends when ctx does, or when leader is known to
// lead no more. The function releases it, and must be called.
func (c *compass) While(ctx context.Context, leader api.NodeID) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			now, changed := c.Leader()
			if now != leader {
				cancel(errLeaderChanged)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

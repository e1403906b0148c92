package agent

import (
	"fmt"
	"sync"

	"github.com/edgeswarm/edgeswarm/api"
)

// claims say which task holds which port or named generic resource of the board,
// so that one moves from a task to the next only when the first is done with it.
type claims struct {
	mu    sync.Mutex
	held  map[claim]api.TaskID
	freed chan struct{} // closed and replaced whenever one is let go
}

// claim is a port, or a generic resource by its name.
type claim struct {
	protocol api.Protocol
	number   uint16
	named    api.NamedGenericResource
}

func (c claim) port() bool { return c.number != 0 }

func (c claim) String() string {
	if !c.port() {
		return c.named.Kind + " " + c.named.Value
	}
	return fmt.Sprintf("port %d/%s", c.number, c.protocol)
}

func newClaims() *claims { return &claims{held: map[claim]api.TaskID{}, freed: make(chan struct{})} }

// claimsOf are a task's, ports first.
func claimsOf(task *api.Task) (out []claim) {
	for _, p := range task.Ports {
		if p.PublishedPort == 0 {
			continue
		}
		c := claim{protocol: p.Protocol, number: p.PublishedPort}
		if c.protocol == "" {
			c.protocol = api.TCP
		}
		out = append(out, c)
	}
	for _, r := range task.GenericResources {
		if r.NamedResourceSpec != nil {
			out = append(out, claim{named: *r.NamedResourceSpec})
		}
	}
	return out
}

// take gives the task all that it claims, or nothing and says which other holds
// one; freed tells when to ask again.
func (c *claims) take(task *api.Task) (holder api.TaskID, clash claim, freed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := claimsOf(task)
	for _, w := range wanted {
		if h, held := c.held[w]; held && h != task.ID {
			return h, w, c.freed
		}
	}
	for _, w := range wanted {
		c.held[w] = task.ID
	}
	return "", claim{}, nil
}

// release lets go of what a task holds.
func (c *claims) release(id api.TaskID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	had := false
	for w, h := range c.held {
		if h == id {
			delete(c.held, w)
			had = true
		}
	}
	if had {
		close(c.freed)
		c.freed = make(chan struct{})
	}
}

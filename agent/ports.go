package agent

import (
	"fmt"
	"sync"

	"github.com/edgeswarm/edgeswarm/api"
)

// ports says which task holds which port of the board, so that a port moves
// from one task to the next only when the first is done with it.
type ports struct {
	mu    sync.Mutex
	held  map[port]api.TaskID
	freed chan struct{} // closed and replaced whenever one is let go
}

type port struct {
	protocol api.Protocol
	number   uint16
}

func (p port) String() string { return fmt.Sprintf("%d/%s", p.number, p.protocol) }

func newPorts() *ports { return &ports{held: map[port]api.TaskID{}, freed: make(chan struct{})} }

func portsOf(task *api.Task) (out []port) {
	for _, c := range task.Ports {
		if c.PublishedPort == 0 {
			continue
		}
		p := port{c.Protocol, c.PublishedPort}
		if p.protocol == "" {
			p.protocol = api.TCP
		}
		out = append(out, p)
	}
	return out
}

// take gives the task all its ports, or none and says which other holds one;
// freed tells when to ask again.
func (p *ports) take(task *api.Task) (holder api.TaskID, clash port, freed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := portsOf(task)
	for _, w := range wanted {
		if h, held := p.held[w]; held && h != task.ID {
			return h, w, p.freed
		}
	}
	for _, w := range wanted {
		p.held[w] = task.ID
	}
	return "", port{}, nil
}

// release lets go of a task's ports.
func (p *ports) release(id api.TaskID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	had := false
	for w, h := range p.held {
		if h == id {
			delete(p.held, w)
			had = true
		}
	}
	if had {
		close(p.freed)
		p.freed = make(chan struct{})
	}
}

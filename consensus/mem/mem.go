// Package mem is a consensus.Network inside one process, for tests: nodes of a
// Hub reach each other by ID, and a node can be cut off and joined again. It
// loses and delays nothing by itself, and works inside a synctest bubble.
package mem

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/edgeswarm/edgeswarm/consensus"
)

// Hub joins networks.
type Hub struct {
	mu    sync.Mutex
	nodes map[string]*Network
	cut   map[string]bool
	links map[*link]struct{}
}

type link struct {
	a, b string
	ends [2]net.Conn
}

// NewHub returns a hub with nobody on it.
func NewHub() *Hub {
	return &Hub{nodes: map[string]*Network{}, cut: map[string]bool{}, links: map[*link]struct{}{}}
}

// Join returns a node's network, in place of the one it had before.
func (h *Hub) Join(id string) *Network {
	n := &Network{hub: h, id: id, accept: make(chan net.Conn), closed: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nodes[id] = n
	return n
}

// Cut breaks a node's streams and lets it make no new ones, until Mend.
func (h *Hub) Cut(id string) {
	h.mu.Lock()
	h.cut[id] = true
	h.mu.Unlock()
	h.sever(id)
}

// Mend undoes Cut.
func (h *Hub) Mend(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.cut, id)
}

func (h *Hub) sever(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.links {
		if l.a == id || l.b == id {
			_ = l.ends[0].Close()
			_ = l.ends[1].Close()
			delete(h.links, l)
		}
	}
}

// Network is one node's.
type Network struct {
	hub    *Hub
	id     string
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

var _ consensus.Network = (*Network)(nil)

// Dial implements consensus.Network.
func (n *Network) Dial(ctx context.Context, id string) (net.Conn, error) {
	h := n.hub
	h.mu.Lock()
	to, ok := h.nodes[id]
	if !ok || h.cut[id] || h.cut[n.id] {
		h.mu.Unlock()
		return nil, fmt.Errorf("dial %s: no route", id)
	}
	a, b := net.Pipe()
	h.links[&link{n.id, id, [2]net.Conn{a, b}}] = struct{}{}
	h.mu.Unlock()
	select {
	case to.accept <- b:
		return a, nil
	case <-to.closed:
	case <-n.closed:
	case <-ctx.Done():
	}
	_ = a.Close()
	return nil, fmt.Errorf("dial %s: nobody there", id)
}

// Accept implements consensus.Network.
func (n *Network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.accept:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements consensus.Network.
func (n *Network) Close() error {
	n.once.Do(func() {
		close(n.closed)
		n.hub.sever(n.id)
	})
	return nil
}

package agent

import "sync"

// ring is a wake-up that coalesces: any number of rings before the waiter
// comes round are one.
type ring chan struct{}

func newRing() ring { return make(ring, 1) }

func (r ring) ring() {
	select {
	case r <- struct{}{}:
	default:
	}
}

// gate opens once and stays open.
type gate struct {
	once sync.Once
	c    chan struct{}
}

func newGate() *gate { return &gate{c: make(chan struct{})} }

func (g *gate) open() { g.once.Do(func() { close(g.c) }) }

func (g *gate) opened() bool {
	select {
	case <-g.c:
		return true
	default:
		return false
	}
}

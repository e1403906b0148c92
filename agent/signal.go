package agent

import (
	"context"
	"sync"
	"time"
)

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

// await waits for a gate; false if ctx ended first.
func await(ctx context.Context, g *gate) bool {
	select {
	case <-g.c:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// until returns a context that also ends when a gate opens.
func until(ctx context.Context, g *gate) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if g.opened() {
		cancel()
	}
	go func() {
		select {
		case <-g.c:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

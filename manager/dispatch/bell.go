package dispatch

import "sync"

// bell wakes any number of listeners; a burst of rings is heard once. The zero
// bell is ready.
type bell struct {
	mu        sync.Mutex
	listeners map[chan struct{}]struct{}
}

// Subscribe returns a channel that receives after a ring, until cancel.
func (b *bell) Subscribe() (_ <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = map[chan struct{}]struct{}{}
	}
	b.listeners[ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, ch)
	}
}

// Ring wakes every listener; it never waits.
func (b *bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.listeners {
		ring(ch)
	}
}

// ring fills a one-slot channel that may be full already.
func ring(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

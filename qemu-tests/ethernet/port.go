package ethernet

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// queueLen is how many frames a port holds for a board that does not take them;
// those that come then are dropped.
const queueLen = 2048

// Port is where one board's cable goes. What is not its own is guarded by the
// switch's lock.
type Port struct {
	sw       *Switch
	name     string
	listener net.Listener
	in, out  fate
	link     Link
	plugged  bool // a board is connected
	address  netip.Addr
	queue    []due // by time, the next first
	dropped  int
	wake     chan struct{} // 1 slot: the queue's head changed

	file    *os.File
	capture *capture // nil keeps none
	kept    error    // the first error in keeping it
}

// due is a frame that arrives at a time.
type due struct {
	frame frame
	at    time.Time
}

func newPort(s *Switch, name string, l net.Listener) *Port {
	return &Port{
		sw: s, name: name, listener: l, wake: make(chan struct{}, 1),
		in: newFate(s.cfg.Seed, name, "in"), out: newFate(s.cfg.Seed, name, "out"),
	}
}

// Address is the IPv4 address that the board last spoke from, and false while
// it has none.
func (p *Port) Address() (netip.Addr, bool) {
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	return p.address, p.address.IsValid()
}

// Run serves the board that connects, and when it is gone the next one, until
// the context ends. A frame that can't be understood ends the connection, not
// the port.
func (p *Port) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.listener.Close() })
	defer stop()
	defer p.listener.Close()
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			err = errors.Join(p.endCapture(), withoutClosed(err))
			if ctx.Err() != nil || err == nil {
				return err
			}
			return fmt.Errorf("port %s: %w", p.name, err)
		}
		if err := p.serve(ctx, conn); err != nil {
			p.sw.cfg.Log.Warn("a board's connection to the switch broke", "port", p.name, "err", err)
		}
	}
}

func withoutClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// serve passes frames both ways until the board is gone or the context ends.
func (p *Port) serve(parent context.Context, conn net.Conn) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends reads and writes
	defer stop()
	p.plug(true)
	defer p.plug(false)

	var writing sync.WaitGroup
	var writeErr error
	writing.Go(func() {
		defer cancel()
		writeErr = p.write(ctx, conn)
	})
	readErr := p.read(conn)
	cancel()
	writing.Wait()
	switch {
	case parent.Err() != nil:
		return nil
	case writeErr != nil:
		return writeErr // it is what ended the reading
	default:
		return readErr
	}
}

func (p *Port) plug(in bool) {
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	p.plugged, p.queue = in, nil
	p.sw.forget(p)
}

func (p *Port) read(conn net.Conn) error {
	r := bufio.NewReaderSize(conn, maxFrame)
	for {
		f, err := readFrame(r)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errRunt):
			continue // as a switch's receiver does
		case err != nil:
			return err
		}
		p.sw.received(p, f)
	}
}

func (p *Port) write(ctx context.Context, conn net.Conn) error {
	for {
		f, wait := p.pop(time.Now())
		if f != nil {
			if err := writeFrame(conn, f); err != nil && ctx.Err() == nil {
				return fmt.Errorf("write frame: %w", err)
			}
			continue
		}
		var after <-chan time.Time
		if wait > 0 {
			after = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-after:
		}
	}
}

// push queues a frame. The switch's lock is held.
func (p *Port) push(f frame, at time.Time) {
	if len(p.queue) >= queueLen {
		p.dropped++
		return
	}
	// Frames that are due at the same time keep their order.
	i, _ := slices.BinarySearchFunc(p.queue, at, func(d due, at time.Time) int {
		return cmp.Or(d.at.Compare(at), -1)
	})
	p.queue = slices.Insert(p.queue, i, due{f, at})
	if i == 0 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// pop takes the next frame that is due; without one it says how long until the
// next is, 0 for an empty queue.
func (p *Port) pop(now time.Time) (frame, time.Duration) {
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	if len(p.queue) == 0 {
		return nil, 0
	}
	next := p.queue[0]
	if wait := next.at.Sub(now); wait > 0 {
		return nil, wait
	}
	p.queue = p.queue[1:]
	p.keep(now, next.frame)
	return next.frame, 0
}

// keep adds a frame to the port's capture. The switch's lock is held.
func (p *Port) keep(at time.Time, f frame) {
	if p.capture != nil && p.kept == nil {
		p.kept = p.capture.add(at, f)
	}
}

func (p *Port) endCapture() error {
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	if p.capture == nil {
		return nil
	}
	err := errors.Join(p.kept, p.capture.w.Flush(), p.file.Close())
	p.capture = nil
	if err != nil {
		return fmt.Errorf("port %s: %w", p.name, err)
	}
	return nil
}

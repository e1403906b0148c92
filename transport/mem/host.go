package mem

import (
	"container/heap"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// queueLimit is how many packets wait at a host before more are lost, as in a
// socket's buffer.
const queueLimit = 4096

// Host is a socket on a Network.
type Host struct {
	net    *Network
	wake   chan struct{} // the queue or the deadline has changed
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	addr     netip.AddrPort
	queue    arrivals
	seq      uint64
	deadline time.Time
}

var _ net.PacketConn = (*Host)(nil)

// ReadFrom waits for a packet whose time has come.
func (h *Host) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, wait, err := h.poll(p)
		if err != nil || from.IsValid() {
			return n, net.UDPAddrFromAddrPort(from), h.opError(err)
		}
		if !h.sleep(wait) {
			return 0, nil, h.opError(net.ErrClosed)
		}
	}
}

// poll takes a packet that is due, or says how long until there may be one; 0
// is for ever.
func (h *Host) poll(p []byte) (n int, from netip.AddrPort, wait time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if !h.deadline.IsZero() {
		if wait = h.deadline.Sub(now); wait <= 0 {
			return 0, from, 0, os.ErrDeadlineExceeded
		}
	}
	if len(h.queue) == 0 {
		return 0, from, wait, nil
	}
	due := h.queue[0].at.Sub(now)
	if due > 0 {
		if wait == 0 || due < wait {
			wait = due
		}
		return 0, from, wait, nil
	}
	a := heap.Pop(&h.queue).(arrival)
	return copy(p, a.data), a.from, 0, nil
}

// sleep returns false once the host is closed.
func (h *Host) sleep(wait time.Duration) bool {
	var alarm <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-h.closed:
		return false
	case <-h.wake:
		return true
	case <-alarm:
		return true
	}
}

// WriteTo sends a packet. It never waits, and only a closed host errs.
func (h *Host) WriteTo(p []byte, to net.Addr) (int, error) {
	select {
	case <-h.closed:
		return 0, h.opError(net.ErrClosed)
	default:
	}
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, h.opError(errors.New("not a UDP address"))
	}
	target := udp.AddrPort()
	h.net.send(h, netip.AddrPortFrom(target.Addr().Unmap(), target.Port()), p)
	return len(p), nil
}

// Close closes the socket and frees its address.
func (h *Host) Close() error {
	h.once.Do(func() {
		close(h.closed)
		h.net.mu.Lock()
		defer h.net.mu.Unlock()
		if at := h.address(); h.net.hosts[at] == h {
			delete(h.net.hosts, at)
		}
	})
	return nil
}

// LocalAddr is the address of the moment.
func (h *Host) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(h.address()) }

// SetReadDeadline implements net.PacketConn.
func (h *Host) SetReadDeadline(t time.Time) error {
	h.mu.Lock()
	h.deadline = t
	h.mu.Unlock()
	h.nudge()
	return nil
}

// SetDeadline implements net.PacketConn; writing never waits.
func (h *Host) SetDeadline(t time.Time) error { return h.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn; writing never waits.
func (h *Host) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer and SetWriteBuffer accept any size: QUIC asks for large ones.
func (h *Host) SetReadBuffer(int) error { return nil }

// SetWriteBuffer accepts any size.
func (h *Host) SetWriteBuffer(int) error { return nil }

func (h *Host) address() netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.addr
}

func (h *Host) move(to netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addr, h.queue = to, nil
}

func (h *Host) put(from netip.AddrPort, data []byte, delay time.Duration) {
	h.mu.Lock()
	if len(h.queue) < queueLimit {
		h.seq++
		heap.Push(&h.queue, arrival{at: time.Now().Add(delay), seq: h.seq, from: from, data: append([]byte(nil), data...)})
	}
	h.mu.Unlock()
	h.nudge()
}

func (h *Host) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *Host) opError(err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: "udp", Net: "mem", Source: h.LocalAddr(), Err: err}
}

// arrival is a packet and when it is there.
type arrival struct {
	at   time.Time
	seq  uint64 // keeps packets of one moment in their order
	from netip.AddrPort
	data []byte
}

// arrivals is a heap by time.
type arrivals []arrival

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	if !a[i].at.Equal(a[j].at) {
		return a[i].at.Before(a[j].at)
	}
	return a[i].seq < a[j].seq
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)   { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = arrival{}
	*a = old[:len(old)-1]
	return last
}

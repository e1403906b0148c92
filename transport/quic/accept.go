package quic

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	quicgo "github.com/quic-go/quic-go"

	"github.com/edgeswarm/edgeswarm/transport"
)

// backlog is how many streams wait to be accepted before the peers' do.
const backlog = 64

// listener implements transport.Listener.
type listener struct {
	ep       *Endpoint
	protocol transport.Protocol
	queue    chan *stream
	closed   chan struct{}
	once     sync.Once
}

// Listen implements transport.Endpoint.
func (e *Endpoint) Listen(p transport.Protocol) (transport.Listener, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return nil, fmt.Errorf("listen for %s: %w", p, transport.ErrClosed)
	}
	if e.listeners[p] != nil {
		return nil, fmt.Errorf("listen for %s: already listening", p)
	}
	l := &listener{ep: e, protocol: p, queue: make(chan *stream, backlog), closed: make(chan struct{})}
	e.listeners[p] = l
	return l, nil
}

func (e *Endpoint) listening() (protocols []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for p := range e.listeners {
		protocols = append(protocols, string(p))
	}
	return protocols
}

func (e *Endpoint) listener(p transport.Protocol) *listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listeners[p]
}

func (l *listener) Accept() (transport.Conn, error) {
	select {
	case <-l.closed:
	case s := <-l.queue:
		return s, nil
	}
	return nil, fmt.Errorf("accept %s: %w", l.protocol, net.ErrClosed)
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.ep.mu.Lock()
		if l.ep.listeners[l.protocol] == l {
			delete(l.ep.listeners, l.protocol)
		}
		l.ep.mu.Unlock()
		close(l.closed)
	})
	for { // those who came and were not heard
		select {
		case s := <-l.queue:
			s.reject()
		default:
			return nil
		}
	}
}

// offer hands a stream to whoever accepts, waiting for room.
func (l *listener) offer(s *stream) {
	select {
	case <-l.closed:
		s.reject()
		return
	default:
	}
	select {
	case l.queue <- s:
		select {
		case <-l.closed: // it may have missed the sweep of Close
			_ = l.Close()
		default:
		}
	case <-l.closed:
		s.reject()
	case <-s.conn.Context().Done():
		_ = s.Close()
	}
}

func (s *stream) reject() {
	s.raw.CancelRead(codeUnheard)
	s.raw.CancelWrite(codeUnheard)
	_ = s.Close()
}

// handshake counts itself off when it is over, either way.
type handshake struct {
	once sync.Once
	open *atomic.Int32
}

func (h *handshake) over() { h.once.Do(func() { h.open.Add(-1) }) }

type handshakeKey struct{}

// knock bounds the handshakes under way, which cost memory before anybody has
// proven anything.
func (e *Endpoint) knock(ctx context.Context, _ *quicgo.ClientInfo) (context.Context, error) {
	h := &handshake{open: &e.handshakes}
	if e.handshakes.Add(1) > maxHandshakes {
		h.over()
		return nil, fmt.Errorf("%d handshakes are under way", maxHandshakes)
	}
	ctx = context.WithValue(ctx, handshakeKey{}, h)
	context.AfterFunc(ctx, h.over)
	return ctx, nil
}

// crowded reports whether a new peer must first show that it is where it says.
func (e *Endpoint) crowded(net.Addr) bool { return e.handshakes.Load() > softHandshakes }

// accept takes connections until the endpoint closes.
func (e *Endpoint) accept() {
	for {
		conn, err := e.quic.Accept(e.ctx)
		if err != nil {
			return
		}
		if h, ok := conn.Context().Value(handshakeKey{}).(*handshake); ok {
			h.over()
		}
		e.wg.Go(func() { e.serve(conn) })
	}
}

// serve checks who has come, says welcome, and takes its streams.
func (e *Endpoint) serve(conn *quicgo.Conn) {
	s, err := e.meet(conn)
	if err != nil {
		e.log.Debug("peer refused", "addr", conn.RemoteAddr().String(), "err", err)
		return
	}
	if !e.add(s) {
		s.close(codeClosed, "")
		return
	}
	if err := e.welcome(conn); err != nil {
		s.close(codeClosed, "")
		return
	}
	if s.shared() {
		e.book.answered(s.peer.ID, s.peer.Addr)
		e.wg.Go(s.answer)
	}
	e.streams(s)
}

func (e *Endpoint) meet(conn *quicgo.Conn) (*session, error) {
	state := conn.ConnectionState().TLS
	s := &session{
		ep: e, conn: conn, protocol: transport.Protocol(state.NegotiatedProtocol),
		fleet: e.ownFleet(), instance: state.ServerName,
	}
	refuse := func(err error) (*session, error) {
		reason := err.Error()
		s.close(codeRefused, reason[:min(len(reason), maxReason)])
		return nil, err
	}
	var err error
	if s.peer, err = e.identify(state, s.protocol); err != nil {
		return refuse(err)
	}
	s.peer.Addr = addrPort(conn.RemoteAddr())
	if err := e.cfg.Admit(s.peer, s.protocol); err != nil {
		return refuse(err)
	}
	if !s.shared() && e.joining() >= maxJoining {
		s.close(codeBusy, "too many boards join at this moment; try again")
		return nil, fmt.Errorf("%d unproven peers are connected", maxJoining)
	}
	return s, nil
}

func (e *Endpoint) joining() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.sessions {
		if !s.shared() && !s.dialled {
			n++
		}
	}
	return n
}

func (e *Endpoint) welcome(conn *quicgo.Conn) error {
	out, err := conn.OpenUniStream()
	if err != nil {
		return err
	}
	if _, err := out.Write([]byte(e.instance)); err != nil {
		return err
	}
	return out.Close()
}

// streams hands on what the peer opens until the connection ends.
func (e *Endpoint) streams(s *session) {
	ctx := s.conn.Context()
	if !s.shared() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, firstStream)
		defer cancel()
	}
	for known := s.peer.Addr; ; {
		raw, err := s.conn.AcceptStream(ctx)
		if err != nil {
			if s.alive() {
				s.close(codeClosed, "no stream was opened")
			}
			return
		}
		if now := addrPort(s.conn.RemoteAddr()); s.shared() && now != known {
			known = now // the peer moved, and its connection with it
			e.book.answered(s.peer.ID, now)
		}
		st := &stream{session: s, raw: raw}
		s.begin()
		if l := e.listener(s.protocol); l != nil {
			l.offer(st)
		} else {
			st.reject()
		}
		if !s.shared() {
			return // one stream is all that a joiner gets
		}
	}
}
